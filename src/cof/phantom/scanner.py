"""Simulation of a segmented balanced SSFP cine: slice profile, contrast, inflow, coils and noise."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from cof.phantom.anatomy import Heart
from cof.phantom.motion import Deformation, Radii
from cof.phantom.stack import PROFILE_OFFSETS_MM, PROFILE_WEIGHTS, Stack
from cof.phantom.torso import Contrast, Torso

# SD in frames of the filter that correlates noise over time, since neighbouring frames share raw data.
NOISE_CORRELATION_FRAMES = 0.6
# SD in pixels of the in-plane blur that the acquired resolution leaves in the stored pixels.
PSF_PX = 0.5
# Muscle share of the trabeculated rim of each blood pool.
TRABECULAR_SHARE = 0.65
RV_TRABECULAR_SHARE = 0.55
_INFLOW = 0.05
# The dark line between fat and muscle: half width, and share of the signal that it removes.
_INK_MM = 1.4
_INK = 0.6


@dataclass(frozen=True)
class Acquisition:
    """Result of one scan of one heart.

    Attributes:
        frames: uint16 [T, Z, rows, columns].
        labels: uint8, the same shape: exact labels at the slice centres.
        displacement: float16 [T, 3, Z, box rows, box columns], mm along image z, y, x; None unless requested.
    """

    frames: np.ndarray
    labels: np.ndarray
    displacement: np.ndarray | None


def _over(image: np.ndarray, coverage: np.ndarray, value: float) -> None:
    """Blend `value` into `image` by `coverage`, in place."""
    image += coverage * (value - image)


class Scanner:
    """The scanner, which renders the moving region frame by frame over a static torso."""

    def __init__(
        self,
        heart: Heart,
        motion: Deformation,
        stack: Stack,
        torso: Torso,
        contrast: Contrast,
        rng: np.random.Generator,
    ) -> None:
        self.heart, self.motion, self.stack, self.torso, self.contrast = heart, motion, stack, torso, contrast
        self.centre_height, self.centre_points = stack.box_points(heart, np.zeros(1, np.float32))
        self.sub_height, self.sub_points = stack.box_points(heart, PROFILE_OFFSETS_MM)
        top, bottom, left, right = stack.box
        self._window = (slice(None), slice(top, bottom), slice(left, right))
        slices, rows, columns = stack.box_shape
        self._grid = np.meshgrid(np.arange(slices), np.arange(rows), np.arange(columns), indexing="ij")
        self._still = torso.tissue[self._window]
        self._bias = torso.bias[self._window]
        # Slowly swirling blood: a few plane waves whose phases advance over the cycle.
        self._waves = [
            (rng.normal(0, 0.2, 2), rng.uniform(0, 2 * np.pi), int(rng.integers(1, 3)), rng.uniform(0.01, 0.03))
            for _ in range(6)
        ]
        self._inflow_phase = rng.uniform(0, 2 * np.pi, slices)
        self._rr = motion.beat.latents.rr_cmr_ms

    def _surroundings(self, shift: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the torso near the heart, moved by the heart's displacement, which decays with distance."""
        shape = self.stack.box_shape
        slices, rows, columns = self._grid
        coordinates = [
            slices.astype(np.float32),
            rows + shift[1].reshape(shape) / self.stack.spacing_mm,
            columns + shift[2].reshape(shape) / self.stack.spacing_mm,
        ]
        return map_coordinates(self._still, coordinates, order=1, mode="nearest", output=np.float32)

    def _papillaries(self, now: Radii, image: np.ndarray, blood: np.ndarray) -> None:
        """Draw the papillary muscles, which thicken and move inwards independently of the map of the cavity."""
        points = self.sub_points
        systole = float(self.motion.beat.contraction(self._time))
        for head in self.heart.papillaries:
            inside = (now.height_ed > head.low_mm) & (now.height_ed < head.high_mm)
            if not inside.any():
                continue
            rows = np.flatnonzero(inside)
            along = (now.height_ed[rows] - head.low_mm) / (head.high_mm - head.low_mm)
            angle = head.angle + now.twist[rows]
            column = np.rint(angle / (2 * np.pi) * now.endo.shape[1]).astype(int) % now.endo.shape[1]
            wall = now.endo[rows, column]
            distance = wall * (head.root + (head.tip - head.root) * along) - 0.05 * systole * wall
            radius = head.radius_mm * np.sqrt(np.clip(4 * (along + 0.15) * (1 - along), 0, 1)) / np.sqrt(now.wall[0])
            radius = np.minimum(radius, 0.32 * wall)
            x = points.radius[rows] * points.cosine[rows] - (distance * np.cos(angle))[:, None]
            y = points.radius[rows] * points.sine[rows] - (distance * np.sin(angle))[:, None]
            out = np.sqrt(x * x + y * y)
            coverage = np.clip((radius[:, None] - out) / self.stack.spacing_mm + 0.5, 0, 1) * blood[rows]
            image[rows] += coverage * (self.contrast.papillary - 1.0)
            blood[rows] -= coverage

    def _heart(self, now: Radii, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return signal, relative to blood, and blood fraction on all sub-planes [Z * S, N]."""
        heart, points, width = self.heart, self.sub_points, self.stack.spacing_mm
        contrast = self.contrast
        radius = points.radius
        fat = now.rv_epi + heart.at(heart.fat, now.height_ed, now.shift)
        # Trabeculae keep their mass: their layer thickens as the cavity gets smaller.
        compaction = now.endo_ed / np.maximum(now.endo, 1)
        trabeculae = heart.at(heart.trabeculae, now.height_ed, now.shift) * np.clip(compaction, 0.8, 1.4)
        rv_trabeculae = heart.at(heart.rv_trabeculae, now.height_ed, now.shift)
        scale = np.float32(1 / width)

        def reach(table: np.ndarray) -> np.ndarray:
            """Return the signed distance in pixels from the surface of a table, positive inside."""
            out = np.take(table.ravel(), points.index)
            out -= radius
            out *= scale
            return out

        def coverage(distance: np.ndarray) -> np.ndarray:
            return np.clip(distance + np.float32(0.5), 0, 1)

        outer = reach(now.rv_epi)
        image = np.repeat(still, len(PROFILE_OFFSETS_MM), 0)
        _over(image, coverage(reach(fat)), contrast.epicardial_fat)
        rim = np.clip(1 - np.abs(outer) * np.float32(width / _INK_MM), 0, 1)
        image *= 1 - np.float32(_INK) * rim
        _over(image, coverage(outer), contrast.myocardium)
        epi = coverage(reach(now.epi))
        rv = coverage(reach(np.maximum(now.rv_endo - rv_trabeculae, now.epi)))
        spongy = coverage(reach(now.rv_endo))
        spongy *= np.float32(1) - epi
        rv *= np.float32(1) - epi
        rv = np.float32(RV_TRABECULAR_SHARE) * rv + np.float32(1 - RV_TRABECULAR_SHARE) * spongy
        _over(image, rv, 1.0)
        _over(image, epi, contrast.myocardium)

        # Above the valve plane, the wall is replaced by the thin atrium and the fat of the groove.
        high = np.flatnonzero(now.height_ed > heart.length_mm - 10)
        endo = reach(now.endo)
        if high.size:
            x, y = radius[high] * points.cosine[high], radius[high] * points.sine[high]
            above = np.clip((now.height_ed[high, None] - self.motion.base_height(x, y)) / 3 + 0.5, 0, 1)
            ring = (epi[high] * above).astype(np.float32)
            thin = np.clip(1.2 + endo[high] * np.float32(width / 1.8), 0, 1)
            lifted = thin * np.float32(contrast.myocardium) + (1 - thin) * np.float32(0.9 * contrast.epicardial_fat)
            image[high] = image[high] * (1 - ring) + lifted * ring
        lv = np.float32(1 - TRABECULAR_SHARE) * coverage(endo)
        lv += np.float32(TRABECULAR_SHARE) * coverage(reach(np.maximum(now.endo - trabeculae, 0.25 * now.endo)))
        _over(image, lv, 1.0)
        blood = np.maximum(lv, rv)
        self._papillaries(now, image, lv)
        np.minimum(blood, np.maximum(lv, rv), out=blood)
        return image, blood

    def acquire(
        self, frames: int, noise: float, blood_level: float, rng: np.random.Generator, truth: bool
    ) -> Acquisition:
        """Scan one cycle.

        Args:
            frames: number of frames T, evenly spaced over the RR interval from the R peak.
            noise: SD of the complex noise relative to blood.
            blood_level: stored pixel value of blood at the heart.
            rng: source of the noise.
            truth: whether to return the exact displacement, too.
        """
        stack, motion = self.stack, self.motion
        slices, rows, columns = stack.box_shape
        shape = (frames, slices, stack.matrix, stack.matrix)
        signal = np.empty(shape, np.float32)
        signal[:] = self.torso.tissue * self.torso.bias
        labels = np.zeros(shape, np.uint8)
        field = np.zeros((frames, 3, slices, rows, columns), np.float16) if truth else None
        x, y = (axis[self._window] for axis in stack.image_mm())
        for frame in range(frames):
            self._time = frame / frames * self._rr
            centre = motion.at(self._time, self.centre_height)
            material = motion.material(centre, self.centre_points)
            points = self.centre_points
            lateral = material[0] - points.radius * points.cosine
            anterior = material[1] - points.radius * points.sine
            shift = stack.to_image(self.heart, lateral, anterior, material[2] - centre.height[:, None])
            labels[(frame, *self._window)] = motion.labels(centre, points, material).reshape(slices, rows, columns)
            if field is not None:
                field[frame] = np.stack(shift).reshape(3, slices, rows, columns)

            still = self._surroundings(shift).reshape(slices, -1)
            image, blood = self._heart(motion.at(self._time, self.sub_height), still)
            weights = PROFILE_WEIGHTS / PROFILE_WEIGHTS.sum()
            image = np.tensordot(image.reshape(slices, len(weights), -1), weights, (1, 0))
            blood = np.tensordot(blood.reshape(slices, len(weights), -1), weights, (1, 0))
            image, blood = (a.reshape(slices, rows, columns) for a in (image, blood))
            phase = 2 * np.pi * frame / frames
            flow: np.ndarray = (_INFLOW * np.sin(phase + self._inflow_phase))[:, None, None].astype(np.float32)
            for wave, start, turns, amplitude in self._waves:
                flow = flow + np.float32(amplitude) * np.sin(
                    np.float32(wave[0]) * x + np.float32(wave[1]) * y + np.float32(start + turns * phase)
                )
            image = gaussian_filter(image * (1 + blood * flow), (0, PSF_PX, PSF_PX))
            signal[(frame, *self._window)] = image * self._bias

        real = rng.standard_normal(shape, dtype=np.float32)
        imaginary = rng.standard_normal(shape, dtype=np.float32)
        for part in (real, imaginary):
            gaussian_filter1d(part, NOISE_CORRELATION_FRAMES, axis=0, mode="wrap", output=part)
            part *= noise / part[:, 0].std()
        real += signal
        magnitude = np.hypot(real, imaginary)
        return Acquisition(np.clip(np.rint(magnitude * blood_level), 0, 4095).astype(np.uint16), labels, field)
