"""Noise of generative families: it is drawn on the CPU, so the same seed gives the same bytes for every device."""

import numpy as np
import torch
from torch import Tensor

from cof.models.base import Subject
from cof.models.exchange import rank


def subject_rng(seed: int, subject: Subject) -> np.random.Generator:
    """Return the random generator for one subject. It depends on seed and name, not on the order of the subjects."""
    return np.random.default_rng(int(rank(seed, subject.subject), 16))


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal noise, float32 on the CPU."""
    return torch.from_numpy(rng.standard_normal(shape, np.float32))
