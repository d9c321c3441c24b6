"""Tables of models by metrics: statistics, intervals, distances, costs and the paper's numbers."""
