"""Models without a network of their own: controls, oracles, ensembles, and trained models that are used differently."""
