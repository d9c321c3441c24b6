"""Settings of Chain of Flow: the velocity field, its training and its integration."""

from collections.abc import Set
from typing import Literal, Self

from pydantic import Field, model_validator

from cof.config.base import Count, Positive, Settings
from cof.config.family import FamilySettings, Motion
from cof.config.training import AffineSettings, TrainingSettings


class VelocitySettings(Settings):
    """The velocity field v_theta of the paper's eq (8) and its encoders."""

    channels: tuple[Count, ...] = Field(
        (16, 32, 64),
        description="channels of each resolution level; each level but the first halves rows and columns",
    )
    blocks: Count = Field(1, description="residual blocks per level of the encoder and of the decoder")
    embedding: Count = Field(128, description="width of the embeddings of phase and ECG")
    ecg_channels: tuple[Count, ...] = Field((32, 64, 128), description="channels of each level of the ECG encoder")
    time_harmonics: Count = Field(16, description="harmonics of the cycle that encode the phase")
    modes: int = Field(
        32,
        ge=0,
        description="number of spatial modes whose sum is the velocity, each with its own course over the cycle; the "
        "network then runs once per heart. With 0 the phase scales every residual block, as in the paper, and the "
        "network runs once per phase",
    )
    anatomy: Literal[True, False, "zeros"] = Field(
        True,
        description="use reference-anatomy features (REA); zeros: feed zeros in their place, the paper's ablation w/o "
        "REA; false: leave out their encoder and their fusion too",
    )
    ecg: Literal["temporal", "spatial", "features", "rate", "none"] = Field(
        "temporal",
        description="how the ECG enters. temporal: its cycle, with the embedding of the phase; spatial: its cycle, "
        "with the feature maps of the anatomy; features: twelve scalar features; rate: the RR interval alone; none: a "
        "learned constant instead (anchor only)",
    )
    anchor: Literal["ed", "any"] = Field(
        "ed",
        description="ed: the anchor is the end-diastolic frame; any: it may be any frame of the cycle, drawn at random "
        "in training, and the network gets its phase",
    )
    ecg_local: bool = Field(
        True,
        description="add the token of the ECG at the requested phase to the embedding of the whole cycle",
    )
    rr_scalar: bool = Field(
        True, description="add the RR interval to the embedding of the ECG; false is the strict reading of the paper"
    )
    ecg_features: bool = Field(
        False,
        description="add the twelve scalar features to the embedding of the cycle, which a small cohort teaches slowly",
    )
    attention: bool = Field(False, description="use self-attention at the coarsest level")
    ecg_dropout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the training hearts, drawn again in every iteration, whose ECG is withheld; above 0 the "
        "model learns to work without an ECG, generates without one, and may be trained on hearts without one",
    )

    @model_validator(mode="after")
    def _withheld(self) -> Self:
        if self.ecg_dropout and self.ecg not in ("temporal", "spatial"):
            raise ValueError(
                f"ecg_dropout withholds the cycle of the ECG, which a field with ecg '{self.ecg}' does not use; set "
                "ecg to temporal or spatial, or ecg_dropout to 0"
            )
        return self


class OdeSettings(Settings):
    """Integration of the velocity field over the cycle."""

    method: Literal["simpson", "fourier", "rk4", "midpoint", "euler", "dopri5"] = Field(
        "simpson",
        description="simpson, fourier: quadrature over the cycle; the others: an ODE solver of torchdiffeq",
    )
    closure: Literal["none", "project"] = Field(
        "none",
        description="project: subtract the residual displacement at the end of the cycle, as a linear function of the "
        "phase; none: leave it",
    )
    tolerance: Positive = Field(1e-4, description="absolute (mm) and relative tolerance of dopri5")
    harmonics: Count = Field(
        12, description="harmonics of the cycle that fourier keeps; n harmonics take 2 n + 1 evaluations"
    )
    phases_at_once: Count = Field(
        16,
        description="phases that simpson and fourier evaluate in one batch; more are faster and need more memory",
    )


class MotionSettings(TrainingSettings):
    """A field over position and phase. It is conditioned on anchor and ECG and trained on registered motion."""

    registration: str = Field("toppr", description="name of the registration whose motion supervises the field")
    field: VelocitySettings = VelocitySettings()
    phases: Count = Field(4, description="phases drawn per subject and iteration; the encoders run once for all")
    heart_weight: float = Field(4.0, ge=0, description="extra weight of the heart's voxels in the matching loss")
    augmentation: AffineSettings | None = AffineSettings(rotation_deg=10, scale=0.05, translation_mm=6)
    recompute: bool = Field(
        False, description="compute the network's blocks again in the backward pass; needs less memory and more time"
    )
    shuffled_ecg: bool = Field(
        False, description="train every heart with the ECG of another training participant, in a fixed exchange"
    )
    seed: int | None = Field(None, ge=0, description="seed of this training; null takes the seed of the run")

    @property
    def takes_absent_ecg(self) -> bool:
        """Whether training withholds the ECG of some hearts."""
        return self.field.ecg_dropout > 0

    @model_validator(mode="after")
    def _everybody_has_an_ecg(self) -> Self:
        if self.shuffled_ecg and self.takes_absent_ecg:
            raise ValueError(
                "shuffled_ecg exchanges the ECGs of all subjects, but field.ecg_dropout admits subjects without one; "
                "set only one of them"
            )
        return self


class CofSettings(MotionSettings, FamilySettings):
    """Chain of Flow: a conditional velocity field trained by flow matching on registered motion."""

    implementation = "cof.models.flow.cof:CofFamily"
    learns_from = frozenset({"displacement"})

    family: Literal["cof"] = "cof"
    displacement_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the error of the displacement (the integrated velocity), added to the error of the "
        "velocity; 0 is the paper's eq (9)",
    )
    scaled_axes: bool = Field(
        True,
        description="divide the error along each axis by the root mean square of the velocity along it; false: a "
        "millimetre counts alike along all axes, as in the paper's eq (9)",
    )
    ode: OdeSettings = OdeSettings()

    @property
    def needs(self) -> Set[Motion]:
        """The displacement, and also cine and labels if any frame of the cycle may be the anchor."""
        return self.learns_from | ({"cine", "labels"} if self.field.anchor == "any" else set())

    @property
    def learns_from_pairs(self) -> bool:
        """Whether training also uses pairs: they have no ECG, and a displacement but no velocity."""
        return self.takes_absent_ecg and self.displacement_weight > 0

    @model_validator(mode="after")
    def _integrable(self) -> Self:
        if self.displacement_weight and not self.field.modes:
            raise ValueError(
                "displacement_weight needs a field with modes, whose integral is cheap; set field.modes above 0"
            )
        return self


class ContractedSettings(FamilySettings):
    """A trained model whose motion is scaled to an EF predicted from size and shape of the anchor's ventricles."""

    implementation = "cof.models.contraction:ContractedFamily"
    learns_from = frozenset({"ef"})
    anchors = "ed"
    applies_family = "cof"

    family: Literal["contracted"] = "contracted"
    model: str = Field("cof", description="the model in `models` whose motion is scaled; it is not retrained")

    @property
    def takes_absent_ecg(self) -> bool:
        """True: the regression uses the anchor alone, so it also learns from hearts without an ECG."""
        return True

    @property
    def learns_from_pairs(self) -> bool:
        """True: the EF is known from the volumes at ED and ES."""
        return True
