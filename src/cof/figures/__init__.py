"""The figures of the paper: from the results of a run to the numbers drawn, and from these to the picture."""
