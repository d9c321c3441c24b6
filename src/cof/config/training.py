"""Settings that the trainings of all networks share."""

from typing import Literal

from pydantic import Field, field_validator

from cof.config.base import Count, Positive, Probability, Settings


class AffineSettings(Settings):
    """Random affine augmentation, the same for both images of a training pair."""

    rotation_deg: float = Field(15.0, ge=0, description="largest rotation about the long axis of the stack")
    scale: float = Field(0.1, ge=0, lt=1, description="in-plane scaling by a factor from 1 - this to 1 + this")
    translation_mm: float = Field(8.0, ge=0, description="largest in-plane translation along y and along x")
    mirror: Probability = Field(
        0.0,
        description="share of the examples mirrored along x; good for a registration, bad for a network that must tell "
        "left from right",
    )


class TrialSettings(Settings):
    """Trials: short trainings with different learning rates; the one with the lowest validation loss is used.

    They give every network the same effort of tuning.
    """

    factors: tuple[Positive, ...] = Field(
        (0.5, 1.0, 2.0), min_length=2, description="factors of `learning_rate`, one per trial; the best is used"
    )
    share: Probability = Field(0.25, gt=0, description="iterations of a trial as a share of those of the training")

    @field_validator("factors")
    @classmethod
    def _different(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(factors)) < len(factors):
            raise ValueError("two trials with the same factor are the same training; name each factor once")
        return factors


class TrainingSettings(Settings):
    """A training with the Adam optimiser."""

    iterations: Count = Field(1000, description="optimiser steps")
    batch: Count = Field(4, description="examples per iteration, on all devices together")
    micro_batch: Count | None = Field(
        None,
        description="examples that one device processes at once, to save memory; null is its whole share of the batch",
    )
    precision: Literal["32", "bf16"] = Field(
        "32",
        description="precision of the network's matrix products and convolutions; losses always use single precision",
    )
    compile: bool = Field(
        False,
        description="compile the network with TorchInductor before the first step; needs a C++ compiler, on a GPU "
        "Triton",
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the exponential moving average of the weights, smaller in the first steps; 0 is none",
    )
    learning_rate: Positive = Field(1e-3, description="highest learning rate of Adam")
    weight_decay: float = Field(1e-5, ge=0, description="L2 penalty of Adam")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine",
        description="cosine: the learning rate falls to zero over the training; constant: it stays; both start with a "
        "warm-up",
    )
    warmup: Probability = Field(
        0.05, description="share of the iterations in which the learning rate rises to its full value"
    )
    checkpoint_every: Count = Field(
        50,
        description="iterations between checkpoints and, for all networks but TOPPR, between validations and rows of "
        "the log",
    )
    trials: TrialSettings | None = Field(None, description="null uses `learning_rate` as it is")
    like: str | None = Field(
        None,
        exclude=True,
        description="name of another entry of the same group; this entry is a copy of it with the changes given here",
    )

    @property
    def trial_iterations(self) -> int:
        """Iterations of one trial; 0 without trials."""
        return max(1, round(self.iterations * self.trials.share)) if self.trials else 0

    @property
    def all_iterations(self) -> int:
        """Iterations of the training and of its trials together."""
        return self.iterations + self.trial_iterations * (len(self.trials.factors) if self.trials else 0)
