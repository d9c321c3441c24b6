"""Twins: the generated 4D heart of one subject on its native grid, and its labels and function."""
