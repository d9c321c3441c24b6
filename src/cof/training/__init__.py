"""Training of every network: its parts, its loop and its curves."""
