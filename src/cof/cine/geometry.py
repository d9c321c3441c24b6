"""Stacks in space: checks of their spacing, the way from base to apex, and arrays brought from one stack to another."""

import numpy as np

from cof.errors import CofError, Reason

# The apex points to the left, forwards and downwards of the base (RAS).
_APEX = np.array([-1.0, 1.0, -1.0]) / np.sqrt(3)
_UNSURE_COSINE = 0.3

# Spacings beyond these are errors of a header: no scanner makes such short-axis stacks.
_IN_PLANE_MM = (0.3, 5.0)
_SLICES_MM = (2.0, 25.0)

# Headers are rounded: axes count as aligned up to this share of a voxel at every corner.
_ALIGNED_VOXELS = 0.3


def check_spacing(affine: np.ndarray) -> None:
    """Raise CofError (CINE_GEOMETRY) unless the affine is finite, of full rank and of plausible spacing."""
    if not np.isfinite(affine).all():
        raise CofError(Reason.CINE_GEOMETRY, "the position of the stack is not finite")
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = _IN_PLANE_MM
    if not (low <= x <= high and low <= y <= high and _SLICES_MM[0] <= z <= _SLICES_MM[1]):
        raise CofError(Reason.CINE_GEOMETRY, f"a spacing of {z:.3g} x {y:.3g} x {x:.3g} mm (z, y, x) cannot be")
    if abs(np.linalg.det(affine[:3, :3] / [x, y, z])) < 0.5:
        raise CofError(Reason.CINE_GEOMETRY, "the axes of the stack are not at right angles")


def base_to_apex(direction: np.ndarray) -> tuple[bool, tuple[str, ...]]:
    """Whether the direction of increasing slices, [3] in RAS, runs from base to apex by the heart's usual lie.

    Returns:
        The answer, and a remark in words where the lie leaves doubt.
    """
    cosine = float(direction @ _APEX / np.linalg.norm(direction))
    doubt = (
        (f"base and apex told apart by weak evidence (cosine {cosine:.2f})",) if abs(cosine) < _UNSURE_COSINE else ()
    )
    return cosine >= 0, doubt


def flip_slices(frames: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The stack [..., Z, Y, X] with its slices in reverse, and its affine."""
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 2] * (frames.shape[-3] - 1)
    flipped[:3, 2] *= -1
    return frames[..., ::-1, :, :], flipped


def onto_stack(
    array: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int], stack_affine: np.ndarray
) -> np.ndarray | None:
    """An array of the same voxels as a stack, with axes swapped and flipped to the order of that stack.

    Args:
        array: [..., Z, Y, X] of its own axes.
        affine: [4, 4], its voxel index (x, y, z, 1) to RAS millimetres.
        shape: slices, rows and columns of the stack.
        stack_affine: the affine of the stack.

    Returns:
        A view [..., Z, Y, X] on the stack's axes, or None if the voxels are others (shift, rotation, spacing, shape).
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
