"""Settings of the baselines: the systems that COF is compared with."""

from typing import Literal

from pydantic import Field, field_validator

from cof.config.base import Count, Positive, Probability, Settings
from cof.config.family import FamilySettings
from cof.config.flow import MotionSettings, VelocitySettings
from cof.config.training import AffineSettings, TrainingSettings


class RegressionSettings(MotionSettings, FamilySettings):
    """Baseline: the network of COF predicts the displacement directly, without integration."""

    implementation = "cof.models.flow.regression:RegressionFamily"
    learns_from = frozenset({"displacement"})

    family: Literal["regression"] = "regression"

    @field_validator("field")
    @classmethod
    def _about_end_diastole(cls, field: VelocitySettings) -> VelocitySettings:
        if field.anchor != "ed":
            raise ValueError("the displacement of this family points to end diastole; set anchor: ed")
        return field


class DenoiserSettings(VelocitySettings):
    """The network of COF as a denoiser. Its input differs from phase to phase, so no modes can be shared."""

    anchor: Literal["ed"] = Field("ed", description="the displacement points to end diastole")
    modes: Literal[0] = Field(0, description="no modes: the phase and the noise level scale every residual block")


class DiffusionSettings(MotionSettings, FamilySettings):
    """Baseline: COF with a diffusion model of the displacement instead of flow matching."""

    implementation = "cof.models.flow.diffusion:DiffusionFamily"
    learns_from = frozenset({"displacement"})

    family: Literal["diffusion"] = "diffusion"
    field: DenoiserSettings = DenoiserSettings()
    steps: int = Field(50, ge=1, le=1000, description="DDIM steps; training uses 1,000 noise levels")
    phases_at_once: Count = Field(
        16, description="phases that are denoised in one batch; more are faster and need more memory"
    )


class SliceVideoSettings(TrainingSettings):
    """A family made for 2-D videos. It processes the short-axis stack slice by slice."""

    video_frames: Count = Field(
        32,
        description="frames to which the cycle is resampled for the network, and back; divisible by the network's "
        "strides",
    )
    augmentation: AffineSettings | None = Field(
        AffineSettings(rotation_deg=10, scale=0.05, translation_mm=6),
        description="augmentation of a slice's video and its anchor",
    )
    seed: int | None = Field(None, ge=0, description="seed of this training; null takes the seed of the run")


class EfPredictorSettings(TrainingSettings):
    """The 1-D residual network that predicts the ejection fraction from the ECG, and its training."""

    iterations: Count = Field(300, description="optimiser steps")
    batch: Count = Field(16, description="subjects per iteration")
    ecg_channels: tuple[Count, ...] = Field((16, 32, 64), description="channels of each level of the ECG encoder")
    embedding: Count = Field(64, description="width of the ECG embedding")
    mixup: float = Field(
        0.4, ge=0, description="both parameters of the beta distribution that mixes two subjects; 0 turns mixup off"
    )


class CascadeStageSettings(TrainingSettings):
    """One stage of the EchoDiffusion cascade and its training."""

    channels: tuple[Count, ...] = Field(
        (16, 32, 64), description="channels of each level; each level halves frames, rows and columns"
    )
    blocks: Count = Field(1, description="residual blocks per level of the encoder; the decoder has one more")
    noise_mean: float = Field(
        0.2, description="mean of ln(sigma / sigma_data) in training; the original's value is -1.2 - ln .25"
    )
    noise_sd: Positive = Field(1.2, description="SD of ln(sigma / sigma_data) in training")
    steps: Count = Field(32, description="steps of DPM-Solver++")
    guidance: float = Field(
        5.0, ge=0, description="scale of classifier-free guidance; 1 is no guidance and takes half the time"
    )


class SuperResolutionSettings(CascadeStageSettings):
    """The second stage. Its input is the output of the first stage."""

    condition_noise: float = Field(
        0.2,
        ge=0,
        description="largest noise that training adds to the output of the first stage, in SDs of the video",
    )


class EchoDiffusionSettings(CascadeStageSettings, SliceVideoSettings, FamilySettings):
    """EchoDiffusion on short-axis slices. The keys of a stage and of a training given here are for the first stage."""

    implementation = "cof.models.video.echodiffusion:EchoDiffusionFamily"
    learns_from = frozenset({"cine", "ef"})

    family: Literal["echodiffusion"] = "echodiffusion"
    predictor: EfPredictorSettings = EfPredictorSettings()
    fine: SuperResolutionSettings = SuperResolutionSettings()
    drop: Probability = Field(0.1, description="share of the examples trained without EF, for guidance")
    slices_at_once: Count = Field(4, description="slices sampled in one batch; more are faster and need more memory")


class VideoCodecSettings(TrainingSettings):
    """The discrete codec of slice videos and its training."""

    channels: tuple[Count, ...] = Field(
        (64, 128, 256),
        description="channels of each level; each level halves frames, rows and columns, and the last has one token "
        "per element",
    )
    blocks: Count = Field(2, description="residual blocks per level of the encoder and of the decoder")
    codes: int = Field(1024, ge=2, description="number of codes in the codebook")
    code_channels: Count = Field(64, description="length of a code")
    commitment: float = Field(
        0.25, ge=0, description="weight of the commitment loss: the distance of the encoder's output from its codes"
    )
    decay: Probability = Field(0.99, description="decay of the moving averages that update the codes")


class MaskedTransformerSettings(Settings):
    """The transformer that predicts masked tokens."""

    width: Count = Field(384, description="channels of a token")
    layers: Count = Field(6, description="transformer blocks")
    heads: Count = Field(8, description="attention heads per block")
    ecg_channels: tuple[Count, ...] = Field((32, 64, 128), description="channels of each level of the ECG encoder")


class EchoPulseSettings(SliceVideoSettings, FamilySettings):
    """ECHOPulse on short-axis slices: masked token modelling. The training keys given here are for the transformer."""

    implementation = "cof.models.video.echopulse:EchoPulseFamily"
    learns_from = frozenset({"cine"})

    family: Literal["echopulse"] = "echopulse"
    video_frames: Count = Field(48, description="frames to which the cycle is resampled for the network, and back")
    codec: VideoCodecSettings = VideoCodecSettings()
    transformer: MaskedTransformerSettings = MaskedTransformerSettings()
    drop: Probability = Field(0.1, description="share of the examples trained without ECG, for guidance")
    steps: Count = Field(18, description="decoding steps, from all tokens masked to none masked")
    guidance: float = Field(3.0, ge=0, description="scale of classifier-free guidance; 1 is no guidance")
    temperature: float = Field(
        0.9, ge=0, description="sampling temperature of the first step; it falls to zero over the steps"
    )


class FlowAutoencoderSettings(TrainingSettings):
    """The autoencoder of flow and visibility, and its training."""

    channels: tuple[Count, Count, Count] = Field(
        (32, 64, 128), description="channels of the features at full, half and quarter in-plane resolution"
    )
    blocks: Count = Field(6, description="residual blocks of the generator at quarter resolution")
    frames: Count = Field(8, description="random frames per slice that one iteration compares with the anchor")


class FlowDiffusionSettings(Settings):
    """The diffusion model over flow and visibility."""

    channels: tuple[Count, ...] = Field(
        (64, 128, 256),
        description="channels of each level; each level but the first halves time, rows and columns; the last has "
        "attention",
    )
    blocks: Count = Field(2, description="residual blocks per level")
    embedding: Count = Field(256, description="width of the ECG's tokens")
    ecg_channels: tuple[Count, ...] = Field((32, 64, 128), description="channels of each level of the ECG encoder")


class LfdmSettings(SliceVideoSettings, FamilySettings):
    """LFDM on short-axis slices: latent flow diffusion. The training keys given here are for the diffusion model."""

    implementation = "cof.models.video.lfdm:LfdmFamily"
    learns_from = frozenset({"cine"})

    family: Literal["lfdm"] = "lfdm"
    video_frames: Count = Field(48, description="frames to which the cycle is resampled for the network, and back")
    autoencoder: FlowAutoencoderSettings = FlowAutoencoderSettings()
    diffusion: FlowDiffusionSettings = FlowDiffusionSettings()
    drop: Probability = Field(0.1, description="share of the examples trained without ECG, for guidance")
    steps: int = Field(50, ge=1, le=1000, description="DDIM steps, from noise to motion")
    guidance: float = Field(1.0, ge=0, description="scale of classifier-free guidance; 1 is no guidance")
