"""The synthetic cohort: simulated anatomy, motion, ECG and scanner, written as raw files like UK Biobank's."""
