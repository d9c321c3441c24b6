"""Twins: generated 4D hearts on the native grid of their subject, with labels and function."""
