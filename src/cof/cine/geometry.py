"""Geometry of stacks: checks of the spacing, the direction from base to apex, and reordering of axes."""

import numpy as np

from cof.errors import CofError, Reason

# From the base, the apex lies to the left, in front and below (RAS).
_APEX = np.array([-1.0, 1.0, -1.0]) / np.sqrt(3)
_UNSURE_COSINE = 0.3

# Spacings outside these ranges are errors of a header: no scanner makes such short-axis stacks.
_IN_PLANE_MM = (0.3, 5.0)
_SLICES_MM = (2.0, 25.0)

# Slices lie along an axis whose spacing exceeds both others by this factor; else along the third.
_CLEARLY_COARSER = 1.5

# Largest shear that rounding in a header causes; up to it, volumes by the spacing alone are right to 0.05 %.
MAX_SHEAR_DEGREES = 1.0

# Since headers are rounded, axes are aligned if every corner matches up to this share of a voxel.
_ALIGNED_VOXELS = 0.3


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Return the spacing [3] along x, y, z in the affine's unit."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def spacing_words(spacing: np.ndarray) -> str:
    """Return a spacing [3] in words, such as "1.64 x 1.64 x 10"."""
    return " x ".join(f"{value:.4g}" for value in spacing)


def slice_axis(spacing: np.ndarray) -> int:
    """Return the axis (0 to 2) along which the slices of a stack follow each other, by its spacing [3]."""
    coarsest = int(np.argmax(spacing))
    others = np.delete(spacing, coarsest)
    return coarsest if spacing[coarsest] > _CLEARLY_COARSER * others.max() else 2


def is_short_axis_spacing(spacing: np.ndarray) -> bool:
    """Tell whether a spacing [3] in mm is that of a short-axis stack, whose slices may lie along any axis."""
    along = slice_axis(spacing)
    low, high = _IN_PLANE_MM
    in_plane = np.delete(spacing, along)
    in_range = low <= in_plane.min() and in_plane.max() <= high
    return bool(in_range and _SLICES_MM[0] <= spacing[along] <= _SLICES_MM[1])


def shear_degrees(affine: np.ndarray) -> float:
    """Return the largest deviation of two axes from a right angle, in degrees."""
    units = affine[:3, :3] / spacing_of(affine)
    cosine = np.abs((units.T @ units)[np.triu_indices(3, 1)]).max()
    return float(np.degrees(np.arcsin(min(cosine, 1.0))))


def check_spacing(affine: np.ndarray) -> None:
    """Check that a stack with slices along its third axis can be a short-axis stack.

    Raises:
        CofError: CINE_GEOMETRY, unless the affine is finite, has a plausible spacing, and has axes at right angles up
            to `MAX_SHEAR_DEGREES`. Later steps use only the spacing.
    """
    if not np.isfinite(affine).all():
        raise CofError(Reason.CINE_GEOMETRY, "the position of the stack is not finite: its header is damaged")
    spacing = spacing_of(affine)
    if slice_axis(spacing) != 2 or not is_short_axis_spacing(spacing):
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"a spacing of {spacing_words(spacing)} mm (x, y, z) is not that of a short-axis stack, which has "
            "{:g} to {:g} mm in its plane".format(*_IN_PLANE_MM)
            + " and slices {:g} to {:g} mm apart: ".format(*_SLICES_MM)
            + "correct the header, or convert the original images again",
        )
    shear = shear_degrees(affine)
    if shear > MAX_SHEAR_DEGREES:
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"the axes of the stack deviate by {shear:.1f} degrees from right angles (shear); at most "
            f"{MAX_SHEAR_DEGREES:g} is accepted: resample the stack to axes at right angles, or give the DICOM files",
        )


def base_to_apex(direction: np.ndarray) -> tuple[bool, tuple[str, ...]]:
    """Tell whether the direction of increasing slices, [3] in RAS, runs from base to apex in a heart's usual position.

    Returns:
        The answer, and a remark where the direction leaves doubt.
    """
    cosine = float(direction @ _APEX / np.linalg.norm(direction))
    doubt = (f"weak evidence for which end is the base (cosine {cosine:.2f})",) if abs(cosine) < _UNSURE_COSINE else ()
    return cosine >= 0, doubt


def flip_slices(frames: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stack [..., Z, Y, X] with its slices in reverse order, and its affine."""
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 2] * (frames.shape[-3] - 1)
    flipped[:3, 2] *= -1
    return frames[..., ::-1, :, :], flipped


def onto_stack(
    array: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int], stack_affine: np.ndarray
) -> np.ndarray | None:
    """Swap and flip the axes of an array with the same voxels as a stack to the order of that stack.

    Args:
        array: [..., Z, Y, X] along its own axes.
        affine: [4, 4], voxel index (x, y, z, 1) of the array to RAS millimetres.
        shape: number of slices, rows and columns of the stack.
        stack_affine: affine of the stack.

    Returns:
        A view [..., Z, Y, X] along the stack's axes, or None if the voxels differ (shift, rotation, spacing, shape).
    """
    sizes = np.array(array.shape[:-4:-1])  # x, y, z
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        return None
    onto = np.linalg.inv(stack_affine) @ affine
    axes = np.abs(onto[:3, :3]).argmax(axis=0)  # the stack's axis along each axis of the array
    if sorted(axes) != [0, 1, 2] or tuple(sizes[np.argsort(axes)]) != shape[::-1]:
        return None
    exact = np.zeros((3, 4))
    for own, axis in enumerate(axes):
        sign = np.sign(onto[axis, own])
        exact[axis, own] = sign
        exact[axis, 3] = 0 if sign > 0 else sizes[own] - 1
    corners = np.array(np.meshgrid(*([0, size - 1] for size in sizes))).reshape(3, -1)
    deviation = (onto[:3, :3] - exact[:, :3]) @ corners + (onto[:3, 3] - exact[:, 3])[:, None]
    if np.abs(deviation).max() > _ALIGNED_VOXELS:
        return None
    lead = array.ndim - 3
    ordered = array.transpose(*range(lead), *(lead + 2 - np.argsort(axes)[::-1]))
    z, y, x = (slice(None, None, int(exact[axis, :3].sum())) for axis in (2, 1, 0))
    return ordered[..., z, y, x]
