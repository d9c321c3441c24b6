"""Toy hearts with an analytic motion that their ECG decides: T wave to end systole, Q depth to amplitude.

Two of their features state both exactly; the RR interval states nothing.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from cof.cine.grid import Placement
from cof.models.base import Example
from cof.motion.resolution import to_canonical
from cof.motion.warp import warp

SHAPE = (5, 32, 32)
SPACING = (10.0, 4.0, 4.0)
SAMPLES = 128


def smooth_step(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x - np.sin(2 * np.pi * x) / (2 * np.pi)


def contraction(phase: np.ndarray, end_systole: float) -> np.ndarray:
    """0 at phase 0, 1 at end systole, 0 again at phase 1; twice differentiable within the cycle."""
    return smooth_step(phase / end_systole) - smooth_step((phase - end_systole) / (1 - end_systole))


def toy_beat(end_systole: float, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    phase = np.arange(SAMPLES) / SAMPLES

    def wave(centre: float, width: float) -> np.ndarray:
        distance = (phase - centre + 0.5) % 1.0 - 0.5
        return np.exp(-((distance / width) ** 2))

    gains = np.linspace(0.6, 1.2, 12)[:, None]
    q_depth = 0.1 * (8 - amplitude)
    signal = gains * (wave(0, 0.015) + 0.4 * wave(end_systole - 0.05, 0.05) - q_depth * wave(0.97, 0.012))
    return (signal + rng.normal(0, 0.01, signal.shape)).astype(np.float32)


def toy_heart(
    name: str, rng: np.random.Generator, frames: int, end_systole: float, amplitude: float, moved_mm: float
) -> Example:
    placement = Placement(
        (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), SHAPE, SPACING, SHAPE, SPACING, (0.0, 1000.0), (True,) * SHAPE[0]
    )
    centre = rng.uniform(-moved_mm, moved_mm, 2)
    radius = 22 + rng.uniform(-2, 2) * (moved_mm > 0)

    def places(shape: tuple[int, ...], spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, x = (np.arange(size) - (size - 1) / 2 for size in shape[1:])
        dy, dx = np.meshgrid(y * spacing - centre[0], x * spacing - centre[1], indexing="ij")
        return dy, dx, np.hypot(dy, dx)

    dy, dx, distance = places(SHAPE, SPACING[1])
    plane = np.zeros(SHAPE[1:], np.uint8)
    plane[np.hypot(dy, dx + 30) < 16] = 3
    plane[distance < radius + 8] = 2
    plane[distance < radius - 4] = 1
    labels = np.broadcast_to(plane, SHAPE).copy()
    labels[-1] = 0
    anchor = np.array([0.2, 1.0, 0.3, 0.9], np.float32)[labels] + rng.normal(0, 0.02, SHAPE).astype(np.float32)

    dy, dx, distance = places((SHAPE[0], SHAPE[1] // 2, SHAPE[2] // 2), 2 * SPACING[1])
    pull = np.exp(-(((distance - radius) / 14) ** 2)) / np.maximum(distance, 1)
    outward = np.stack([np.zeros_like(pull), dy * pull, dx * pull])[:, None]
    over_time = contraction(np.arange(frames) / frames, end_systole)[:, None, None, None, None]
    displacement = amplitude * over_time * np.broadcast_to(outward, (3, SHAPE[0], *pull.shape))
    cine = np.broadcast_to(anchor, (frames, *SHAPE)).copy()
    return Example(
        name, toy_beat(end_systole, amplitude, rng), 900.0, anchor, labels, placement,
        displacement.astype(np.float16), cine, 40 + 4 * amplitude,
        features=np.r_[900 / 15, np.full(8, np.nan), amplitude, end_systole, 0.3].astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="session")
def toy_hearts() -> Callable[..., list[Example]]:
    """Make `count` hearts; ECG and motion vary unless `end_systole` and `amplitude` are given."""

    def make(
        count: int,
        seed: int = 0,
        frames: int = 12,
        end_systole: float | None = None,
        amplitude: float | None = None,
        moved_mm: float = 6.0,
    ) -> list[Example]:
        hearts = []
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            latent = rng.uniform(0.3, 0.55), rng.uniform(2, 8)
            hearts.append(
                toy_heart(
                    f"sub-{seed}{index:03d}-v2", rng, frames, end_systole or latent[0], amplitude or latent[1], moved_mm
                )
            )
        return hearts

    return make


@pytest.fixture(scope="session")
def beating_hearts(toy_hearts) -> Callable[..., list[Example]]:
    """The same hearts with the cine that their displacement makes of the anchor."""

    def make(count: int, **changes) -> list[Example]:
        hearts = []
        for heart in toy_hearts(count, **changes):
            displacement = to_canonical(torch.from_numpy(heart.displacement.astype(np.float32)))
            cine = warp(torch.from_numpy(heart.anchor)[None, None], displacement, SPACING)[:, 0]
            hearts.append(replace(heart, cine=cine.clamp(0, 1).numpy()))
        return hearts

    return make
