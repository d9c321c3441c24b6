"""Short-axis cine CMR: reading of raw files as native 4D stacks, and resampling to the canonical grid and back."""
