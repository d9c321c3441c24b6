"""The synthetic cohort: anatomy, motion, ECG and scanner, written as the raw files UK Biobank delivers."""
