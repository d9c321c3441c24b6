"""Models without a network of their own: controls, oracles, ensembles and models applied in another way."""
