"""What trainings of every network share."""

from typing import Literal

from pydantic import Field, field_validator

from cof.config.base import Count, Positive, Probability, Settings


class AffineSettings(Settings):
    """Random affine maps, the same for both images of a training pair."""

    rotation_deg: float = Field(15.0, ge=0, description="about the long axis of the stack, up to this")
    scale: float = Field(0.1, ge=0, lt=1, description="in-plane factor, up to this share more or less")
    translation_mm: float = Field(8.0, ge=0, description="in-plane, up to this along y and x")
    mirror: Probability = Field(
        0.0, description="share mirrored along x: a registration gains by it; what knows left from right loses"
    )


class TrialSettings(Settings):
    """Equal effort for every network: short trainings of other learning rates; the lowest validation loss decides."""

    factors: tuple[Positive, ...] = Field(
        (0.5, 1.0, 2.0), min_length=2, description="of `learning_rate`; a trial each, of which the best is used"
    )
    share: Probability = Field(0.25, gt=0, description="iterations of a trial, of those of the training")

    @field_validator("factors")
    @classmethod
    def _different(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(factors)) < len(factors):
            raise ValueError("two trials of the same factor would be the same training")
        return factors


class TrainingSettings(Settings):
    """A training by Adam."""

    iterations: Count = Field(1000, description="optimiser steps")
    batch: Count = Field(4, description="what one iteration sees, on all devices together")
    micro_batch: Count | None = Field(
        None, description="what one device sees at once, to save memory; without one, its whole share of the batch"
    )
    precision: Literal["32", "bf16"] = Field(
        "32", description="of the network's products and convolutions; losses are computed in single precision"
    )
    compile: bool = Field(
        False, description="the network, by TorchInductor, before the first step; needs a C++ compiler, on a GPU Triton"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the moving average of the weights, less at first; 0 for none"
    )
    learning_rate: Positive = Field(1e-3, description="of Adam, at its highest")
    weight_decay: float = Field(1e-5, ge=0, description="L2 penalty of Adam")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="the learning rate falls to zero over the training, or stays; both start with a warm-up"
    )
    warmup: Probability = Field(
        0.05, description="share of the iterations in which the learning rate rises to its full value"
    )
    checkpoint_every: Count = Field(
        50, description="iterations between checkpoints and, of all networks but TOPPR, validations and rows of the log"
    )
    trials: TrialSettings | None = Field(None, description="null: the learning rate is as it is written")
    like: str | None = Field(
        None,
        exclude=True,
        description="another entry of the same group: this one is that one, with the changes named beside `like`",
    )

    @property
    def trial_iterations(self) -> int:
        """Iterations of one trial."""
        return max(1, round(self.iterations * self.trials.share)) if self.trials else 0

    @property
    def all_iterations(self) -> int:
        """Iterations of the training and of its trials together."""
        return self.iterations + self.trial_iterations * (len(self.trials.factors) if self.trials else 0)
