"""Segmentation by nnU-Net: training on expert annotations, prediction, and the frozen differentiable teacher."""

import os

# nnU-Net reads this when it is first imported; its default of eight processes is for a workstation.
os.environ.setdefault("nnUNet_def_n_proc", "1")
