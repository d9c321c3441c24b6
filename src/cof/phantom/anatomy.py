"""Anatomy of the synthetic heart at end diastole, as radii from the LV long axis.

Heart frame, in mm: the origin is the endocardial apex, z runs along the long axis towards the base, and the polar angle
lies in the short-axis plane as seen from the apex: 0 lateral, 90 anterior, 180 septal, 270 degrees inferior. Every
surface is star-shaped about the axis, so that a few tables of radii over height and angle describe a heart.

The LV cavity is half a prolate ellipsoid of the given volume and length (EDV = 2/3 pi a^2 L), the wall follows from its
mass at 1.05 g/ml, and the RV is a crescent on the septal side with the given volume.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq

from cof.phantom.latents import Latents

ANGLES = 720
THETA = (np.arange(ANGLES) * (2 * np.pi / ANGLES)).astype(np.float32)
MYOCARDIAL_DENSITY = 1.05
RV_WALL_MM = 2.3

_STEP_MM = 1.0
_BELOW_APEX_MM = 16.0
_ABOVE_BASE_MM = 70.0
_RING_CENTRES = np.deg2rad([90, 150, 210, 270, 330, 30])
_APICAL_CENTRES = np.deg2rad([90, 180, 270, 0])
# Coronary territories as AHA segments, from the centre of the territory outwards.
TERRITORIES = {"none": (), "lad": (13, 14, 7, 8, 1, 2), "rca": (10, 4, 15, 9, 3), "lcx": (11, 5, 12, 6, 16)}


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """Wrap angles to [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _partition(centres: np.ndarray) -> np.ndarray:
    """Return squared-cosine weights of one ring of segments, [segments, ANGLES]; they sum to one at every angle."""
    width = 2 * np.pi / len(centres)
    distance = np.abs(_wrapped(THETA[None] - centres[:, None]))
    return np.where(distance < width, np.cos(np.pi / 2 * distance / width) ** 2, 0.0)


_RINGS = np.concatenate([_partition(_RING_CENTRES)] * 2 + [_partition(_APICAL_CENTRES)])
_LEVEL = np.repeat([0, 1, 2], [6, 6, 4])


def segment_weights(height: np.ndarray, length_mm: float) -> np.ndarray:
    """Return the smooth membership of points in the 16 AHA segments.

    Args:
        height: [...] mm above the apex.
        length_mm: LV length.

    Returns:
        [16, ..., ANGLES], in the order of AHA segments 1 to 16; sums to one over segments.
    """
    centres = np.array([5 / 6, 1 / 2, 1 / 6]) * length_mm
    clipped = np.clip(height, centres[2], centres[0])
    distance = np.abs(clipped[None] - centres.reshape(3, *[1] * np.ndim(height)))
    third = length_mm / 3
    level = np.where(distance < third, np.cos(np.pi / 2 * distance / third) ** 2, 0.0)
    rings = _RINGS.reshape(16, *[1] * np.ndim(height), ANGLES)
    return (level[_LEVEL][..., None] * rings).astype(np.float32)


@dataclass(frozen=True)
class Papillary:
    """One head of a papillary muscle: angle, range of heights, radius, and distance from the axis at root and tip."""

    angle: float
    low_mm: float
    high_mm: float
    radius_mm: float
    root: float
    tip: float


@dataclass(frozen=True)
class Heart:
    """Surfaces at end diastole. Tables are [heights, ANGLES] in mm; `z_mm` are their heights.

    Attributes:
        endo, epi: LV endocardium and epicardium; rv_endo, rv_epi: RV free wall (equal to `epi` away from the RV).
        fat: thickness of the epicardial fat over the outermost surface.
        trabeculae, rv_trabeculae: depth of the trabeculated rim of the blood pools.
        rv_window: weight of the RV free wall: 1 there, 0 away from it.
        base_tilt: slope of the base plane along lateral and anterior: the plane lies at length + tilt . (x, y).
        lean: slope of the long axis relative to the slice normal along lateral and anterior.
        papillaries: heads of the papillary muscles.
        segment_share: [16] share of the cavity that each AHA segment faces.
        infarct_share: [16] infarcted share of each segment.
        length_mm: LV length.
        edv_ml, rvedv_ml, lvm_g: volumes and LV mass for which the tables were solved.
    """

    z_mm: np.ndarray
    endo: np.ndarray
    epi: np.ndarray
    rv_endo: np.ndarray
    rv_epi: np.ndarray
    fat: np.ndarray
    trabeculae: np.ndarray
    rv_trabeculae: np.ndarray
    rv_window: np.ndarray
    base_tilt: tuple[float, float]
    lean: tuple[float, float]
    papillaries: tuple[Papillary, ...]
    segment_share: np.ndarray
    infarct_share: np.ndarray
    length_mm: float
    edv_ml: float
    rvedv_ml: float
    lvm_g: float

    def at(self, table: np.ndarray, height: np.ndarray, shift: np.ndarray | None = None) -> np.ndarray:
        """Interpolate the rows of a table at heights.

        Args:
            table: [heights, ANGLES].
            height: [P] or, with one height for every angle, [P, ANGLES], in mm.
            shift: [P] twist in angle bins: column k is read at k - shift.

        Returns:
            float32 [P, ANGLES], linear in height.
        """
        height = np.asarray(height, np.float32)
        columns = np.arange(ANGLES)[None]
        if shift is not None:
            columns = (columns - shift[:, None]) % ANGLES
        position = np.clip((height - self.z_mm[0]) / _STEP_MM, 0, len(self.z_mm) - 1.001)
        if position.ndim == 1:
            position = position[:, None]
        low = position.astype(np.int32)
        weight = (position - low).astype(np.float32)
        return table[low, columns] * (1 - weight) + table[low + 1, columns] * weight


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_mm: float, scale_bins: float) -> np.ndarray:
    """Draw smooth unit-variance noise over height and (periodic) angle."""
    noise = gaussian_filter(rng.standard_normal(shape), (scale_mm / _STEP_MM, scale_bins), mode=("nearest", "wrap"))
    return noise / noise.std()


def _volume_ml(inner: np.ndarray, outer: np.ndarray, inside: np.ndarray) -> float:
    """Return the volume between two surfaces over the heights (or cells of height and angle) that are `inside`."""
    return float(((outer**2 - inner**2) / 2 * inside).sum() * (2 * np.pi / ANGLES) * _STEP_MM / 1000)


def _infarct_shares(latents: Latents, rng: np.random.Generator) -> np.ndarray:
    """Draw the infarcted share of each AHA segment, [16]; the mean is the infarct's share of the wall."""
    shares = np.zeros(16)
    left = latents.infarct_size * 16
    order = list(TERRITORIES[latents.infarct])
    # The culprit lesion may be proximal or distal: start at either of the first two segments.
    if order and rng.random() < 0.5:
        order[0], order[1] = order[1], order[0]
    for segment in order:
        shares[segment - 1] = min(1.0, left)
        left -= shares[segment - 1]
    return shares


def _papillaries(length: float, rng: np.random.Generator) -> tuple[Papillary, ...]:
    """Draw the anterolateral papillary muscle and the two heads of the posteromedial one."""
    heads = []
    for degrees, radius in ((rng.normal(38, 8), 6.3), (rng.normal(265, 7), 4.8), (rng.normal(297, 8), 5.2)):
        low, high = rng.normal(0.2, 0.03) * length, rng.normal(0.72, 0.04) * length
        heads.append(
            Papillary(
                angle=float(np.deg2rad(degrees)),
                low_mm=float(low),
                high_mm=float(high),
                radius_mm=float(radius * rng.uniform(0.8, 1.15)),
                root=float(rng.uniform(0.9, 1.0)),
                tip=float(rng.uniform(0.62, 0.75)),
            )
        )
    return tuple(heads)


def build_heart(latents: Latents, rng: np.random.Generator) -> Heart:
    """Build the heart of one participant: sizes from its latents, shape variation from `rng`."""
    length = latents.length_mm
    z = np.arange(-_BELOW_APEX_MM, length + _ABOVE_BASE_MM + _STEP_MM, _STEP_MM).astype(np.float32)
    shape = (len(z), ANGLES)
    relative = (length - z) / length
    below_base = z <= length
    tilt, direction = rng.normal(np.tan(np.deg2rad(5)), 0.03), np.deg2rad(rng.normal(90, 25))
    base_tilt = (float(tilt * np.cos(direction)), float(tilt * np.sin(direction)))
    septum = np.cos(THETA - np.pi)

    # Cavity: prolate profile with an elliptical and a triangular harmonic and a slightly flattened septum.
    axis = np.sqrt(latents.edv_ml * 1000 * 3 / (2 * np.pi * length))
    profile = np.sqrt(np.clip(1 - relative**2, 0, None))
    profile[z > length] = np.maximum(profile[z > length], 0.9)
    outline = (
        1
        + rng.normal(0, 0.035) * np.cos(2 * (THETA - rng.uniform(0, np.pi)))
        + rng.normal(0, 0.018) * np.cos(3 * (THETA - rng.uniform(0, np.pi)))
        - rng.uniform(0.01, 0.08) * np.clip(septum, 0, None) ** 2
    )
    endo = axis * profile[:, None] * outline[None]
    endo *= np.sqrt(latents.edv_ml / _volume_ml(np.zeros(1), endo, below_base[:, None]))

    # Wall: thinner at the apex and in the infarct, scaled to the given mass.
    infarct_share = _infarct_shares(latents, rng)
    weights = segment_weights(z, length)
    infarcted = np.einsum("j,jzt->zt", infarct_share, weights)
    modulation = (
        (1 + 0.07 * septum + rng.normal(0, 0.03) * np.cos(2 * THETA - rng.uniform(0, np.pi)))[None]
        * (0.9 + 0.12 * np.clip(z / (0.6 * length), 0, 1))[:, None]
        * (1 + 0.07 * np.tanh(_smooth_noise(rng, shape, 14, 45)))
        * (1 - 0.25 * infarcted)
    )

    def epicardium(wall: float) -> np.ndarray:
        tip = 0.75 * wall
        outer = np.sqrt(np.clip(1 - (np.clip(length - z, 0, None) / (length + tip)) ** 2, 0, None)) * (axis + wall)
        thickness = np.clip(outer - axis * profile, 0, None)[:, None] * modulation
        thickness[z > length] = thickness[np.argmax(z > length) - 1]
        return endo + thickness

    target = latents.lvm_g / MYOCARDIAL_DENSITY
    wall = brentq(lambda w: _volume_ml(endo, epicardium(w), below_base[:, None]) - target, 2.0, 45.0, xtol=1e-3)
    epi = epicardium(float(wall))

    # RV: a crescent that leans towards the outflow tract at the base, and towards the diaphragm below.
    start = rng.uniform(0.04, 0.14) * length
    rise = np.clip((z - start) / (0.72 * length - start), 0, 1)
    height = np.sqrt(1 - (1 - rise) ** 2) * np.where(z > start, 1, 0)
    half_width = np.deg2rad(rng.normal(70, 4)) * (0.62 + 0.38 * rise)
    lean = np.deg2rad(rng.normal(8, 3)) * np.clip(2 * z / length - 1, -1, 1) - np.deg2rad(3)
    centre = np.pi - lean
    offset = _wrapped(THETA[None] - centre[:, None]) / half_width[:, None]
    # The widest part: towards the diaphragm at mid level, towards the outflow tract at the base.
    peak = rng.normal(0.32, 0.06) - 0.5 * np.clip(z / length / 0.55 - 0.8, 0, 1)
    skewed = offset - peak[:, None] * np.clip(1 - offset**2, 0, None)
    bump = np.clip(1 - np.abs(skewed) ** rng.uniform(2.2, 3.0), 0, None) ** 0.9
    bump *= height[:, None]
    edge = length + base_tilt[0] * epi * np.cos(THETA) * 1.4 + base_tilt[1] * epi * np.sin(THETA) * 1.4
    under = (z[:, None] <= edge).astype(float)
    depth = brentq(lambda h: _volume_ml(epi, epi + h * bump, under) - latents.rvedv_ml, 1.0, 150.0, xtol=1e-3)
    rv_endo = epi + depth * bump
    rv_window = np.clip(bump / 0.6, 0, 1)
    rv_epi = rv_endo + RV_WALL_MM * np.clip(bump * 5, 0, 1)

    # Fat fills the grooves where the RV inserts and grows with the body mass index.
    richness = np.clip(0.6 + 0.07 * (latents.bmi - 22), 0.4, 1.8) * rng.uniform(0.8, 1.25)
    grooves = np.exp(-(((np.abs(offset) - 1.05) / 0.22) ** 2)) * np.clip(height, 0.3, 1)[:, None]
    over_rv = np.clip(bump * 2, 0, 1)
    fat = richness * (0.6 + 5.0 * grooves + 1.8 * over_rv + 2.5 * np.clip(z / length - 0.75, 0, 1)[:, None])
    fat *= 1 + 0.3 * np.tanh(_smooth_noise(rng, shape, 12, 60))

    trabeculae = (
        np.clip((2.3 - 0.7 * septum) + 1.4 * _smooth_noise(rng, shape, 4, 9), 0.3, 6.5)
        * np.clip(1.5 - z / length, 0.6, 1)[:, None]
    )
    rv_trabeculae = np.clip(1.8 + 2.4 * _smooth_noise(rng, shape, 5, 9), 0, 8) * np.clip(bump * 1.5, 0, 1)
    rv_trabeculae *= np.clip(2.0 - 1.6 * z / length, 0.6, 2.0)[:, None]
    share = np.einsum("zt,jzt->j", endo**2 * below_base[:, None], weights)
    tables = (endo, epi, rv_endo, rv_epi, fat, trabeculae, rv_trabeculae, rv_window)
    endo, epi, rv_endo, rv_epi, fat, trabeculae, rv_trabeculae, rv_window = (t.astype(np.float32) for t in tables)
    return Heart(
        z_mm=z,
        endo=endo,
        epi=epi,
        rv_endo=rv_endo,
        rv_epi=rv_epi,
        fat=fat,
        trabeculae=trabeculae,
        rv_trabeculae=rv_trabeculae,
        rv_window=rv_window,
        base_tilt=base_tilt,
        lean=(float(rng.normal(0, 0.06)), float(rng.normal(0, 0.06))),
        papillaries=_papillaries(length, rng),
        segment_share=share / share.sum(),
        infarct_share=infarct_share,
        length_mm=length,
        edv_ml=latents.edv_ml,
        rvedv_ml=latents.rvedv_ml,
        lvm_g=latents.lvm_g,
    )
