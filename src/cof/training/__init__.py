"""How every network learns: what a training is made of, its loop and its curves."""
