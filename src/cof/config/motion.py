"""Settings of the registration, TOPPR, and of the displacement paths that it computes."""

from typing import Literal

from pydantic import Field, field_validator

from cof.config.base import Count, Positive, Settings
from cof.config.training import AffineSettings, TrainingSettings, TrialSettings


class RefinementSettings(Settings):
    """Instance-specific refinement: Adam optimises the field of one pair, starting from the network's field."""

    steps: int = Field(0, ge=0, description="gradient steps per pair; 0 is no refinement")
    step_mm: Positive = Field(0.5, description="step size of each component at the start; it falls to zero")
    lambda_rec: float = Field(1.0, ge=0, description="weight of the image similarity")
    lambda_labels: float = Field(
        0.0, ge=0, description="weight of the Dice loss between the labeller's labels of both frames; 0 needs no labels"
    )
    lambda_smooth: float = Field(0.03, ge=0, description="weight of the diffusion energy of the field")
    control_mm: Positive | None = Field(
        None,
        description="approximate in-plane distance of the control points between which the correction is interpolated; "
        "a large distance corrects how far a heart contracts and does not follow noise; null corrects every voxel",
    )


class PathSettings(Settings):
    """How a trained registration computes the displacement path of a cycle. A change does not train it again."""

    refinement: RefinementSettings = RefinementSettings()
    harmonics: Count | None = Field(
        None, description="temporal low-pass: number of harmonics of the cycle that the path keeps; null keeps all"
    )

    @property
    def needs_labels(self) -> bool:
        """Whether the refinement compares labels."""
        return bool(self.refinement.steps and self.refinement.lambda_labels)


class RegistrationSettings(TrainingSettings):
    """One variant of TOPPR, the topology-preserving registration."""

    channels: tuple[Count, ...] = Field(
        (16, 32, 32, 32),
        description="channels of each resolution level; each level but the first halves rows and columns",
    )
    lambda_rec: float = Field(1.0, ge=0, description="weight of the image similarity")
    lambda_seg: float = Field(1.0, ge=0, description="weight of the segmentation loss by the teacher")
    lambda_labels: float = Field(
        0.0, ge=0, description="weight of the Dice loss between the source's warped labels and the target's labels"
    )
    lambda_smooth: float = Field(0.0, ge=0, description="weight of the diffusion energy of the field")
    parameterisation: Literal["velocity", "displacement"] = Field(
        "velocity",
        description="output of the network: a stationary velocity field (diffeomorphic), or the displacement itself",
    )
    max_field: Literal["tanh", "hinge", "none"] = Field(
        "tanh", description="bound of every component of the field: tanh is hard, hinge is a penalty, none is no bound"
    )
    max_field_mm: Positive = Field(30.0, description="bound of each component of the field, mm")
    similarity: Literal["ncc", "mse"] = Field(
        "ncc", description="image similarity: ncc is the squared local correlation, mse the mean squared difference"
    )
    ncc_window: tuple[Count, Count, Count] = Field(
        (3, 9, 9), description="window of the local correlation, voxels z, y, x; odd numbers"
    )
    seg_slices: Count | Literal["all"] = Field(
        4, description="random native slices per pair in the segmentation loss of the teacher"
    )
    augmentation: AffineSettings | None = AffineSettings()
    pairing: Literal["direct", "composed"] = Field(
        "direct",
        description="direct: register every frame to the anchor; composed: register each frame to the one before and "
        "compose the displacements",
    )
    path: PathSettings = PathSettings()

    @field_validator("trials")
    @classmethod
    def _no_trials(cls, trials: TrialSettings | None) -> None:
        if trials:
            raise ValueError("trials need a validation loss, which a registration does not have; leave trials out")

    def trained(self) -> "RegistrationSettings":
        """Return the settings with the default `path`, which has no effect on the training."""
        return self.model_copy(update={"path": PathSettings()})
