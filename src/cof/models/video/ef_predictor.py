"""Prediction of the ejection fraction from the ECG by a 1-D residual network, trained on the training subjects' own EF.

The number of subjects is small, so the network is trained on mixtures of two subjects (mixup, Zhang et al., ICLR 2018)
to reduce overfitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from cof.config.baselines import EfPredictorSettings
from cof.models.base import Example
from cof.models.ecg_encoder import EcgEncoder
from cof.training.run import Loss

# Enough hearts to estimate mean and SD.
SCALE_SUBJECTS = 256


class EfPredictor(nn.Module):
    """Network from an R-R cycle and its duration to the EF. Before training, it predicts the mean training EF."""

    mean: Tensor
    sd: Tensor

    def __init__(self, settings: EfPredictorSettings) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("sd", torch.ones(()))
        self.ecg = EcgEncoder(settings.ecg_channels, settings.embedding)
        self.rate = nn.Linear(1, settings.embedding)
        last = nn.Linear(settings.embedding, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.SiLU(), last)

    def learn_scale(self, examples: Sequence[Example]) -> None:
        """Set mean and SD of the EF from training subjects.

        Raises:
            ValueError: none of them has an EF.
        """
        known = [ef for ef in (example.ef_pct for example in islice(examples, SCALE_SUBJECTS)) if ef is not None]
        values = np.array(known, float)
        values = values[np.isfinite(values)]
        if not len(values):
            raise ValueError("no training subject has an ejection fraction, which the predictor learns from")
        self.mean.fill_(float(values.mean()))
        self.sd.fill_(float(values.std()) or 1.0)

    def forward(self, beat: Tensor, rr_ms: Tensor) -> Tensor:
        """Predict the EF [N] in % from cycles [N, 12, L] in mV and RR intervals [N] in ms."""
        _, code = self.ecg(beat)
        code = code + self.rate(torch.log(rr_ms[:, None] / 1000.0))
        return self.mean + self.sd * self.head(code)[:, 0].float()


@dataclass(frozen=True)
class EfBatch:
    """N ECGs with the EF to predict.

    Attributes:
        beat: [N, 12, L] mV.
        rr_ms: [N].
        ef_pct: [N]; NaN where it is unknown.
    """

    beat: Tensor
    rr_ms: Tensor
    ef_pct: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the same batch on `device`."""
        return type(self)(*(tensor.to(device) for tensor in vars(self).values()))


@dataclass(frozen=True)
class EfItem:
    """A mixture of two subjects in one training iteration.

    Attributes:
        example: index of the first subject among the examples.
        other: index of the second subject.
        share: share of the first subject in the mixture, from 0 to 1.
        held_out: True for indices into the validation examples.
    """

    example: int
    other: int
    share: float = 1.0
    held_out: bool = False


class EfExamples:
    """Source of training batches for the predictor: random mixtures of two subjects, but no mixtures if held out."""

    def __init__(
        self, train: Sequence[Example], validation: Sequence[Example], settings: EfPredictorSettings, seed: int
    ) -> None:
        self.train, self.validation, self.settings, self.seed = train, validation, settings, seed
        self.held_out: Sequence[EfItem] = [EfItem(index, index, held_out=True) for index in range(len(validation))]

    def draw(self, iteration: int) -> list[EfItem]:
        """Draw the mixtures of an iteration; if there are enough subjects, each is first in at most one mixture."""
        settings, rng = self.settings, np.random.default_rng([self.seed, iteration])
        count = settings.batch
        chosen = rng.choice(len(self.train), count, replace=count > len(self.train))
        shares = rng.beta(settings.mixup, settings.mixup, count) if settings.mixup else np.ones(count)
        pairs = zip(chosen, rng.permutation(chosen), shares)
        return [EfItem(int(one), int(other), float(share)) for one, other, share in pairs]

    def load(self, items: Sequence[EfItem]) -> EfBatch:
        """Read the subjects and mix them."""
        batches = [self._mixture(item) for item in items]
        return EfBatch(*(torch.stack(column) for column in zip(*batches)))

    def _mixture(self, item: EfItem) -> tuple[Tensor, Tensor, Tensor]:
        examples = self.validation if item.held_out else self.train

        def told(index: int) -> tuple[Tensor, Tensor, Tensor]:
            example = examples[index]
            ef_pct = np.nan if example.ef_pct is None else example.ef_pct
            return torch.from_numpy(np.asarray(example.beat, np.float32)), _scalar(example.rr_ms), _scalar(ef_pct)

        one, other = told(item.example), told(item.other)
        beat, rr_ms, ef_pct = (torch.lerp(b, a, item.share) for a, b in zip(one, other))
        return beat, rr_ms, ef_pct


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float32)


def ef_loss(network: EfPredictor, batch: EfBatch) -> Loss:
    """Compute the mean squared error in units of the SD of the training EFs; subjects without an EF are left out."""
    known = batch.ef_pct.isfinite()
    error = (network(batch.beat, batch.rr_ms) - batch.ef_pct.nan_to_num()) / network.sd
    count = known.sum()
    return Loss((error.square() * known).sum() / count.clamp(min=1), count)
