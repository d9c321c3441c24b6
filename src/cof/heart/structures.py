"""The structures of a heart's label map."""

# The label convention of UK Biobank studies; background is 0.
STRUCTURES = {"LV": 1, "myocardium": 2, "RV": 3}
CLASSES = 1 + len(STRUCTURES)
