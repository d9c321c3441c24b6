"""Model families, which generate motion or a cine from an anchor and an ECG cycle: COF, its baselines and controls."""
