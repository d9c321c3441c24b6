"""Cines for a page: real and generated heart as sprite sheets of the same crop, and contours as polygons."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from skimage.measure import find_contours

from cof.heart.structures import STRUCTURES

LV, MYOCARDIUM, RV = (STRUCTURES[name] for name in ("LV", "myocardium", "RV"))
MARGIN_MM = 14.0
WINDOW_PERCENTILES = (0.5, 99.5)
WEBP_QUALITY = 88
WEBP_PIXELS = 16383  # the largest width and height of a WebP image


@dataclass(frozen=True)
class Crop:
    """The part of a native stack that the page shows, the same for the real and the generated heart.

    Attributes:
        slices: native slice indices, from base to apex.
        y, x: half-open ranges of rows and columns.
        window: intensities that are shown as black and as white.
        spacing_mm: row and column spacing.
    """

    slices: tuple[int, ...]
    y: tuple[int, int]
    x: tuple[int, int]
    window: tuple[float, float]
    spacing_mm: tuple[float, float]

    def tile(self) -> tuple[int, int]:
        """Return the number of rows and columns of one frame of one slice."""
        return self.y[1] - self.y[0], self.x[1] - self.x[0]

    def across(self, frames: int) -> int:
        """Return how many of so many frames stand side by side in a sprite sheet; the others follow below."""
        return min(frames, WEBP_PIXELS // self.tile()[1])


def place_crop(anchor: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> Crop:
    """Return the square crop around the anchor's heart, with the slices at 1/6, 1/2 and 5/6 of its length.

    Args:
        anchor: intensities [Z, Y, X].
        labels: labels [Z, Y, X] of the anchor; the heart is LV, myocardium and RV.
        spacing_mm: spacing z, y, x.

    Raises:
        ValueError: no voxel is labelled as myocardium or LV.
    """
    left = np.isin(labels, (LV, MYOCARDIUM))
    if not left.any():
        raise ValueError("the anchor's labels contain no left ventricle")
    held = np.flatnonzero(np.any(left, axis=(1, 2)))
    slices = [int(held[min(int(len(held) * share), len(held) - 1)]) for share in (1 / 6, 1 / 2, 5 / 6)]
    heart = np.any(labels > 0, axis=0)
    centre_and_reach = []
    for axis, spacing in ((1, spacing_mm[1]), (0, spacing_mm[2])):
        held = np.flatnonzero(np.any(heart, axis=axis))
        centre_and_reach.append(((held[0] + held[-1]) / 2, (held[-1] - held[0]) / 2 * spacing))
    reach_mm = max(reach for _, reach in centre_and_reach) + MARGIN_MM
    ranges = []
    for (centre, _), spacing, size in zip(centre_and_reach, spacing_mm[1:], labels.shape[1:]):
        half = reach_mm / spacing
        ranges.append((max(0, round(centre - half)), min(size, round(centre + half) + 1)))
    (y0, y1), (x0, x1) = ranges
    low, high = np.percentile(anchor[:, y0:y1, x0:x1], WINDOW_PERCENTILES)
    window = float(low), float(max(high, low + 1))
    return Crop(tuple(slices), (y0, y1), (x0, x1), window, (spacing_mm[1], spacing_mm[2]))


def sprite_sheet(frames: np.ndarray, crop: Crop) -> bytes:
    """Return all frames of the crop as one WebP image: one column per frame, one row per slice.

    Frames that would make the image too wide stand in further rows of their slice (`Crop.across`).

    Args:
        frames: intensities [T, Z, Y, X]; may be memory-mapped.
        crop: the part to show.
    """
    low, high = crop.window
    shown = np.asarray(frames[:, list(crop.slices), slice(*crop.y), slice(*crop.x)], np.float32)
    grey = np.round(np.clip((shown - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    across = crop.across(len(grey))
    grey = np.pad(grey, ((0, -len(grey) % across), (0, 0), (0, 0), (0, 0)))
    time, levels, rows, columns = grey.shape
    lines = grey.reshape(time // across, across, levels, rows, columns).transpose(2, 0, 3, 1, 4)
    sheet = lines.reshape(levels * (time // across) * rows, across * columns)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()


def contours(labels: np.ndarray, crop: Crop) -> list[list[list[list[list[float]]]]]:
    """Return the outlines of the labels: `[slice][frame][structure][polygon]` = [x0, y0, x1, y1, ...], in crop voxels.

    The structures are the LV cavity, the LV with its wall, and the RV cavity.

    Args:
        labels: labels [T, Z, Y, X].
        crop: the part to show.
    """
    shown = labels[:, list(crop.slices), slice(*crop.y), slice(*crop.x)]
    masks = (shown == LV, np.isin(shown, (LV, MYOCARDIUM)), shown == RV)
    time, levels = shown.shape[:2]
    return [[[_outlines(mask[frame, level]) for mask in masks] for frame in range(time)] for level in range(levels)]


def _outlines(mask: np.ndarray) -> list[list[float]]:
    """Return polygons around a 2-D mask, without collinear points. Pixel (0, 0) covers [0, 1) x [0, 1)."""
    polygons = []
    for closed in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        line = closed[:-1, ::-1] - 0.5
        before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
        turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
        polygons.append([round(float(value), 1) for value in line[turns].ravel()])
    return polygons


def viewer_data(crop: Crop, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the data that `cine.js` needs, besides the sprite sheets, to play hearts synchronously.

    Args:
        crop: the common crop.
        labels: labels [T, Z, Y, X] of every heart shown, by name.
    """
    rows, columns = crop.tile()
    return {
        "tile": [columns, rows],
        "aspect": columns * crop.spacing_mm[1] / (rows * crop.spacing_mm[0]),
        "hearts": {
            name: {
                "frames": len(frames),
                "across": crop.across(len(frames)),
                "contours": contours(frames, crop),
            }
            for name, frames in labels.items()
        },
    }
