"""Model families that turn an anchor and an ECG cycle into motion or a cine: COF, its baselines and the controls."""
