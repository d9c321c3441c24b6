"""The structures in a label map of the heart, their codes, and the surfaces about them."""

# The label convention of UK Biobank studies; background is 0.
STRUCTURES = {"LV": 1, "myocardium": 2, "RV": 3}
CLASSES = 1 + len(STRUCTURES)
# Surfaces, and the structures that each of them encloses.
SURFACES = {"LV endocardium": ("LV",), "LV epicardium": ("LV", "myocardium"), "RV endocardium": ("RV",)}
