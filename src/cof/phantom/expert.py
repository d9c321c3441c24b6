"""Synthetic expert annotations: contours at end diastole and end systole, with the errors of manual drawing."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cof.phantom.anatomy import ANGLES
from cof.phantom.motion import Deformation, Radii
from cof.phantom.stack import Stack

# Contours of two experts lie about one millimetre apart; this SD of each gives some of that.
CONTOUR_SD_MM = 0.6
_WAVER_DEG = 25.0


def _waver(rng: np.random.Generator, table: np.ndarray) -> np.ndarray:
    """Add smooth errors along a contour [P, ANGLES], independent between slices."""
    noise = gaussian_filter1d(rng.standard_normal(table.shape), _WAVER_DEG * ANGLES / 360, axis=1, mode="wrap")
    error = CONTOUR_SD_MM * noise / noise.std()
    # Where a contour has shrunk to a point, nothing is drawn.
    return np.where(table > 1, np.maximum(table + error, 0), table)


def annotate(motion: Deformation, stack: Stack, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the labels of an expert on the native grid; all frames except ED and ES are zero.

    Returns:
        uint8 [T, Z, rows, columns]: 0 background, 1 LV, 2 myocardium, 3 RV.
    """
    out = np.zeros((frames, len(stack.height_mm), stack.matrix, stack.matrix), np.uint8)
    height, points = stack.box_points(motion.heart, np.zeros(1, np.float32))
    top, bottom, left, right = stack.box
    rr = motion.beat.latents.rr_cmr_ms
    times = np.arange(frames) * rr / frames
    systole = int(np.argmin(motion.beat.volume_ml(times)))
    for frame in (0, systole):
        now = motion.at(float(times[frame]), height)
        drawn: Radii = replace(
            now, endo=_waver(rng, now.endo), epi=_waver(rng, now.epi), rv_endo=_waver(rng, now.rv_endo)
        )
        labels = motion.labels(drawn, points, motion.material(now, points))
        out[frame, :, top:bottom, left:right] = labels.reshape(stack.box_shape)
    return out
