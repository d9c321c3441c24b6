"""Phantoms with known motion: a textured ring that contracts, in a native stack and on its canonical grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from cof.cine.grid import Placement
from cof.labels.teacher import Stack
from cof.motion.pairs import TrainingSubject
from cof.motion.resolution import IN_PLANE

CANONICAL_SHAPE = (6, 48, 48)
CANONICAL_SPACING = (10.0, 3.6, 3.6)
NATIVE_SHAPE = (8, 100, 96)
NATIVE_SPACING = (10.0, 1.8, 1.8)
CLASS_INTENSITY = (0.1, 1.0, 0.4, 0.7)


@dataclass(frozen=True)
class Ring:
    """A subject whose anatomy at every phase is that at phase 0, seen through a known pull-back displacement."""

    subject: TrainingSubject
    displacement: Tensor  # [T, 3, Z, Y/2, X/2] mm on the motion grid


def _positions(shape, spacing, offset=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Positions [3, z, y, x] in mm from the centre of the canonical grid; index i lies at canonical index (i-o)/s."""
    axes = [
        ((np.arange(n) - o) / s - (c - 1) / 2) * h
        for n, o, s, c, h in zip(shape, offset, scale, CANONICAL_SHAPE, CANONICAL_SPACING)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _contraction(at: np.ndarray, phase: float, amplitude: float) -> np.ndarray:
    """Pull-back displacement in mm at positions [3, ...] of an incompressible ring that contracts by a share."""
    inner, outer = 25.0, 34.0
    now = inner * (1 - amplitude * np.sin(np.pi * phase) ** 2)
    radius = np.hypot(at[1], at[2]) + 1e-6
    source = np.where(radius < now, radius * inner / now, np.sqrt(np.maximum(radius**2 - now**2 + inner**2, 0)))
    fade = np.exp(-((np.maximum(source - outer, 0) / 18.0) ** 2))
    along_z = np.cos(np.pi * at[0] / 80)
    radial = (source - radius) * fade * along_z / radius
    return np.stack([np.zeros_like(radius), radial * at[1], radial * at[2]])


def _anatomy(at: np.ndarray, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and labels at positions [3, ...]."""
    radius = np.hypot(at[1], at[2])
    side = np.hypot(at[1], at[2] + 48)
    labels = np.zeros(radius.shape, np.uint8)
    labels[side < 20] = 3
    labels[radius < 34] = 2
    labels[radius < 25] = 1
    waves = sum(0.04 * np.sin(k[0] * at[0] + k[1] * at[1] + k[2] * at[2] + k[3]) for k in texture)
    return np.array(CLASS_INTENSITY)[labels] + waves, labels


def make_ring(seed: int, frames: int = 8) -> Ring:
    rng = np.random.default_rng(seed)
    amplitude = rng.uniform(0.25, 0.4)
    texture = np.concatenate([rng.normal(0, (0.03, 0.2, 0.2), (6, 3)), rng.uniform(0, 6, (6, 1))], axis=1)
    offset, scale = (1.0, 1.5, 0.25), tuple(c / n for c, n in zip(CANONICAL_SPACING, NATIVE_SPACING))
    placement = Placement(
        offset, scale, CANONICAL_SHAPE, CANONICAL_SPACING, NATIVE_SHAPE, NATIVE_SPACING, (0.0, 1.0), (True,) * 6
    )
    motion_shape = (CANONICAL_SHAPE[0], *(n // IN_PLANE for n in CANONICAL_SHAPE[1:]))
    canonical = _positions(CANONICAL_SHAPE, CANONICAL_SPACING)
    native = _positions(NATIVE_SHAPE, NATIVE_SPACING, offset, scale)
    half = _positions(motion_shape, CANONICAL_SPACING, (0, -0.25, -0.25), (1, 0.5, 0.5))
    grid, stack, labels, motion = [], [], [], []
    for phase in np.arange(frames) / frames:
        grid.append(_anatomy(canonical + _contraction(canonical, phase, amplitude), texture)[0])
        image, label = _anatomy(native + _contraction(native, phase, amplitude), texture)
        stack.append(1000 * image)
        labels.append(label)
        motion.append(_contraction(half, phase, amplitude))
    subject = TrainingSubject(
        f"ring-{seed}",
        (np.clip(grid, 0, 1) * 10_000).astype(np.int16),
        1e-4,
        placement,
        np.array(stack).astype(np.int16),
        np.array(labels),
    )
    return Ring(subject, torch.from_numpy(np.array(motion)).float())


class RingSegmenter:
    """Class probabilities of a ring from its known class intensities: differentiable, and nearly exact."""

    def see(self, stacks: Sequence[Stack]) -> list[Tensor]:
        centres = torch.tensor(CLASS_INTENSITY)[:, None, None, None]
        return [(-((stack.volume[None] / 1000 - centres) ** 2) / 0.01).softmax(0) for stack in stacks]


@pytest.fixture(scope="session")
def ring() -> Callable[[int], Ring]:
    """Rings by seed, each made once."""
    made: dict[int, Ring] = {}

    def get(seed: int) -> Ring:
        return made.setdefault(seed, made.get(seed) or make_ring(seed))

    return get


@pytest.fixture(scope="session")
def segmenter() -> RingSegmenter:
    return RingSegmenter()
