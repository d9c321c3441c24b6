"""Evaluation: pure functions on arrays, and their long-form tables."""
