"""Short-axis cine CMR: raw archives to native 4D stacks, and the canonical grid with its way back."""
