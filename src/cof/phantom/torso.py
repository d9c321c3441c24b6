"""Static surroundings of the heart in a short-axis slice: chest wall, lung, liver, stomach, spleen, aorta and fat.

The image frame is in mm from the LV axis: x to the right (patient's left and back), y down. The chest wall arches over
the top left, the dark left lung is on the lateral side, and the heart rests on the diaphragm, with the liver at the
lower left.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.optimize import brentq

from cof.phantom.anatomy import ANGLES, Heart
from cof.phantom.latents import Latents
from cof.phantom.stack import Stack


@dataclass(frozen=True)
class Contrast:
    """Balanced SSFP signal of each tissue relative to blood (Bloch steady state at 1.5 T, 50-60 degrees effective)."""

    myocardium: float
    papillary: float
    fat: float
    epicardial_fat: float
    liver: float
    spleen: float
    muscle: float
    lung: float


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw the contrast of one scan; its variation represents flip angle, off-resonance and tissue."""
    myocardium = float(np.clip(rng.normal(0.36, 0.045), 0.27, 0.48))
    return Contrast(
        myocardium=myocardium,
        papillary=float(myocardium * rng.uniform(0.95, 1.15)),
        fat=float(rng.uniform(1.15, 1.55)),
        epicardial_fat=float(rng.uniform(1.0, 1.4)),
        liver=float(rng.uniform(0.34, 0.5)),
        spleen=float(rng.uniform(0.5, 0.7)),
        muscle=float(rng.uniform(0.2, 0.3)),
        lung=float(rng.uniform(0.02, 0.06)),
    )


@dataclass(frozen=True)
class Torso:
    """The static image [Z, rows, columns]: `tissue` signal relative to blood, and coil `bias`, 1 at the heart."""

    tissue: np.ndarray
    bias: np.ndarray


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scale_px: float) -> np.ndarray:
    """Draw smooth unit-variance noise, correlated between neighbouring slices."""
    noise = gaussian_filter1d(rng.standard_normal(shape, dtype=np.float32), 0.7, axis=0)
    noise = gaussian_filter(noise, (0, scale_px, scale_px))
    return noise / noise.std()


def _edge(distance_mm: np.ndarray, width_mm: float) -> np.ndarray:
    """Return 1 where the signed distance is positive and 0 elsewhere, with an anti-aliased edge."""
    return np.clip(distance_mm / width_mm + 0.5, 0, 1)


def _ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], axes: tuple[float, float], angle: float
) -> np.ndarray:
    """Return the signed distance in mm (to first order) from the edge of an ellipse, positive inside."""
    cosine, sine = np.cos(angle), np.sin(angle)
    u = ((x - centre[0]) * cosine + (y - centre[1]) * sine) / axes[0]
    v = (-(x - centre[0]) * sine + (y - centre[1]) * cosine) / axes[1]
    level = np.sqrt(u * u + v * v) + 1e-6
    slope = np.sqrt((u / axes[0]) ** 2 + (v / axes[1]) ** 2) / level + 1e-6
    return (1 - level) / slope


def build_torso(latents: Latents, heart: Heart, stack: Stack, contrast: Contrast, rng: np.random.Generator) -> Torso:
    """Draw the surroundings of one heart on the pixels of its stack."""
    x, y = stack.image_mm()
    shape = x.shape
    pixel = stack.spacing_mm
    edge = pixel

    # The heart's outer contour in each slice, in image coordinates.
    rows = heart.at(heart.rv_epi + heart.fat, stack.height_mm)
    turn = np.arange(ANGLES) * 2 * np.pi / ANGLES + stack.rotation
    contour_x, contour_y = rows * np.cos(turn), -rows * np.sin(turn)
    bins = np.rint((np.arctan2(-y, x) - stack.rotation) / (2 * np.pi / ANGLES)).astype(int) % ANGLES
    outer = np.take_along_axis(rows, bins.reshape(len(rows), -1), 1).reshape(shape)
    beyond = np.hypot(x, y) - outer

    # Chest: an ellipse whose long side faces up and left, moved until its wall reaches the heart.
    fat_mm = float(np.clip(3 + 0.8 * (latents.bmi - 18) * rng.uniform(0.6, 1.3), 4, 28))
    muscle_mm = float(rng.uniform(9, 15))
    gap = rng.uniform(2, 7)
    angle = np.deg2rad(rng.normal(-32, 9))
    size = (latents.bmi / 26) ** 0.4
    axes = (rng.uniform(170, 205) * size, rng.uniform(135, 158) * size)
    inward = (-np.sin(angle) * 0.9, np.cos(angle))
    aside = rng.uniform(10, 35)

    def body(k: float, px: np.ndarray, py: np.ndarray) -> np.ndarray:
        return _ellipse(px, py, (inward[0] * k + aside, inward[1] * k), axes, angle)

    def clearance(k: float) -> float:
        front = contour_y < 25
        return float(body(k, contour_x[front], contour_y[front]).min()) - (fat_mm + muscle_mm + gap)

    low, high = -80.0, 200.0
    place = brentq(clearance, low, high, xtol=0.1) if clearance(low) * clearance(high) < 0 else 45.0
    depth = body(place, x, y) + 2.0 * _noise(rng, shape, 14 / pixel)

    fine, middle, coarse = (
        _noise(rng, shape, 1.0 / pixel + 0.4),
        _noise(rng, shape, 4 / pixel),
        _noise(rng, shape, 12 / pixel),
    )
    inside = _edge(depth, edge)
    subcutaneous = inside * _edge(fat_mm + 1.5 * coarse - depth, edge)
    wall_inner = fat_mm + muscle_mm + 1.5 * middle
    muscle = inside * (1 - subcutaneous) * _edge(wall_inner - depth, edge)

    # Ribs: ovals along the muscle layer with bright marrow and dark cortex.
    along = np.arctan2(y - inward[1] * place, x - inward[0] * place - aside)
    rib_wave = np.cos(along * rng.uniform(14, 18) + rng.uniform(0, 6) + 0.4 * np.arange(len(rows))[:, None, None])
    across = (depth - fat_mm - 0.62 * muscle_mm) / (0.3 * muscle_mm)
    rib = 1 - np.sqrt(np.clip((1 - rib_wave) * 4.5, 0, None) + across**2)
    marrow, cortex = np.clip(rib * 3, 0, 1), np.clip(1 - np.abs(rib) * 5, 0, 1)

    # Diaphragm: the heart rests on it.
    bottom = gaussian_filter1d(contour_y.max(1), 1.0, mode="nearest")
    crown = rng.uniform(-45, -10)
    level = (bottom + rng.uniform(-8, 1))[:, None, None]
    fall = np.where(x > crown, rng.uniform(0.0012, 0.0032), rng.uniform(0.0008, 0.002)) * (x - crown) ** 2
    abdomen_depth = y - level - fall + 0.1 * (x - crown) + 1.5 * coarse
    cavity = inside * _edge(depth - wall_inner, edge)
    abdomen = cavity * _edge(abdomen_depth, edge)

    divide = rng.uniform(-5, 35)
    liver_depth = np.minimum(divide + 0.35 * (y - level) - x + 4 * coarse, abdomen_depth - 1.2)
    liver = abdomen * _edge(liver_depth, edge)
    stomach_at = (divide + rng.uniform(44, 60), float(bottom.mean()) + rng.uniform(20, 36))
    stomach_depth = (
        _ellipse(x, y, stomach_at, (rng.uniform(20, 32), rng.uniform(14, 22)), rng.uniform(-0.5, 0.5)) + 2 * coarse
    )
    stomach = abdomen * (1 - liver) * _edge(stomach_depth, edge)
    spleen_at = (stomach_at[0] + rng.uniform(36, 48), stomach_at[1] + rng.uniform(5, 25))
    spleen_depth = (
        _ellipse(x, y, spleen_at, (rng.uniform(16, 22), rng.uniform(26, 38)), rng.uniform(-0.6, 0.2)) + 2 * coarse
    )
    spleen = abdomen * (1 - liver) * (1 - stomach) * _edge(spleen_depth, edge)
    aorta_at = (divide + rng.uniform(10, 18), float(bottom[0]) + rng.uniform(18, 30))
    aorta_depth = rng.uniform(10, 13) - np.hypot(x - aorta_at[0], y - aorta_at[1])

    # Mediastinal fat between heart, chest wall and diaphragm; heavier people have more of it.
    bulk = np.clip(0.5 + 0.08 * (latents.bmi - 20), 0.3, 2.0) * rng.uniform(0.7, 1.3)
    leftish = np.clip(0.5 - x / 90, 0, 1)
    pad = cavity * _edge(
        bulk * (22 * leftish**1.7 * np.clip(0.6 - y / 120, 0.1, 1)) + 2.0 * coarse - 1.0 - beyond, edge
    )
    pad = np.maximum(pad, cavity * leftish**2 * _edge(bulk * 7 + wall_inner + 3 * coarse - depth, edge))

    vessels = np.clip((fine * 0.8 + middle * 0.6) - 1.5, 0, None)
    lung = contrast.lung * (1 + 0.3 * coarse) + 0.3 * vessels
    tissue = inside * 0.0 + cavity * np.clip(lung, 0.01, None)

    def lay(mask: np.ndarray, value: np.ndarray | float) -> None:
        nonlocal tissue
        tissue = tissue * (1 - mask) + mask * value

    septa = np.clip(0.75 + 0.3 * middle + 0.12 * fine, 0, 1)
    fat_texture = (0.78 + 0.22 * septa) * (1 + 0.06 * coarse)
    lay(pad, contrast.epicardial_fat * (0.55 + 0.45 * septa) * (1 + 0.1 * coarse))
    lay(abdomen, contrast.epicardial_fat * (0.62 + 0.38 * septa) * (1 + 0.15 * coarse))
    lay(liver, contrast.liver * (1 + 0.05 * coarse) + 0.22 * np.clip(middle * 1.1 - 1.5, 0, 0.9))
    content = np.where(middle + 0.6 * coarse > 0.3, 0.75, 0.3)
    lay(stomach, np.where(stomach_depth > 3, content, contrast.muscle * 1.2) * (1 + 0.1 * fine))
    lay(spleen, contrast.spleen * (1 + 0.05 * coarse))
    lay(cavity * _edge(aorta_depth + 1.5, edge), 0.25)
    lay(cavity * _edge(aorta_depth, edge), 0.9 + 0.05 * middle)
    lay(muscle, contrast.muscle * (1 + 0.12 * middle) + 0.3 * np.clip(middle + 0.5 * fine - 1.7, 0, 1))
    lay(muscle * marrow, 0.75 * contrast.fat * (0.7 + 0.2 * septa))
    lay(muscle * cortex * (1 - marrow), 0.06)
    lay(subcutaneous, contrast.fat * fat_texture)

    # At TE = TR / 2, fat and water within one voxel cancel each other: a dark line where they meet.
    fatty = np.maximum.reduce([subcutaneous, pad * (1 - muscle), abdomen * (1 - liver) * (1 - stomach) * (1 - spleen)])
    fatty = np.where(_edge(aorta_depth, edge) > 0.5, 0, fatty)
    watery = np.maximum.reduce([muscle, liver, stomach, spleen])
    sigma = (0, 0.8, 0.8)
    ink = 4 * gaussian_filter(fatty.astype(np.float32), sigma) * gaussian_filter(watery.astype(np.float32), sigma)
    tissue = np.clip(tissue * (1 - 0.55 * np.clip(ink, 0, 1)), 0, None)

    # Surface coils lie on the chest: the signal decreases with depth, and varies smoothly in plane.
    reference = float(body(place, np.zeros(1), np.zeros(1))[0])
    decay = rng.uniform(0.3, 0.65) / 100
    slope, bend = rng.normal(0, 0.0010, 2), rng.normal(0, 0.000006, 2)
    smooth_depth = gaussian_filter(depth, (0, 6, 6))
    log_bias = -decay * (smooth_depth - reference) + slope[0] * x + slope[1] * y + bend[0] * x * x + bend[1] * y * y
    bias = np.exp(np.clip(log_bias, -1.2, 0.9))
    tissue = gaussian_filter(tissue.astype(np.float32), (0, 0.6, 0.6))
    return Torso(tissue.astype(np.float32), bias.astype(np.float32))
