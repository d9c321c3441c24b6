"""The structures in a label map of the heart, and their codes."""

# The label convention of UK Biobank studies; background is 0.
STRUCTURES = {"LV": 1, "myocardium": 2, "RV": 3}
CLASSES = 1 + len(STRUCTURES)
