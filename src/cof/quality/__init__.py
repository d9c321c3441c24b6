"""Quality of a subject's ECG and cine: measures with units, and checks of plausibility against limits."""
