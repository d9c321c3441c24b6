"""Synthetic scans whose true geometry is known."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from cof.config.base import Triple
from cof.config.data import PhantomSettings
from cof.phantom import seeds
from cof.phantom.anatomy import build_heart
from cof.phantom.motion import Deformation, build_beat
from cof.phantom.population import sample
from cof.phantom.scanner import Scanner
from cof.phantom.stack import plan_stack
from cof.phantom.torso import build_torso, draw_contrast


@dataclass(frozen=True)
class Phantom:
    """A synthetic scan with the true places of its slices: shift [Z, 2] mm (y, x), height [Z] mm above the apex."""

    frames: np.ndarray
    labels: np.ndarray
    spacing_mm: Triple
    shift_mm: np.ndarray
    height_mm: np.ndarray
    length_mm: float


def scan(name: str, frames: int = 10) -> Phantom:
    """One subject of the synthetic cohort at the demo's scale."""
    settings = PhantomSettings(frames=max(frames, 8), slices=8, matrix=144)
    stream = partial(seeds.stream, 0, name)
    latents = sample(name, 0, settings.arm)
    heart = build_heart(latents, stream("heart"))
    motion = Deformation(heart, build_beat(latents, heart, stream("beat")))
    stack = plan_stack(heart, settings, stream("stack"))
    look = stream("contrast")
    contrast = draw_contrast(look)
    torso = build_torso(latents, heart, stack, contrast, look)
    acquired = Scanner(heart, motion, stack, torso, contrast, look).acquire(frames, 0.03, 300, stream("noise"), False)
    spacing = (10.0, stack.spacing_mm, stack.spacing_mm)
    shift = stack.shift_mm[:, ::-1]
    return Phantom(acquired.frames, acquired.labels, spacing, shift, stack.height_mm, heart.length_mm)
