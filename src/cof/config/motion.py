"""The registration, TOPPR, and the displacement paths that it makes."""

from typing import Literal

from pydantic import Field, field_validator

from cof.config.base import Count, Positive, Settings
from cof.config.training import AffineSettings, TrainingSettings, TrialSettings


class RefinementSettings(Settings):
    """Instance-specific refinement: Adam on one pair's own field, from the network's on."""

    steps: int = Field(0, ge=0, description="gradient steps per pair; 0 for none")
    step_mm: Positive = Field(0.5, description="length of a step of each component, falling to zero")
    lambda_rec: float = Field(1.0, ge=0, description="weight of the image similarity")
    lambda_labels: float = Field(
        0.0, ge=0, description="weight of the Dice loss between the labeller's labels of both frames; 0 needs no labels"
    )
    lambda_smooth: float = Field(0.03, ge=0, description="weight of the diffusion energy beside them")
    control_mm: Positive | None = Field(
        None,
        description="in-plane distance of the points between which the correction is interpolated, about: far ones "
        "follow how far a heart contracts and no noise; null corrects every voxel by itself",
    )


class PathSettings(Settings):
    """How a trained registration makes the displacement path of a cycle; a change does not train it again."""

    refinement: RefinementSettings = RefinementSettings()
    harmonics: Count | None = Field(
        None, description="temporal low-pass: the path keeps so many harmonics of the cycle; null keeps all"
    )

    @property
    def needs_labels(self) -> bool:
        """Whether the refinement compares labels."""
        return bool(self.refinement.steps and self.refinement.lambda_labels)


class RegistrationSettings(TrainingSettings):
    """One variant of TOPPR, the topology-preserving registration."""

    channels: tuple[Count, ...] = Field(
        (16, 32, 32, 32), description="of each resolution level; all but the first halve rows and columns"
    )
    lambda_rec: float = Field(1.0, ge=0, description="weight of the image similarity")
    lambda_seg: float = Field(1.0, ge=0, description="weight of the segmentation loss by the teacher")
    lambda_labels: float = Field(
        0.0, ge=0, description="weight of the Dice loss of the source's labels, warped, against the target's"
    )
    lambda_smooth: float = Field(0.0, ge=0, description="weight of the diffusion energy of the field")
    parameterisation: Literal["velocity", "displacement"] = Field(
        "velocity", description="a stationary velocity field (diffeomorphic), or the displacement itself"
    )
    max_field: Literal["tanh", "hinge", "none"] = Field(
        "tanh", description="bound of every component: hard (tanh), a penalty (hinge), or none"
    )
    max_field_mm: Positive = Field(30.0, description="bound of each component of the field")
    similarity: Literal["ncc", "mse"] = Field(
        "ncc", description="of the images: squared local correlation, or the mean squared difference"
    )
    ncc_window: tuple[Count, Count, Count] = Field((3, 9, 9), description="odd voxels z, y, x of the local correlation")
    seg_slices: Count | Literal["all"] = Field(4, description="random native slices per pair in the teacher's loss")
    augmentation: AffineSettings | None = AffineSettings()
    pairing: Literal["direct", "composed"] = Field(
        "direct", description="register every frame to the anchor, or each to the one before and compose"
    )
    path: PathSettings = PathSettings()

    @field_validator("trials")
    @classmethod
    def _no_trials(cls, trials: TrialSettings | None) -> None:
        if trials:
            raise ValueError("a registration has no validation loss to choose by")

    def trained(self) -> "RegistrationSettings":
        """What of this variant decides its training."""
        return self.model_copy(update={"path": PathSettings()})
