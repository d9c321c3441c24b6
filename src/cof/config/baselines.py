"""The systems that COF is compared with."""

from typing import Literal

from pydantic import Field, field_validator

from cof.config.base import Count, Positive, Probability, Settings
from cof.config.family import FamilySettings
from cof.config.flow import MotionSettings, VelocitySettings
from cof.config.training import AffineSettings, TrainingSettings


class RegressionSettings(MotionSettings, FamilySettings):
    """Baseline: the field of COF predicts the displacement itself, in one shot; nothing is integrated."""

    implementation = "cof.models.flow.regression:RegressionFamily"
    learns_from = frozenset({"displacement"})

    family: Literal["regression"] = "regression"

    @field_validator("field")
    @classmethod
    def _about_end_diastole(cls, field: VelocitySettings) -> VelocitySettings:
        if field.anchor != "ed":
            raise ValueError("the displacement of this family points to end diastole: anchor: ed")
        return field


class DenoiserSettings(VelocitySettings):
    """The field of COF as a denoiser; its input differs from phase to phase, so that no modes can be shared."""

    anchor: Literal["ed"] = Field("ed", description="the displacement points to end diastole")
    modes: Literal[0] = Field(0, description="the phase and the noise level scale every residual block")


class DiffusionSettings(MotionSettings, FamilySettings):
    """Baseline: COF with a diffusion model of the displacement in the place of the flow."""

    implementation = "cof.models.flow.diffusion:DiffusionFamily"
    learns_from = frozenset({"displacement"})

    family: Literal["diffusion"] = "diffusion"
    field: DenoiserSettings = DenoiserSettings()
    steps: int = Field(50, ge=1, le=1000, description="of DDIM, down from 1,000 noise levels")
    phases_at_once: Count = Field(16, description="phases that are denoised in one batch: memory against speed")


class SliceVideoSettings(TrainingSettings):
    """A family made for 2-D videos, which sees the short-axis stack slice by slice."""

    video_frames: Count = Field(
        32, description="the cycle is resampled to so many frames, a number that the network's strides divide, and back"
    )
    augmentation: AffineSettings | None = Field(
        AffineSettings(rotation_deg=10, scale=0.05, translation_mm=6), description="of a slice's video and its anchor"
    )
    seed: int | None = Field(None, ge=0, description="of this training; leave out for the seed of the run")


class EfPredictorSettings(TrainingSettings):
    """The 1-D residual network that predicts the ejection fraction from the ECG, and its training."""

    iterations: Count = Field(300, description="optimiser steps")
    batch: Count = Field(16, description="subjects that one iteration sees")
    ecg_channels: tuple[Count, ...] = Field((16, 32, 64), description="of each level of the ECG encoder")
    embedding: Count = Field(64, description="width of the ECG's code")
    mixup: float = Field(0.4, ge=0, description="both parameters of the beta law that mixes two subjects; 0 for none")


class CascadeStageSettings(TrainingSettings):
    """One stage of the cascade of EchoDiffusion and its training."""

    channels: tuple[Count, ...] = Field((16, 32, 64), description="each level halves frames, rows and columns")
    blocks: Count = Field(1, description="residual blocks per level on the way down; one more on the way up")
    noise_mean: float = Field(0.2, description="of ln(sigma / sigma_data) in training; the original's -1.2 - ln .25")
    noise_sd: Positive = Field(1.2, description="of the same")
    steps: Count = Field(32, description="of DPM-Solver++")
    guidance: float = Field(5.0, ge=0, description="scale of classifier-free guidance; 1 for none, at half the time")


class SuperResolutionSettings(CascadeStageSettings):
    """The second stage, which sees what the first one makes."""

    condition_noise: float = Field(
        0.2, ge=0, description="largest noise on what the first stage makes, in training, in SDs of the video"
    )


class EchoDiffusionSettings(CascadeStageSettings, SliceVideoSettings, FamilySettings):
    """EchoDiffusion on short-axis slices. Its own keys of a stage and of its training are the first stage's."""

    implementation = "cof.models.video.echodiffusion:EchoDiffusionFamily"
    learns_from = frozenset({"cine", "ef"})

    family: Literal["echodiffusion"] = "echodiffusion"
    predictor: EfPredictorSettings = EfPredictorSettings()
    fine: SuperResolutionSettings = SuperResolutionSettings()
    drop: Probability = Field(0.1, description="share of the examples that lose their EF, so that guidance is trained")
    slices_at_once: Count = Field(4, description="slices that are sampled in one batch: memory against speed")


class VideoCodecSettings(TrainingSettings):
    """The discrete codec of slice videos and its training."""

    channels: tuple[Count, ...] = Field(
        (64, 128, 256), description="each level halves frames, rows and columns; a token covers what the last one has"
    )
    blocks: Count = Field(2, description="residual blocks per level of the encoder, and again of the decoder")
    codes: int = Field(1024, ge=2, description="size of the codebook")
    code_channels: Count = Field(64, description="length of a code")
    commitment: float = Field(0.25, ge=0, description="weight of the encoder's distance to its codes")
    decay: Probability = Field(0.99, description="of the moving averages that the codes are")


class MaskedTransformerSettings(Settings):
    """The transformer that finds masked tokens."""

    width: Count = Field(384, description="channels of a token")
    layers: Count = Field(6, description="transformer blocks")
    heads: Count = Field(8, description="attention heads of a block")
    ecg_channels: tuple[Count, ...] = Field((32, 64, 128), description="of each level of the ECG encoder")


class EchoPulseSettings(SliceVideoSettings, FamilySettings):
    """ECHOPulse on short-axis slices: masked token modelling. Its own training keys are the transformer's."""

    implementation = "cof.models.video.echopulse:EchoPulseFamily"
    learns_from = frozenset({"cine"})

    family: Literal["echopulse"] = "echopulse"
    video_frames: Count = Field(48, description="the cycle is resampled to so many frames, and back")
    codec: VideoCodecSettings = VideoCodecSettings()
    transformer: MaskedTransformerSettings = MaskedTransformerSettings()
    drop: Probability = Field(0.1, description="share of the examples that lose their ECG, so that guidance is trained")
    steps: Count = Field(18, description="decoding steps from all tokens masked to none")
    guidance: float = Field(3.0, ge=0, description="scale of classifier-free guidance; 1 for none")
    temperature: float = Field(0.9, ge=0, description="of the first step's draws; it falls towards zero")


class FlowAutoencoderSettings(TrainingSettings):
    """The autoencoder of flow and visibility, and its training."""

    channels: tuple[Count, Count, Count] = Field(
        (32, 64, 128), description="of the features at the full, half and quarter in-plane resolution"
    )
    blocks: Count = Field(6, description="residual blocks of the generator at the quarter resolution")
    frames: Count = Field(8, description="random frames of a slice that one iteration compares with its anchor")


class FlowDiffusionSettings(Settings):
    """The diffusion model over flow and visibility."""

    channels: tuple[Count, ...] = Field(
        (64, 128, 256), description="each level but the first halves time, rows and columns; the last has attention"
    )
    blocks: Count = Field(2, description="residual blocks per level")
    embedding: Count = Field(256, description="width of the ECG's tokens")
    ecg_channels: tuple[Count, ...] = Field((32, 64, 128), description="of each level of the ECG encoder")


class LfdmSettings(SliceVideoSettings, FamilySettings):
    """LFDM on short-axis slices: latent flow diffusion. Its own training keys are the diffusion model's."""

    implementation = "cof.models.video.lfdm:LfdmFamily"
    learns_from = frozenset({"cine"})

    family: Literal["lfdm"] = "lfdm"
    video_frames: Count = Field(48, description="the cycle is resampled to so many frames, and back")
    autoencoder: FlowAutoencoderSettings = FlowAutoencoderSettings()
    diffusion: FlowDiffusionSettings = FlowDiffusionSettings()
    drop: Probability = Field(0.1, description="share of the examples that lose their ECG, so that guidance is trained")
    steps: int = Field(50, ge=1, le=1000, description="of DDIM, from noise to motion")
    guidance: float = Field(1.0, ge=0, description="scale of classifier-free guidance; 1 for none")
