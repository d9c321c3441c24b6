"""The typed form of `config.yaml`: the only place that knows its keys.

Every stage takes one settings object from here and nothing else of the configuration, so that a changed key re-runs
just the stages that read it.
"""

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from cof.errors import UsageError
from cof.families import from_outside
from cof.metrics.catalogue import METRICS

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Triple = tuple[float, float, float]
Labelling = Literal["nnunet", "propagated"]

# In place of a registration's name: the motion that the simulator knows exactly.
TRUTH = "truth"
# In place of a model's name: the real hearts.
REAL = "real"


class Settings(BaseModel):
    """A group of configuration keys; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OdditySettings(Settings):
    """How often the synthetic scanner misbehaves in the ways real archives do (shares of subjects)."""

    repeated_series: Probability = 0.1
    missing_frame: Probability = 0.1
    mixed_file_order: Probability = 0.3
    misspelt_manifest: Probability = 0.3
    inline_vf_series: Probability = 0.1


class PhantomSettings(Settings):
    """The synthetic cohort: raw files as UK Biobank delivers them, and the truth beside them."""

    first: Count = Field(1, description="number of the first participant; beyond another cohort's, none is shared")
    train: int = Field(24, ge=0)
    validation: int = Field(0, ge=0)
    test: Count = 8
    annotated: Count = Field(12, description="training subjects that come with expert ED and ES annotations")
    arm: Literal["population", "enriched"] = "population"
    frames: int = Field(20, ge=8)
    slices: int = Field(8, ge=5)
    matrix: int = Field(144, ge=64, description="rows and columns of a native slice")
    slice_shift_mm: float = Field(1.5, ge=0)
    oddities: OdditySettings = OdditySettings()


class CohortSettings(Settings):
    """Which raw files form the cohort, and how it is split and batched."""

    sheet: str | None = Field(None, description="subjects.csv; leave out to use the synthetic cohort")
    salt_file: str | None = Field(
        None, description="file with the secret salt of the pseudonyms; without one, names are kept (public data only)"
    )
    batches: int = Field(1, ge=1, le=10_000, description="jobs a stage; about one for every 250 subjects")
    split: dict[Literal["train", "validation", "test"], Probability] = {"train": 0.75, "validation": 0.05, "test": 0.2}

    @property
    def batch_names(self) -> list[str]:
        """b000, b001 and so on; from the thousandth on with four digits."""
        return [f"b{index:03d}" for index in range(self.batches)]


class EcgSettings(Settings):
    """Parsing of ECG files."""

    min_seconds: Positive = Field(8.0, description="shortest strip that is used")
    einthoven_tolerance_lsb: Positive = Field(
        3.0, description="counts by which III, aVR, aVL and aVF may differ from what I and II make them, without a flag"
    )
    max_contradiction_mv: Positive = Field(0.1, description="from this difference on, an ECG is not used")
    flat_mv: Positive = Field(0.02, description="a lead that spans less than this within 2 s is flat")
    max_flat: Probability = Field(0.25, description="share of the strip over which an independent lead may be flat")
    max_clipped: Probability = Field(0.05, description="share of an independent lead that may be clipped")


class BeatSettings(Settings):
    """The representative cardiac cycle."""

    samples: int = Field(512, ge=2)
    highpass_hz: Positive = 0.5
    lowpass_hz: Positive = 40.0
    mains_hz: Positive = Field(50.0, description="removed by a notch where the file says that the device did not")
    clip_mv: Positive = 5.0
    rate_tolerance: Probability = Field(0.1, description="allowed difference of our heart rate from the device's")
    rr_tolerance: Probability = Field(0.1, description="a candidate beat's RR may differ so much from the median RR")
    min_correlation: Probability = Field(0.8, description="below it, with the median beat, a beat is of low quality")


class CineSettings(Settings):
    """Stacking of a short-axis cine on its native grid."""

    min_slices: Count = 5
    min_frames: Count = 8
    max_missing: Probability = Field(
        0.1, description="share of a slice's frames that may be missing and are replaced by the frame before"
    )


class LabelSettings(Settings):
    """nnU-Net: training on annotated ED and ES stacks, and prediction on all frames."""

    epochs: Count = 10
    iterations: Count = Field(40, description="training iterations an epoch")
    batch: Count = 6
    learning_rate: Positive = Field(0.05, description="at the start; nnU-Net's own is 0.01, for long trainings")
    momentum: float = Field(0.9, ge=0, lt=1, description="nnU-Net's own is 0.99, which a short training cannot warm up")
    features: Count = Field(8, description="channels of the first level; each level doubles them")
    levels: int = Field(5, ge=3, description="resolution levels of the network; nnU-Net's plan may have fewer")
    held_out: Probability = Field(0.2, description="share of the annotated participants that only measure the training")
    augmentation: Literal["nnunet", "upright"] = Field(
        "upright",
        description="nnU-Net's own, or the same without mirroring and with turns of at most 30 degrees: a short "
        "training then need not learn every orientation of the heart",
    )
    augmentation_workers: int = Field(
        0, ge=0, description="processes that augment; only 0 (in the training process) gives the same weights again"
    )
    mirroring: bool = Field(False, description="test-time augmentation by mirroring; needs augmentation: nnunet")


class QualityLimits(Settings):
    """Limits of the measures of quality (cof.quality.catalogue explains each); none where null."""

    ecg_quality: float | None = None
    ecg_noisy_leads: float | None = None
    beat_correlation: float | None = None
    irregular: float | None = Field(None, description="0 counts an irregular rhythm against a subject")
    rate_mismatch_bpm: float | None = None
    slice_shift_mm: float | None = None
    base_cut: float | None = None
    apex_cut: float | None = None
    blur: float | None = None
    ghost: float | None = None
    closure: float | None = None
    dropout: float | None = None


class QualityFlags(QualityLimits):
    """Limits beyond which the report flags a subject; correctly labelled, no subject of the demo's cohort is."""

    ecg_quality: float | None = 0.8
    ecg_noisy_leads: float | None = 3
    beat_correlation: float | None = 0.8
    rate_mismatch_bpm: float | None = 40
    slice_shift_mm: float | None = 8
    apex_cut: float | None = 0.7
    blur: float | None = 0.6
    ghost: float | None = 0.1
    closure: float | None = 1.5
    dropout: float | None = 0.3


class QualitySettings(Settings):
    """What is done about quality: flags in the report, and subjects left out of everything that learns or generates."""

    flag: QualityFlags = QualityFlags()
    exclude: QualityLimits = Field(QualityLimits(), description="a subject beyond one of these is left out")


class GridSettings(Settings):
    """The canonical grid. Axis order z, y, x."""

    shape: tuple[Count, Count, Count] = (8, 48, 48)
    spacing_mm: Triple = (10.0, 3.6, 3.6)
    slice_tolerance_mm: float = Field(
        0.5, ge=0, description="native slices whose distance differs by no more from the grid's are kept as they are"
    )
    frames: int = Field(20, ge=4)


class AffineSettings(Settings):
    """Random affine maps, the same for both images of a training pair. No mirroring: left and right differ."""

    rotation_deg: float = Field(15.0, ge=0, description="about the long axis of the stack, up to this")
    scale: float = Field(0.1, ge=0, lt=1, description="in-plane factor, up to this share more or less")
    translation_mm: float = Field(8.0, ge=0, description="in-plane, up to this along y and x")


class TrialSettings(Settings):
    """Equal effort for every network: short trainings of other learning rates; the lowest validation loss decides."""

    factors: tuple[Positive, ...] = Field(
        (0.5, 1.0, 2.0), min_length=2, description="of `learning_rate`; a trial each, of which the best is used"
    )
    share: Probability = Field(0.25, gt=0, description="iterations of a trial, of those of the training")


class TrainingSettings(Settings):
    """A training by Adam."""

    iterations: Count = 1000
    batch: Count = Field(4, description="what one iteration sees, on all devices together")
    micro_batch: Count | None = Field(
        None, description="what one device sees at once, to save memory; without one, its whole share of the batch"
    )
    precision: Literal["32", "bf16"] = Field(
        "32", description="of the network's products and convolutions; losses are computed in single precision"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the moving average of the weights, less at first; 0 for none"
    )
    learning_rate: Positive = 1e-3
    weight_decay: float = Field(1e-5, ge=0)
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="the learning rate falls to zero over the training, or stays; both start with a warm-up"
    )
    warmup: Probability = Field(
        0.05, description="share of the iterations in which the learning rate rises to its full value"
    )
    checkpoint_every: Count = Field(50, description="iterations between checkpoints")
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


class RefinementSettings(Settings):
    """Instance-specific refinement: Adam on one pair's own field, from the network's on. Needs no labels."""

    steps: int = Field(0, ge=0, description="gradient steps a pair; 0 for none")
    step_mm: Positive = Field(0.5, description="length of a step of each component, falling to zero")
    lambda_smooth: float = Field(0.03, ge=0, description="weight of the diffusion energy beside the image term")
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


class RegistrationSettings(TrainingSettings):
    """One variant of TOPPR, the topology-preserving registration."""

    channels: tuple[Count, ...] = (16, 32, 32, 32)
    lambda_rec: float = Field(1.0, ge=0)
    lambda_seg: float = Field(1.0, ge=0)
    lambda_smooth: float = Field(0.0, ge=0)
    parameterisation: Literal["velocity", "displacement"] = Field(
        "velocity", description="a stationary velocity field (diffeomorphic), or the displacement itself"
    )
    max_field: Literal["tanh", "hinge", "none"] = Field(
        "tanh", description="bound of every component: hard (tanh), a penalty (hinge), or none"
    )
    max_field_mm: Positive = 30.0
    similarity: Literal["ncc", "mse"] = Field(
        "ncc", description="of the images: squared local correlation, or the mean squared difference"
    )
    ncc_window: tuple[Count, Count, Count] = Field((3, 9, 9), description="odd voxels z, y, x of the local correlation")
    seg_slices: Count | Literal["all"] = Field(4, description="random native slices a pair sees in the teacher's loss")
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


class VelocitySettings(Settings):
    """The velocity field v_theta of the paper's eq (8) and its encoders."""

    channels: tuple[Count, ...] = (16, 32, 64)
    blocks: Count = Field(1, description="residual blocks a level on the way down, and again on the way up")
    embedding: Count = 128
    ecg_channels: tuple[Count, ...] = (32, 64, 128)
    time_harmonics: Count = 16
    modes: int = Field(
        32,
        ge=0,
        description="the velocity is a sum of so many spatial modes of the anatomy, each with its own course over the "
        "cycle; the network then runs once a heart. 0 lets the phase scale every residual block, as in the paper, and "
        "the network run once a phase",
    )
    anatomy: bool = Field(True, description="reference-anatomy features; off is the ablation w/o REA")
    ecg: Literal["temporal", "spatial", "features", "rate", "none"] = Field(
        "temporal",
        description="how the ECG enters: its cycle through the embedding of the phase or through the anatomy's maps; "
        "twelve scalar features; the RR interval alone; or none, a learned constant in its place (anchor only)",
    )
    anchor: Literal["ed", "any"] = Field(
        "ed",
        description="which frame the anchor may be: end diastole, or any of the cycle, drawn in training; the network "
        "is then told its phase",
    )
    ecg_local: bool = True
    rr_scalar: bool = True
    ecg_features: bool = Field(
        False, description="the twelve scalar features join the code of the cycle, which a small cohort teaches slowly"
    )
    attention: bool = False


class OdeSettings(Settings):
    """Integration of the velocity field over the cycle."""

    method: Literal["simpson", "fourier", "rk4", "midpoint", "euler", "dopri5"] = "simpson"
    closure: Literal["none", "project"] = "none"
    tolerance: Positive = Field(1e-4, description="absolute (mm) and relative tolerance of dopri5")
    harmonics: Count = Field(12, description="of the cycle that fourier keeps, at two evaluations each and one more")
    phases_at_once: Count = Field(
        16, description="phases that Simpson and fourier evaluate in one batch: memory against speed"
    )


class MotionSettings(TrainingSettings):
    """A field over position and phase, conditioned on anchor and ECG and trained on registered motion."""

    registration: str = Field("toppr", description="the registration variant whose motion supervises the field")
    field: VelocitySettings = VelocitySettings()
    phases: Count = Field(4, description="phases drawn per subject and step against one encoding")
    heart_weight: float = Field(4.0, ge=0, description="extra weight of heart voxels in the matching loss")
    augmentation: AffineSettings | None = AffineSettings(rotation_deg=10, scale=0.05, translation_mm=6)
    recompute: bool = Field(
        False, description="compute the network's blocks again in the backward pass: less memory for more time"
    )
    shuffled_ecg: bool = Field(
        False, description="train every heart with the ECG of another training participant, a fixed exchange"
    )
    seed: int | None = Field(None, ge=0, description="of this training; leave out for the seed of the run")
    checkpoint_every: Count = Field(50, description="iterations between checkpoints, validations and rows of the log")


class CofSettings(MotionSettings):
    """Chain of Flow: a conditional velocity field trained by flow matching on registered motion."""

    family: Literal["cof"] = "cof"
    displacement_weight: float = Field(
        0.0,
        ge=0,
        description="of the error of the integrated velocity, the displacement, beside that of the velocity; 0 is the "
        "paper's eq (9)",
    )
    ode: OdeSettings = OdeSettings()

    @model_validator(mode="after")
    def _integrable(self) -> Self:
        if self.displacement_weight and not self.field.modes:
            raise ValueError("displacement_weight needs a field of modes, whose integral costs next to nothing")
        return self


class RegressionSettings(MotionSettings):
    """Rival: the field of COF predicts the displacement itself, in one shot; nothing is integrated."""

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


class DiffusionSettings(MotionSettings):
    """Rival: COF with a diffusion model of the displacement in the place of the flow."""

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

    iterations: Count = 300
    batch: Count = 16
    ecg_channels: tuple[Count, ...] = (16, 32, 64)
    embedding: Count = 64
    mixup: float = Field(0.4, ge=0, description="both parameters of the beta law that mixes two subjects; 0 for none")


class CascadeStageSettings(TrainingSettings):
    """One stage of the cascade of EchoDiffusion and its training."""

    channels: tuple[Count, ...] = Field((16, 32, 64), description="each level halves frames, rows and columns")
    blocks: Count = Field(1, description="residual blocks a level on the way down; one more on the way up")
    noise_mean: float = Field(0.2, description="of ln(sigma / sigma_data) in training; the original's -1.2 - ln .25")
    noise_sd: Positive = Field(1.2, description="of the same")
    steps: Count = Field(32, description="of DPM-Solver++")
    guidance: float = Field(5.0, ge=0, description="scale of classifier-free guidance; 1 for none, at half the time")


class SuperResolutionSettings(CascadeStageSettings):
    """The second stage, which sees what the first one makes."""

    condition_noise: float = Field(
        0.2, ge=0, description="largest noise on what the first stage makes, in training, in SDs of the video"
    )


class EchoDiffusionSettings(CascadeStageSettings, SliceVideoSettings):
    """EchoDiffusion on short-axis slices. Its own keys of a stage and of its training are the first stage's."""

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
    blocks: Count = Field(2, description="residual blocks a level of the encoder, and again of the decoder")
    codes: int = Field(1024, ge=2, description="size of the codebook")
    code_channels: Count = 64
    commitment: float = Field(0.25, ge=0, description="weight of the encoder's distance to its codes")
    decay: Probability = Field(0.99, description="of the moving averages that the codes are")
    checkpoint_every: Count = Field(50, description="iterations between checkpoints, validations and rows of the log")


class MaskedTransformerSettings(Settings):
    """The transformer that finds masked tokens."""

    width: Count = 384
    layers: Count = 6
    heads: Count = 8
    ecg_channels: tuple[Count, ...] = (32, 64, 128)


class EchoPulseSettings(SliceVideoSettings):
    """ECHOPulse on short-axis slices: masked token modelling. Its own training keys are the transformer's."""

    family: Literal["echopulse"] = "echopulse"
    video_frames: Count = Field(48, description="the cycle is resampled to so many frames, and back")
    codec: VideoCodecSettings = VideoCodecSettings()
    transformer: MaskedTransformerSettings = MaskedTransformerSettings()
    drop: Probability = Field(0.1, description="share of the examples that lose their ECG, so that guidance is trained")
    steps: Count = Field(18, description="decoding steps from all tokens masked to none")
    guidance: float = Field(3.0, ge=0, description="scale of classifier-free guidance; 1 for none")
    temperature: float = Field(0.9, ge=0, description="of the first step's draws; it falls towards zero")
    checkpoint_every: Count = Field(50, description="iterations between checkpoints, validations and rows of the log")


class FlowAutoencoderSettings(TrainingSettings):
    """The autoencoder of flow and visibility, and its training."""

    channels: tuple[Count, Count, Count] = Field(
        (32, 64, 128), description="of the features at the full, half and quarter in-plane resolution"
    )
    blocks: Count = Field(6, description="residual blocks of the generator at the quarter resolution")
    frames: Count = Field(8, description="random frames of a slice that one iteration compares with its anchor")
    checkpoint_every: Count = Field(50, description="iterations between checkpoints, validations and rows of the log")


class FlowDiffusionSettings(Settings):
    """The diffusion model over flow and visibility."""

    channels: tuple[Count, ...] = Field(
        (64, 128, 256), description="each level but the first halves time, rows and columns; the last has attention"
    )
    blocks: Count = Field(2, description="residual blocks a level")
    embedding: Count = Field(256, description="width of the ECG's tokens")
    ecg_channels: tuple[Count, ...] = (32, 64, 128)


class LfdmSettings(SliceVideoSettings):
    """LFDM on short-axis slices: latent flow diffusion. Its own training keys are the diffusion model's."""

    family: Literal["lfdm"] = "lfdm"
    video_frames: Count = Field(48, description="the cycle is resampled to so many frames, and back")
    autoencoder: FlowAutoencoderSettings = FlowAutoencoderSettings()
    diffusion: FlowDiffusionSettings = FlowDiffusionSettings()
    drop: Probability = Field(0.1, description="share of the examples that lose their ECG, so that guidance is trained")
    steps: int = Field(50, ge=1, le=1000, description="of DDIM, from noise to motion")
    guidance: float = Field(1.0, ge=0, description="scale of classifier-free guidance; 1 for none")
    checkpoint_every: Count = Field(50, description="iterations between checkpoints, validations and rows of the log")


class StaticSettings(Settings):
    """Control: the anchor, unmoved."""

    family: Literal["static"] = "static"


class RandomSettings(Settings):
    """The paper's Random Sample: the real cine of a random training subject."""

    family: Literal["random"] = "random"
    donors: Count = Field(64, description="training cines that the model keeps, of which each subject gets one")


class MeanMotionSettings(Settings):
    """Control: the mean velocity of the training hearts after a heart-aligned affine."""

    family: Literal["mean_motion"] = "mean_motion"
    registration: str = "toppr"


class ScaledMotionSettings(Settings):
    """Control: the mean motion, scaled so that the anchor's LV reaches an EF that a ridge regression predicts."""

    family: Literal["scaled_motion"] = "scaled_motion"
    registration: str = "toppr"
    predictors: Literal["ecg", "edv", "none"] = Field(
        "ecg",
        description="of the EF: twelve features of the ECG; the anchor's EDV, for an EDV-only predictor of ESV; or "
        "none, the mean EF, for a null of stroke volume and cardiac output",
    )


class ShuffledSettings(Settings):
    """Control: a trained model that is given the ECG of another held-out participant."""

    family: Literal["shuffled"] = "shuffled"
    model: str = Field("cof", description="the model in `models` that is applied; it is not retrained")
    within: Literal["none", "sex_and_rate"] = Field(
        "none", description="exchange ECGs freely, or within strata of sex and decile of the heart rate"
    )
    permutation: int = Field(0, ge=0, description="number of the exchange; with the seed of the run it decides it")


class AnchoredSettings(Settings):
    """A trained model that is given another frame of the cycle as the anchor."""

    family: Literal["anchored"] = "anchored"
    model: str = Field("cof", description="the model in `models` that is applied; it is not retrained")
    anchor_phase: float = Field(0.0, ge=0, lt=1, description="phase of the frame that is the anchor; 0 is ED")


class TrueEfSettings(Settings):
    """An oracle: a trained EchoDiffusion that is told the EF of the real cine, not one predicted from the ECG."""

    family: Literal["true_ef"] = "true_ef"
    model: str = Field("echodiffusion", description="the model in `models` that is applied; it is not retrained")


class EnsembleSettings(Settings):
    """Trainings that differ in their seed, as one model: their mean motion, and how far they are apart."""

    family: Literal["ensemble"] = "ensemble"
    members: Annotated[tuple[str, ...], Field(min_length=2)] = Field(
        description="models in `models` of the family cof, alike but for their `seed`"
    )


class OracleSettings(Settings):
    """The ceiling: the displacement that the registration finds on the subject's own real cine."""

    family: Literal["oracle"] = "oracle"
    registration: str = Field(
        "toppr", description="a registration variant, or truth: the exact displacement of a synthetic cohort"
    )


def _of_any_package(raw: Any, of_this_package: ValidatorFunctionWrapHandler) -> Any:
    """Settings of a model of any family, those that other packages register among them."""
    name = raw.get("family") if isinstance(raw, dict) else getattr(raw, "family", None)
    kind = _settings_of(name) if isinstance(name, str) else None
    if kind is None or kind in _FAMILIES:
        return of_this_package(raw)
    if isinstance(raw, kind):
        return raw
    try:
        return kind.model_validate(raw)
    except ValidationError as error:  # located as the settings of this package are: below the name of the family
        lines: list[Any] = [dict(line) | {"loc": (name, *line["loc"])} for line in error.errors()]
        raise ValidationError.from_exception_data(error.title, lines) from None


ModelSettings = Annotated[
    CofSettings
    | RegressionSettings
    | DiffusionSettings
    | EchoDiffusionSettings
    | EchoPulseSettings
    | LfdmSettings
    | StaticSettings
    | RandomSettings
    | MeanMotionSettings
    | ScaledMotionSettings
    | ShuffledSettings
    | AnchoredSettings
    | TrueEfSettings
    | EnsembleSettings
    | OracleSettings,
    Field(discriminator="family"),
    WrapValidator(_of_any_package),
]
_FAMILIES: tuple[Any, ...] = get_args(get_args(ModelSettings)[0])


def _settings_of(family: str) -> Any | None:
    """The class of the settings of a family, of this or of another package; None for an unknown one."""
    for settings in _FAMILIES:
        if settings.model_fields["family"].default == family:
            return settings
    outside = from_outside(family)
    return None if outside is None else outside.settings


class WeightsSettings(Settings):
    """A TorchScript file of yours. It may hold any program, and is opened only if it has this hash."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file, 64 hex digits")


class ExtractorSettings(Settings):
    """Networks beyond those that are always there; only these give distances named FID and FVD."""

    inception: WeightsSettings | None = Field(None, description="Inception-v3, inception-2015-12-05.pt: the metric fid")
    i3d: WeightsSettings | None = Field(None, description="I3D, i3d_torchscript.pt: the metric fvd")


class TwinSettings(Settings):
    """How generated hearts are labelled."""

    labels: Labelling = Field(
        "nnunet",
        description="by nnU-Net, frame by frame, as the real cines; or propagated: the anchor's labels move as its "
        "image does, for a fraction of the time. A family that generates images is labelled by nnU-Net in any case",
    )


class EvaluationSettings(Settings):
    """Metrics and their intervals."""

    registration: str = Field("toppr", description="the registration whose displacement end-point errors refer to")
    bootstrap: Count = Field(1000, description="resamples of the subjects for 95 % intervals")
    seed: int = Field(0, ge=0, description="of the resampling")
    extractors: ExtractorSettings = ExtractorSettings()
    components: Count = Field(
        64, description="principal components of features that Fréchet distances but FID and FVD compare, at most"
    )
    cosines: Count = Field(4, description="temporal cosine coefficients by which they see a video")


class IntervalSettings(Settings):
    """Conformal intervals on EF, ESV and the volume curve, calibrated on the validation subjects."""

    models: tuple[str, ...] = Field((), description="models in `models` that get intervals; an ensemble scales them")
    miscoverage: float = Field(
        0.1, gt=0, lt=1, description="share of subjects whose real heart may lie outside; 0.1 asks for 9 validation "
        "subjects at least, 0.05 for 19"
    )  # fmt: skip


class TableSettings(Settings):
    """One table of the report: which models, in which order, under which printed names, with which metrics."""

    title: str
    models: dict[str, str] = Field(description="model name in `models` to printed row name")
    metrics: tuple[str, ...] = Field(description="keys of cof.metrics.catalogue, a column each")
    repeats: dict[str, tuple[str, ...]] = Field(
        {}, description="model of this table to further trainings of it with other seeds, whose SD is printed beside it"
    )
    paper: Literal["table1", "table2", "table3"] | None = Field(
        None, description="the paper's table to print beside ours, row by printed name"
    )

    @property
    def trainings(self) -> tuple[str, ...]:
        """Its models, and their further trainings with other seeds."""
        return (*self.models, *(name for names in self.repeats.values() for name in names))

    @property
    def with_features(self) -> bool:
        """Some column is a distance between features."""
        return any(METRICS[metric].extractor for metric in self.metrics)


class ReportSettings(Settings):
    """The HTML report."""

    subjects: Count = Field(3, description="held-out subjects shown as animated cines")
    model: str = "cof"
    qc_flagged: int = Field(500, ge=0, description="flagged subjects with a quality page of their own, at most")
    qc_others: int = Field(20, ge=0, description="further subjects with one, spread evenly over the cohort")


class Config(Settings):
    """Everything a run is made of."""

    results: str = "results"
    seed: int = Field(0, ge=0)
    trained: str | None = Field(
        None,
        description="results folder of another run: of labeller, registrations and models, those that lie there are "
        "used as they are, and the rest is trained on this cohort",
    )
    subjects: tuple[str, ...] = Field((), description="limit the run to these subjects; models are not retrained")
    phantom: PhantomSettings = PhantomSettings()
    cohort: CohortSettings = CohortSettings()
    ecg: EcgSettings = EcgSettings()
    beats: BeatSettings = BeatSettings()
    cine: CineSettings = CineSettings()
    labels: LabelSettings = LabelSettings()
    quality: QualitySettings = QualitySettings()
    grid: GridSettings = GridSettings()
    registrations: dict[str, RegistrationSettings] = {"toppr": RegistrationSettings()}
    models: dict[str, SerializeAsAny[ModelSettings]]
    twins: TwinSettings = TwinSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    intervals: IntervalSettings = IntervalSettings()
    tables: dict[str, TableSettings]
    report: ReportSettings = ReportSettings()

    @property
    def featured(self) -> tuple[str, ...]:
        """Whose features some table compares: the real hearts (`real`) and models; nobody's without such a column."""
        models = [model for table in self.tables.values() if table.with_features for model in table.trainings]
        return tuple(dict.fromkeys((REAL, *models))) if models else ()

    @property
    def exact_motion(self) -> bool:
        """An oracle moves by the exact displacement of a synthetic cohort."""
        return any(getattr(model, "registration", None) == TRUTH for model in self.models.values())


def _known_keys(error: Any, model: type[BaseModel] | None) -> list[str]:
    """The keys that the group named by a pydantic error location accepts."""
    group: Any = Config if model is None else model
    for part in error["loc"][:-1]:
        fields = getattr(group, "model_fields", None)
        if fields is None or part not in fields:
            group = (_settings_of(str(part)) if group is dict else None) or group
            continue
        annotation = fields[part].annotation
        text = str(annotation)
        if text.startswith("dict["):
            inner = annotation.__args__[1]
            group = inner if hasattr(inner, "model_fields") else dict
        else:
            group = annotation
    return sorted(getattr(group, "model_fields", {}))


def explain(error: ValidationError, where: str, model: type[BaseModel] | None = None) -> str:
    """One line that says what is wrong in a configuration and, for a misspelt key, what was probably meant."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys(first, model)
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key '{path}'; {hint}"
    return f"{where}: {path}: {first['msg']} (got {first.get('input')!r})"


def _resolved(entries: Any, where: str) -> Any:
    """Entries by name, those with `like: NAME` laid over the entry that they name."""
    if not isinstance(entries, dict):
        return entries  # validation says what is wrong

    def resolve(name: str, above: tuple[str, ...]) -> Any:
        entry = entries[name]
        base = entry.get("like") if isinstance(entry, dict) else None
        if base is None:
            return entry
        if base not in entries or base in (*above, name):
            raise UsageError(
                f"{where}.{name}.like: " + ("a circle" if base in entries else f"no entry is called '{base}'")
            )
        changes = {key: value for key, value in entry.items() if key != "like"}
        return _overlaid(resolve(base, (*above, name)), changes)

    return {name: resolve(name, ()) for name in entries}


def parse(raw: dict[str, Any], where: str = "config.yaml") -> Config:
    """The typed configuration of a plain mapping.

    Raises:
        UsageError: a key is unknown, missing or of the wrong type, or a name refers to nothing.
    """
    variants = {
        group: _resolved(raw[group], f"{where}: {group}") for group in ("registrations", "models") if group in raw
    }
    try:
        config = Config.model_validate(raw | variants)
    except ValidationError as error:
        raise UsageError(explain(error, where)) from None
    if TRUTH in config.registrations:
        raise UsageError(f"{where}: registrations.{TRUTH}: this name is kept for the exact displacement")
    if REAL in config.models:
        raise UsageError(f"{where}: models.{REAL}: this name is kept for the real hearts")
    for name, model in config.models.items():
        registration = getattr(model, "registration", None)
        if registration == TRUTH and isinstance(model, OracleSettings):
            if config.cohort.sheet is not None:
                raise UsageError(f"{where}: models.{name}.registration: only a synthetic cohort knows its exact motion")
        elif registration is not None and registration not in config.registrations:
            raise UsageError(f"{where}: models.{name}.registration: no registration is called '{registration}'")
        if isinstance(model, ShuffledSettings | AnchoredSettings | TrueEfSettings):
            kind = EchoDiffusionSettings if isinstance(model, TrueEfSettings) else CofSettings
            if not isinstance(config.models.get(model.model), kind):
                family = kind.model_fields["family"].default
                raise UsageError(
                    f"{where}: models.{name}.model: no model of the family '{family}' is called '{model.model}'"
                )
        if isinstance(model, EnsembleSettings) and len(set(model.members)) < len(model.members):
            raise UsageError(f"{where}: models.{name}.members: a model is named twice")
        for member in model.members if isinstance(model, EnsembleSettings) else ():
            if not isinstance(config.models.get(member), CofSettings):
                raise UsageError(f"{where}: models.{name}.members: no model of the family 'cof' is called '{member}'")
    for name in config.intervals.models:
        if name not in config.models:
            raise UsageError(f"{where}: intervals.models: no model is called '{name}'")
    for name, table in config.tables.items():
        for row in (*table.models, *table.repeats, *(other for repeat in table.repeats.values() for other in repeat)):
            if row not in config.models:
                raise UsageError(f"{where}: tables.{name}.models: no model is called '{row}'")
        for metric in table.metrics:
            if metric not in METRICS:
                close = difflib.get_close_matches(metric, METRICS, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(METRICS)}"
                raise UsageError(f"{where}: tables.{name}.metrics: no metric is called '{metric}'{hint}")
            extractor = METRICS[metric].extractor
            if extractor and getattr(config.evaluation.extractors, extractor, "always there") is None:
                raise UsageError(
                    f"{where}: tables.{name}.metrics: {metric} needs weights, evaluation.extractors.{extractor}"
                )
    if config.evaluation.registration not in config.registrations:
        raise UsageError(f"{where}: evaluation.registration: no registration is called this")
    if config.report.model not in config.models:
        raise UsageError(f"{where}: report.model: no model is called '{config.report.model}'")
    return config


def load(path: Path, *more: Path) -> Config:
    """Read and validate a configuration file, with the keys of others laid over it as Snakemake does."""
    raw: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    for file in more:
        raw = _overlaid(raw, yaml.safe_load(file.read_text()) or {})
    return parse(raw, str(more[-1] if more else path))


def _overlaid(raw: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A mapping with the keys of another laid over it, group by group."""
    nested = {key: _overlaid(raw[key], value) for key, value in more.items() if _groups(raw.get(key), value)}
    return raw | more | nested


def _groups(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def read_settings(text: str, kind: Any) -> Any:
    """Settings of a stage from inline JSON or from a YAML or JSON file.

    Args:
        text: JSON starting with `{`, or a path.
        kind: a settings class or annotated union such as `ModelSettings`.

    Raises:
        UsageError: the file is missing or the settings are invalid.
    """
    inline = text.lstrip().startswith("{")
    if not inline and not Path(text).is_file():
        raise UsageError(f"--settings: no such file: {text}")
    try:
        raw = json.loads(text) if inline else yaml.safe_load(Path(text).read_text())
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        group = kind if isinstance(kind, type) else None
        raise UsageError(explain(error, "--settings", group)) from None
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--settings: not JSON or YAML: {error}") from None


def dump(settings: BaseModel) -> str:
    """Settings as JSON, for the command line and for Snakemake's re-run triggers; rows of a table keep their order."""
    return json.dumps(settings.model_dump(mode="json"))


def schema() -> dict[str, Any]:
    """The JSON schema of `config.yaml`, for editors and for validation elsewhere."""
    return Config.model_json_schema()
