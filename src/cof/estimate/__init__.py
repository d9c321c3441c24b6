"""What a cohort will cost: core-hours, GPU-hours, bytes and files of every stage, before it is run."""
