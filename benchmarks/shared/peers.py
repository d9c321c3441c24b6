"""Registration by widely used tools, each as a function of two volumes on one grid.

Every function takes `fixed` and `moving`, float32 [Z, Y, X], and their spacing (z, y, x) in mm, and returns the
pull-back displacement float32 [3, Z, Y, X] in mm, channels (z, y, x): moving(x + u(x)) is like fixed(x).
"""

import os
import tempfile
from typing import Any

import numpy as np
import SimpleITK as sitk

Triple = tuple[float, float, float]
# Chosen by LV Dice on validation pairs of phantoms: benchmarks/registration/README.md.
TUNED_SYN = {"type_of_transform": "SyNOnly", "syn_metric": "CC", "syn_sampling": 2, "reg_iterations": (40, 20, 10)}
TUNED_DEMONS: dict[str, Any] = {"iterations": (100, 100, 50), "sigma_voxels": 1.0}


def unmoved(fixed: np.ndarray, moving: np.ndarray, spacing_mm: Triple) -> np.ndarray:
    """Return no displacement: the row without registration."""
    return np.zeros((3, *fixed.shape), np.float32)


def syn(fixed: np.ndarray, moving: np.ndarray, spacing_mm: Triple, **options: Any) -> np.ndarray:
    """Register with ANTs SyN (antspyx): affine, then symmetric diffeomorphic; `options` go to `ants.registration`."""
    import ants

    images = [ants.from_numpy(volume.transpose(2, 1, 0), spacing=spacing_mm[::-1]) for volume in (fixed, moving)]
    with tempfile.TemporaryDirectory() as scratch:  # antspyx leaves its warps where it made them
        prefix = os.path.join(scratch, "syn")
        chosen = {"type_of_transform": "SyN", "random_seed": 1} | options
        found = ants.registration(*images, outprefix=prefix, **chosen)
        whole = ants.apply_transforms(*images, transformlist=found["fwdtransforms"], compose=prefix)
        vectors = ants.image_read(whole).numpy()
    return np.ascontiguousarray(vectors.transpose(3, 2, 1, 0)[::-1], np.float32)


def demons(
    fixed: np.ndarray,
    moving: np.ndarray,
    spacing_mm: Triple,
    iterations: tuple[int, ...] = (50,),
    sigma_voxels: float = 1.0,
) -> np.ndarray:
    """Register with SimpleITK's diffeomorphic demons, coarse to fine in-plane: one level per entry of `iterations`."""
    images = [sitk.GetImageFromArray(volume) for volume in (fixed, moving)]
    for image in images:
        image.SetSpacing(spacing_mm[::-1])
    field = None
    for level, count in enumerate(iterations):
        factor = 2 ** (len(iterations) - 1 - level)
        small = [_shrunk(image, factor) for image in images]
        demons_filter = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons_filter.SetNumberOfIterations(count)
        demons_filter.SetStandardDeviations(sigma_voxels)
        if field is None:
            field = demons_filter.Execute(*small)
        else:
            field = demons_filter.Execute(*small, sitk.Resample(field, small[0]))
    return np.ascontiguousarray(np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1], np.float32)


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    """Return the image, smoothed and with every `factor`-th row and column."""
    if factor == 1:
        return image
    x, y, _ = image.GetSpacing()
    smooth = sitk.SmoothingRecursiveGaussian(image, [0.5 * factor * x, 0.5 * factor * y, 1e-3])
    return sitk.Shrink(smooth, [factor, factor, 1])
