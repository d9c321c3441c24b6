"""The exact truth of the synthetic cohort: its files, resampling, and the exact motion."""
