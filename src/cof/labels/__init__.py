"""Segmentation by nnU-Net: training on expert annotations, prediction, and the frozen differentiable teacher."""

import os

# nnU-Net reads this when it is first imported; its default of eight processes is for a workstation.
os.environ.setdefault("nnUNet_def_n_proc", "1")

# The label convention of UK Biobank studies; background is 0.
STRUCTURES = {"LV": 1, "myocardium": 2, "RV": 3}
