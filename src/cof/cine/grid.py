"""The canonical grid: its placement in a subject's native stack, and resampling to it and back.

Both grids have parallel axes, so that one offset and one scale per axis map them. Everything that places or scales
the grid comes from the anchor frame alone, so that no later frame leaks into generation.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cof.cine.volume import Cine, read_cine, sidecar, uniform_times, write_cine
from cof.config.data import GridSettings
from cof.errors import CofError, Reason
from cof.heart.structures import STRUCTURES

# Stored intensities are whole numbers of this unit.
INTENSITY_UNIT = 1e-4
_PERCENTILES = (1, 99)


@dataclass(frozen=True)
class Placement:
    """Placement of the canonical grid in one native stack. Every triple is in the order z, y, x.

    A canonical index c is the native index `offset + scale * c`.

    Attributes:
        offset: native index of canonical voxel (0, 0, 0); may be negative or fractional.
        scale: canonical spacing divided by native spacing; exactly 1 along z where native slices are kept.
        shape: number of canonical voxels.
        spacing_mm: canonical spacing. It is the same for every subject: where native slices are kept, their distance
            may differ from it by the tolerance of the settings.
        native_shape: number of native voxels.
        native_spacing_mm: native spacing.
        intensity: native intensities that map to 0 and 1 (percentiles 1 and 99 of the anchor volume).
        valid: for every canonical slice, whether a native slice lies there.
    """

    offset: tuple[float, float, float]
    scale: tuple[float, float, float]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    native_shape: tuple[int, int, int]
    native_spacing_mm: tuple[float, float, float]
    intensity: tuple[float, float]
    valid: tuple[bool, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the placement as plain values, as the sidecar holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Placement":
        """Make a placement from a record, as the inverse of `to_dict`."""
        return cls(**{name: tuple(value) for name, value in record.items()})

    def canonical_affine(self, native_affine: np.ndarray) -> np.ndarray:
        """Return the affine [4, 4] of the canonical grid in RAS millimetres, from that of the native stack."""
        to_native = np.diag([*self.scale[::-1], 1.0])
        to_native[:3, 3] = self.offset[::-1]
        return native_affine @ to_native


def place(
    anchor: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, float, float], settings: GridSettings
) -> Placement:
    """Centre the canonical grid on the heart of the anchor: the centroid of its LV and myocardium.

    Native slices are kept if their distance is close to the grid's. The grid is shifted along z so that it covers as
    many native slices as fit.

    Args:
        anchor: [Z, Y, X], native intensities.
        labels: [Z, Y, X], labels of the anchor.
        spacing_mm: native spacing (z, y, x).
        settings: shape and spacing of the grid.

    Raises:
        CofError: HEART_NOT_FOUND for labels without a left ventricle, CINE_NOT_FINITE for an anchor without contrast.
    """
    heart = np.isin(labels, (STRUCTURES["LV"], STRUCTURES["myocardium"]))
    if not heart.any():
        raise CofError(Reason.HEART_NOT_FOUND, "the labels of the anchor show no left ventricle")
    z, y, x = (float(index.mean()) for index in np.nonzero(heart))
    return place_at(anchor, (z, y, x), spacing_mm, settings)


def place_at(
    anchor: np.ndarray,
    centre: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    settings: GridSettings,
) -> Placement:
    """Centre the canonical grid on a point of the native stack, as `place` does.

    Args:
        anchor: [Z, Y, X], native intensities.
        centre: native index (z, y, x), may be fractional.
        spacing_mm: native spacing (z, y, x).
        settings: shape and spacing of the grid.

    Raises:
        CofError: CINE_NOT_FINITE for an anchor without contrast.
    """
    dark, bright = (float(value) for value in np.percentile(anchor, _PERCENTILES))
    if not bright > dark:
        raise CofError(Reason.CINE_NOT_FINITE, "the anchor has no contrast: its percentiles 1 and 99 are equal")
    scale = [canonical / native for canonical, native in zip(settings.spacing_mm, spacing_mm)]
    kept = abs(settings.spacing_mm[0] - spacing_mm[0]) <= settings.slice_tolerance_mm
    if kept:
        scale[0] = 1.0
    offset = [c - s * (size - 1) / 2 for c, s, size in zip(centre, scale, settings.shape)]
    # Shift along z so that the grid covers as many native slices, or native slices as much of the grid, as possible.
    spare = anchor.shape[0] - 1 - scale[0] * (settings.shape[0] - 1)
    offset[0] = float(np.clip(round(offset[0]) if kept else offset[0], min(spare, 0), max(spare, 0)))
    slices = offset[0] + scale[0] * np.arange(settings.shape[0])
    return Placement(
        offset=(offset[0], offset[1], offset[2]),
        scale=(scale[0], scale[1], scale[2]),
        shape=settings.shape,
        spacing_mm=settings.spacing_mm,
        native_shape=(anchor.shape[0], anchor.shape[1], anchor.shape[2]),
        native_spacing_mm=spacing_mm,
        intensity=(dark, bright),
        valid=tuple(bool(-0.5 <= index <= anchor.shape[0] - 0.5) for index in slices),
    )


def to_canonical(stack: np.ndarray, placement: Placement) -> np.ndarray:
    """Resample a native volume or stack to the canonical grid by linear interpolation.

    Beyond the native field of view, rows and columns repeat their border values; slices that are not valid are 0.

    Args:
        stack: [..., Z, Y, X], native intensities.
        placement: the canonical grid in the native stack.

    Returns:
        float32 [..., Z, Y, X], clipped to [0, 1].
    """
    sampled = _interpolate(stack, *_placed(placement))
    dark, bright = placement.intensity
    sampled -= dark
    sampled *= 1 / (bright - dark)
    np.clip(sampled, 0, 1, out=sampled)
    sampled[..., ~np.array(placement.valid), :, :] = 0
    return sampled


def labels_to_canonical(labels: np.ndarray, placement: Placement) -> np.ndarray:
    """Resample native labels [..., Z, Y, X] by the nearest neighbour; beyond the stack lies background."""
    result = labels
    for axis in range(3):
        index = placement.offset[axis] + placement.scale[axis] * np.arange(placement.shape[axis])
        nearest = np.rint(index).astype(int)
        outside = (index < -0.5) | (index > placement.native_shape[axis] - 0.5)
        result = np.take(result, np.clip(nearest, 0, placement.native_shape[axis] - 1), axis=axis - 3)
        np.moveaxis(result, axis - 3, 0)[outside] = 0
    return result


def label_shares(labels: np.ndarray, placement: Placement, classes: int = 4) -> np.ndarray:
    """Return the share of each label in every canonical voxel, by linear interpolation of native one-hot maps.

    Args:
        labels: [..., Z, Y, X], native labels.
        placement: the canonical grid in the native stack.
        classes: number of labels, which are 0 to classes - 1.

    Returns:
        float32 [..., classes, Z, Y, X]; as in `to_canonical`, rows and columns repeat their border values beyond the
        native field of view, and all shares are 0 in slices that are not valid.
    """
    weights = _placed(placement)
    shares = np.stack([_interpolate(labels == label, *weights) for label in range(classes)], axis=-4)
    shares[..., ~np.array(placement.valid), :, :] = 0
    return shares


def from_canonical(canonical: np.ndarray, placement: Placement, anchor: np.ndarray) -> np.ndarray:
    """Paste a canonical volume or stack into the native anchor by linear interpolation, in native intensities.

    Args:
        canonical: [..., Z, Y, X], intensities in [0, 1].
        placement: the canonical grid in the native stack.
        anchor: [Z, Y, X], native intensities, which fill the stack outside the canonical grid.

    Returns:
        float32 [..., Z, Y, X] on the native grid.
    """
    valid = np.flatnonzero(placement.valid)
    boxes, weights = [], []
    for axis, size in enumerate(placement.shape):
        index = (np.arange(placement.native_shape[axis]) - placement.offset[axis]) / placement.scale[axis]
        # A canonical voxel extends half a voxel to both sides of its centre.
        inside = (index > -0.5) & (index < size - 0.5)
        if axis == 0:  # in slices that are not valid, a model's output has no meaning
            index = np.clip(index, valid[0], valid[-1])
        boxes.append(_extent(inside))
        weights.append(_weights(index[inside], size))
    z, y, x = boxes
    native = np.empty((*canonical.shape[:-3], *placement.native_shape), np.float32)
    native[:] = anchor
    dark, bright = placement.intensity
    native[..., z, y, x] = dark + (bright - dark) * _interpolate(canonical, *weights)
    return native


def _extent(inside: np.ndarray) -> slice:
    """Return the slice from the first to the last true element."""
    indices = np.flatnonzero(inside)
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0)


def _placed(placement: Placement) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights of linear interpolation from the native grid at the canonical voxels, along z, y and x."""
    along_z, along_y, along_x = (
        _weights(placement.offset[axis] + placement.scale[axis] * np.arange(size), placement.native_shape[axis])
        for axis, size in enumerate(placement.shape)
    )
    return along_z, along_y, along_x


def _weights(index: np.ndarray, size: int) -> np.ndarray:
    """Return linear interpolation weights [len(index), size] for fractional indices, which are clipped to the ends."""
    index = np.clip(index, 0, size - 1)
    below = np.minimum(index.astype(int), max(size - 2, 0))
    weights = np.zeros((len(index), size), np.float32)
    rows = np.arange(len(index))
    weights[rows, below] = 1 - (index - below)
    if size > 1:
        weights[rows, below + 1] = index - below
    return weights


def _interpolate(stack: np.ndarray, along_z: np.ndarray, along_y: np.ndarray, along_x: np.ndarray) -> np.ndarray:
    """Interpolate [..., Z, Y, X] with one matrix of weights per axis, for all frames at once; float32."""
    # Only voxels with weight are read: the rest of a memory-mapped stack stays on disk.
    z, y, x = (_extent(weights.max(axis=0) > 0) for weights in (along_z, along_y, along_x))
    in_plane = along_y[:, y] @ np.asarray(stack[..., z, y, x], np.float32) @ along_x[:, x].T
    return np.moveaxis(np.tensordot(along_z[:, z], in_plane, axes=(1, -3)), 0, -3)


def resample_phase(frames: np.ndarray, count: int) -> np.ndarray:
    """Resample a cycle [T, ...] to the phases k / count by periodic linear interpolation: float32 [count, ...]."""
    position = np.arange(count) * len(frames) / count
    before = np.floor(position).astype(int)
    share = (position - before).astype(np.float32).reshape(-1, *[1] * (frames.ndim - 1))
    if not share.any():
        return frames[before].astype(np.float32)
    after = (before + 1) % len(frames)
    return frames[before] * (1 - share) + frames[after] * share


def nearest_frame(phase: float, frames: int) -> int:
    """Return the frame nearest to a phase, in a cycle of `frames` frames."""
    return round(phase * frames) % frames


def at_phase(frames: np.ndarray, phase: float) -> np.ndarray:
    """Interpolate a cycle [T, ...] at one phase, linearly and periodically: float32 [...]; one frame stays as it is."""
    position = (phase % 1.0) * len(frames) if len(frames) > 1 else 0.0
    before = int(position + 1e-6)
    share = np.float32(max(position - before, 0.0))
    first = frames[before % len(frames)].astype(np.float32)
    return first * (1 - share) + frames[(before + 1) % len(frames)] * share if share > 1e-6 else first


def make_grid(cine: Cine, labels: np.ndarray, settings: GridSettings) -> tuple[np.ndarray, Placement]:
    """Make the canonical cine of a native one, with the settings' number of frames; an anchor and a pair keep theirs.

    Args:
        cine: the native cine; frame 0 is its anchor.
        labels: uint8 [Z, Y, X] of frame 0.
        settings: the canonical grid.

    Returns:
        float32 [T, Z, Y, X] in [0, 1], and the placement.
    """
    placement = place(np.asarray(cine.frames[0]), labels, cine.spacing_mm, settings)
    frames = to_canonical(cine.frames, placement)
    return (resample_phase(frames, settings.frames) if cine.kind == "cycle" else frames), placement


def write_grid(path: Path, frames: np.ndarray, placement: Placement, native: Cine) -> None:
    """Write a canonical cine [T, Z, Y, X] in [0, 1] as int16 in units of 1/10,000; the sidecar holds the placement."""
    canonical = replace(
        native,
        frames=np.rint(frames * np.float32(1 / INTENSITY_UNIT)).astype(np.int16),
        affine=placement.canonical_affine(native.affine),
        frame_times_ms=native.frame_times_ms if native.kind == "pair" else uniform_times(len(frames), native.rr_ms),
    )
    write_cine(path, canonical, {"placement": placement.to_dict()})


def read_placement(path: Path) -> Placement:
    """Read the placement of a canonical cine from its sidecar alone."""
    return Placement.from_dict(json.loads(sidecar(path).read_text())["placement"])


def read_grid(path: Path) -> tuple[np.ndarray, Placement, Cine]:
    """Read what `write_grid` wrote.

    Returns:
        float32 [T, Z, Y, X] in [0, 1]; the placement; and the canonical cine as stored, whose frames stay memory-mapped
        as int16 in units of `INTENSITY_UNIT`.
    """
    cine = read_cine(path)
    return cine.frames * np.float32(INTENSITY_UNIT), read_placement(path), cine
