"""Tables of models by metrics: statistics, intervals, distances, costs, the paper's numbers, and their markup."""
