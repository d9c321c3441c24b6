"""Training of every network: its parts, the training loop and the training curves."""
