"""Estimate of the cost of a cohort before it is run: core-hours, GPU-hours, bytes and files of every stage."""
