"""Motion of the synthetic heart: volume curves, and the analytic pull-back displacement u_t(x) in mm.

A material point that lies at x at time t lay at x + u_t(x) at end diastole (the R peak). In the cylindrical
coordinates of `cof.phantom.anatomy` (capitals at end diastole) the LV wall obeys

    Z = z / lambda,   Theta = theta - torsion(Z, t),   R^2 = A^2 + lambda (r^2 - a^2),

whose Jacobian is (R / r)(dR/dr)(dTheta/dtheta)(dZ/dz) = 1 for any radius a(theta, z, t) of the endocardium: the
myocardium is incompressible. Regional function enters through a only.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cof.phantom.anatomy import ANGLES, THETA, Heart, segment_weights
from cof.phantom.latents import Latents

LONG_AXIS_SHORTENING = 0.14
REFERENCE_EF_PCT = 60.0
APEX_TWIST_DEG = 8.0
BASE_TWIST_DEG = -4.0
TAPSE_MM = 22.0
REFERENCE_RVEF_PCT = 57.0
DECAY_MM = 18.0
# Beyond this distance from the heart, nothing moves.
REACH_MM = 30.0
_ATRIAL_FLOOR_MM = 10.0
_ATRIAL_ROOF_MM = 60.0
_LATE = np.array([0.5, 0, 0, 0.5, 1, 1, 0.5, 0, 0, 0.5, 1, 1, 0.5, 0, 0.5, 1])
_FLASH_MS = 80.0
_FLASH_LOBE = 0.15
_BIN = 2 * np.pi / ANGLES


def _ramp(x: np.ndarray) -> np.ndarray:
    """Return x - sin(2 pi x) / (2 pi), which rises from 0 to 1 and is flat at both ends."""
    x = np.clip(x, 0, 1)
    return x - np.sin(2 * np.pi * x) / (2 * np.pi)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class Beat:
    """Timing and strength of contraction of each part of the heart.

    Attributes:
        latents: the participant.
        gain: [16] contraction of each AHA segment (k_j), scaled to give the EF of the latents.
        delay_ms: [16] electrical delay of each segment (tau_j).
        share: [16] share of the cavity that each segment faces.
    """

    latents: Latents
    gain: np.ndarray
    delay_ms: np.ndarray
    share: np.ndarray

    def _contraction(self, time_ms: np.ndarray, delay: np.ndarray | float) -> np.ndarray:
        """Return s(t): 0 at end diastole, 1 at end systole. The delay does not shift the atrial kick."""
        own = self.latents
        ejection = _ramp((time_ms - own.t_ejection_ms - delay) / (own.t_es_ms - own.t_ejection_ms))
        early = _ramp((time_ms - own.t_e_ms - delay) / own.e_ms)
        late = _ramp((time_ms - own.t_a_ms) / own.a_ms)
        return ejection - (1 - own.f_a) * early - own.f_a * late

    def segments(self, time_ms: float | np.ndarray) -> np.ndarray:
        """Return k_j s(t - tau_j) [..., 16] at times after the R peak; zero at t = 0."""
        time = np.asarray(time_ms, float)[..., None]
        stroke = self._contraction(time, self.delay_ms) - self._contraction(np.zeros(1), self.delay_ms)
        if self.latents.septal_flash:
            # Before ejection the septum moves inwards, while the delayed lateral wall is stretched.
            lobe = np.sin(np.pi * np.clip(time / _FLASH_MS, 0, 1)) ** 2
            stroke = stroke + _FLASH_LOBE * (1 - 2 * _LATE) * lobe
        return self.gain * stroke

    def contraction(self, time_ms: float | np.ndarray) -> np.ndarray:
        """Return the contraction of the whole LV: (EDV - V) / (EDV - ESV)."""
        return self.segments(time_ms) @ self.share

    def volume_ml(self, time_ms: float | np.ndarray) -> np.ndarray:
        """Return the LV cavity volume in mL."""
        return self.latents.edv_ml * (1 - self.latents.ef_pct / 100 * self.contraction(time_ms))

    def rv_contraction(self, time_ms: float | np.ndarray) -> np.ndarray:
        """Return the contraction of the whole RV: (RVEDV - V) / (RVEDV - RVESV)."""
        delay = 0.5 * max(self.latents.qrs_ms - 90, 0) if self.latents.conduction == "rbbb" else 0.0
        time = np.asarray(time_ms, float)
        return self._contraction(time, delay) - self._contraction(np.zeros(()), delay)

    def rv_volume_ml(self, time_ms: float | np.ndarray) -> np.ndarray:
        """Return the RV cavity volume in mL."""
        return self.latents.rvedv_ml * (1 - self.latents.rvef_pct / 100 * self.rv_contraction(time_ms))

    @cached_property
    def t_es_ms(self) -> float:
        """Time of the smallest LV volume, to 1 ms; with delayed segments it is later than `latents.t_es_ms`."""
        times = np.arange(0, self.latents.rr_cmr_ms, 1.0)
        return float(times[np.argmin(self.volume_ml(times))])


def build_beat(latents: Latents, heart: Heart, rng: np.random.Generator) -> Beat:
    """Draw regional gains and delays: infarct and bundle branch block by the latents, the rest at random."""
    scar = heart.infarct_share
    gain = np.clip(rng.normal(1, 0.07, 16), 0.75, 1.25)
    gain = gain * (1 - scar) + scar * rng.uniform(-0.1, 0.4, 16)
    widening = max(latents.qrs_ms - 90, 0.0)
    delay = np.abs(rng.normal(0, 3, 16))
    if latents.conduction == "lbbb":
        delay = delay + 0.6 * widening * _LATE
    elif latents.conduction == "ivcd":
        delay = delay + 0.3 * widening * rng.random(16)
    beat = Beat(latents, gain, delay, heart.segment_share)
    peak = beat.contraction(np.arange(0, latents.rr_cmr_ms, 1.0)).max()
    return Beat(latents, gain / peak, delay, heart.segment_share)


@dataclass(frozen=True)
class Radii:
    """The heart at one time on planes of constant height: [P, ANGLES] tables in mm.

    Attributes:
        height: [P] heights of the planes.
        height_ed: [P] heights of the material at end diastole, in and around the LV.
        height_rv_ed: [P, ANGLES] heights of the material at end diastole, at the RV free wall.
        twist: [P] angle by which the material has turned since end diastole.
        shift: the same in angle bins.
        wall: long-axis stretch of the LV (lambda) and of the RV free wall.
        endo, epi, rv_endo, rv_epi: radii at this time.
        endo_ed, epi_ed, rv_endo_ed, rv_epi_ed: radii of the same material at end diastole.
    """

    height: np.ndarray
    height_ed: np.ndarray
    height_rv_ed: np.ndarray
    twist: np.ndarray
    shift: np.ndarray
    wall: tuple[float, float]
    endo: np.ndarray
    epi: np.ndarray
    rv_endo: np.ndarray
    rv_epi: np.ndarray
    endo_ed: np.ndarray
    epi_ed: np.ndarray
    rv_endo_ed: np.ndarray
    rv_epi_ed: np.ndarray


@dataclass(frozen=True)
class Points:
    """Points on planes of constant height in the heart frame: [P, N] radii and angles, as `polar_points` makes them.

    Attributes:
        radius, cosine, sine: polar coordinates, the angle by its cosine and sine.
        square: squared radius.
        index: flat index into a [P, ANGLES] table.
    """

    radius: np.ndarray
    square: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray
    index: np.ndarray


def polar_points(x: np.ndarray, y: np.ndarray) -> Points:
    """Convert in-plane coordinates x (lateral) and y (anterior), [P, N] in mm, to polar form."""
    square = (x * x + y * y).astype(np.float32)
    radius = np.sqrt(square)
    inverse = 1 / np.maximum(radius, 1e-3)
    bins = np.rint(np.arctan2(y, x) / _BIN).astype(np.int32) % ANGLES
    index = bins + (np.arange(len(x), dtype=np.int32) * ANGLES)[:, None]
    return Points(radius, square, (x * inverse).astype(np.float32), (y * inverse).astype(np.float32), index)


class Deformation:
    """The motion of one heart."""

    def __init__(self, heart: Heart, beat: Beat) -> None:
        self.heart = heart
        self.beat = beat
        self._dense = np.arange(2.0, heart.length_mm + 20, 2.0, dtype=np.float32)
        self._gains: dict[float, float] = {}
        self._rv_rest = self._rv_extent(0.0)

    def _height_ed(self, height: np.ndarray, stretch: np.ndarray | float) -> np.ndarray:
        """Return Z(z): z / lambda up to just above the base; above, compressed so that the roof of the atria rests."""
        floor, roof = self.heart.length_mm + _ATRIAL_FLOOR_MM, self.heart.length_mm + _ATRIAL_ROOF_MM
        atrial = floor + (height - stretch * floor) * (roof - floor) / (roof - stretch * floor)
        return np.where(height <= stretch * floor, height / stretch, np.where(height < roof, atrial, height))

    def _at(self, time_ms: float, height: np.ndarray, rv_gain: float) -> Radii:
        heart, own = self.heart, self.beat.latents
        contraction = float(self.beat.contraction(time_ms))
        vigour = contraction * own.ef_pct / REFERENCE_EF_PCT
        stretch = 1 - LONG_AXIS_SHORTENING * vigour
        tapse = TAPSE_MM * own.rvef_pct / REFERENCE_RVEF_PCT * float(self.beat.rv_contraction(time_ms))
        rv_stretch = 1 - tapse / heart.length_mm

        height = np.asarray(height, np.float32)
        height_ed = self._height_ed(height, stretch).astype(np.float32)
        relative = np.clip(height_ed / heart.length_mm, 0, 1.2)
        twist = np.deg2rad(APEX_TWIST_DEG + (BASE_TWIST_DEG - APEX_TWIST_DEG) * relative) * vigour
        shift = np.rint(twist / _BIN).astype(np.int32)
        window = heart.at(heart.rv_window, height_ed, shift)
        stretches = stretch + (rv_stretch - stretch) * window
        height_rv_ed = self._height_ed(height[:, None], stretches).astype(np.float32)

        endo_ed = heart.at(heart.endo, height_ed, shift)
        epi_ed = heart.at(heart.epi, height_ed, shift)
        rv_endo_ed = heart.at(heart.rv_endo, height_rv_ed, shift)
        rv_epi_ed = heart.at(heart.rv_epi, height_rv_ed, shift)
        ventricle = 1 - _smoothstep((height_ed - heart.length_mm - _ATRIAL_FLOOR_MM) / 25)[:, None]
        stroke = own.ef_pct / 100 * self._stroke(time_ms, height_ed, shift)
        scale = np.clip(1 - stroke, 0.06, None) / stretch
        endo_square = endo_ed**2 * (1 + (scale - 1) * ventricle)
        epi_square = endo_square + (epi_ed**2 - endo_ed**2) / stretch
        gain = 1 + (rv_gain - 1) * ventricle
        rv_square = epi_square + np.clip(rv_endo_ed**2 - epi_ed**2, 0, None) * gain
        rv_epi_square = rv_square + (rv_epi_ed**2 - rv_endo_ed**2) / rv_stretch
        return Radii(
            height=height,
            height_ed=height_ed,
            height_rv_ed=height_rv_ed,
            twist=twist.astype(np.float32),
            shift=shift,
            wall=(stretch, rv_stretch),
            endo=np.sqrt(endo_square).astype(np.float32),
            epi=np.sqrt(epi_square).astype(np.float32),
            rv_endo=np.sqrt(rv_square).astype(np.float32),
            rv_epi=np.sqrt(rv_epi_square).astype(np.float32),
            endo_ed=endo_ed,
            epi_ed=epi_ed,
            rv_endo_ed=np.maximum(rv_endo_ed, epi_ed),
            rv_epi_ed=np.maximum(rv_epi_ed, epi_ed),
        )

    def _stroke(self, time_ms: float, height_ed: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Return the contraction at material heights and angles, [P, ANGLES]."""
        stroke = np.tensordot(
            self.beat.segments(time_ms).astype(np.float32), segment_weights(height_ed, self.heart.length_mm), 1
        )
        columns = (np.arange(ANGLES)[None] - shift[:, None]) % ANGLES
        return np.take_along_axis(stroke, columns, 1)

    def _rv_extent(self, time_ms: float) -> float:
        """Return the volume in mL that the RV would have with its cross-sections of end diastole."""
        now = self._at(time_ms, self._dense, 1.0)
        middle = (now.epi_ed + now.rv_endo_ed) / 2
        base = self.base_height(middle * np.cos(THETA), middle * np.sin(THETA))
        inside = (now.height_ed[:, None] + now.height_rv_ed) / 2 <= base
        area = (np.clip(now.rv_endo**2 - now.epi**2, 0, None) / 2 * inside).sum(dtype=np.float64) * _BIN
        return float(area * (self._dense[1] - self._dense[0]) / 1000)

    def _rv_gain(self, time_ms: float) -> float:
        """Return the factor of the RV's cross-sections that gives the RV volume at this time; 1 at end diastole."""
        if time_ms not in self._gains:
            share = float(self.beat.rv_volume_ml(time_ms)) / self.beat.latents.rvedv_ml
            self._gains[time_ms] = share * self._rv_rest / self._rv_extent(time_ms)
        return self._gains[time_ms]

    def at(self, time_ms: float, height: np.ndarray) -> Radii:
        """Return the heart at a time after the R peak, on planes of the given heights [P] in mm."""
        return self._at(time_ms, height, self._rv_gain(time_ms))

    def base_height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the height of the valve plane at end diastole over in-plane material coordinates."""
        return self.heart.length_mm + self.heart.base_tilt[0] * x + self.heart.base_tilt[1] * y

    def material(self, now: Radii, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where the tissue at `points` lay at end diastole: X (lateral), Y (anterior), Z (height), [P, N] mm."""

        def take(table: np.ndarray) -> np.ndarray:
            return table.ravel()[points.index]

        endo, epi, rv, rv_epi = take(now.endo), take(now.epi), take(now.rv_endo), take(now.rv_epi)
        endo_ed, epi_ed, rv_ed, outer_ed = (
            take(now.endo_ed),
            take(now.epi_ed),
            take(now.rv_endo_ed),
            take(now.rv_epi_ed),
        )
        square, radius = points.square, points.radius
        stretch = now.wall[0]
        cavity = square * (endo_ed / np.maximum(endo, 1e-3)) ** 2
        wall = endo_ed**2 + stretch * (square - endo**2)
        crescent = np.maximum(rv**2 - epi**2, 1e-3)
        part = np.clip((square - epi**2) / crescent, 0, 1)
        rv_cavity = epi_ed**2 + part * (rv_ed**2 - epi_ed**2)
        thickness = np.maximum(rv_epi**2 - rv**2, 1e-3)
        rv_wall = rv_ed**2 + np.clip((square - rv**2) / thickness, 0, 1) * (outer_ed**2 - rv_ed**2)
        distance = np.clip(radius - rv_epi, 0, REACH_MM)
        floor = np.exp(-((REACH_MM / DECAY_MM) ** 2))
        decay = (np.exp(-((distance / DECAY_MM) ** 2)) - floor) / (1 - floor)
        outside = radius + (outer_ed - rv_epi) * decay

        inner = np.where(radius < endo, cavity, wall)
        inner = np.where(radius > epi, rv_cavity, inner)
        inner = np.where(radius > rv, rv_wall, inner)
        radius_ed = np.where(radius > rv_epi, outside, np.sqrt(np.maximum(inner, 0)))

        blend = part * part * (3 - 2 * part)
        lv_height = now.height_ed[:, None]
        height_ed = lv_height + (take(now.height_rv_ed) - lv_height) * blend
        plane = now.height[:, None]
        height_ed = plane + (height_ed - plane) * decay
        angle = now.twist[:, None] * decay
        cosine, sine = np.cos(angle), np.sin(angle)
        x = radius_ed * (points.cosine * cosine + points.sine * sine)
        y = radius_ed * (points.sine * cosine - points.cosine * sine)
        return x, y, height_ed

    def displacement(self, now: Radii, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the pull-back u_t along x (lateral), y (anterior) and z (towards the base), each [P, N] in mm."""
        x, y, z = self.material(now, points)
        return x - points.radius * points.cosine, y - points.radius * points.sine, z - now.height[:, None]

    def labels(self, now: Radii, points: Points, material: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Return exact labels [P, N]: 0 background, 1 LV with its papillary muscles, 2 myocardium, 3 RV."""
        x, y, z = material
        below = z <= self.base_height(x, y)
        radius = points.radius
        epi = now.epi.ravel()[points.index]
        rv = now.rv_endo.ravel()[points.index]
        out = np.zeros(radius.shape, np.uint8)
        out[(radius < rv) & (radius >= epi) & below] = 3
        out[(radius < epi) & below] = 2
        out[(radius < now.endo.ravel()[points.index]) & below] = 1
        return out
