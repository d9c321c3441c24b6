"""The noise of generative families: whoever draws it, the same seed gives the same bytes on every device."""

import numpy as np
import torch
from torch import Tensor

from cof.models.base import Subject
from cof.models.exchange import rank


def subject_rng(seed: int, subject: Subject) -> np.random.Generator:
    """The generator of one subject's generation: seed and name decide it, not the order of the subjects."""
    return np.random.default_rng(int(rank(seed, subject.subject), 16))


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """float32 noise on the CPU."""
    return torch.from_numpy(rng.standard_normal(shape, np.float32))
