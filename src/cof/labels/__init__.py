"""Segmentation by nnU-Net: training on expert annotations, prediction, and the frozen differentiable teacher."""
