"""Settings of the stages from raw files to labelled cines on the canonical grid."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from cof.config.base import Count, Positive, Probability, Settings, Triple
from cof.heart.codes import read_map

PHANTOM_VISIT = 2  # the visit of every synthetic participant
LABEL_TRUST = "label_trust"  # key of the measure
LEAST_LABEL_TRUST = 0.66  # labels with a lower value are doubtful (docs/science/method.md)


class OdditySettings(Settings):
    """How often the synthetic scanner produces the faults of real archives, as shares of subjects."""

    repeated_series: Probability = Field(0.1, description="one slice was acquired twice")
    missing_frame: Probability = Field(0.1, description="one frame is missing")
    mixed_file_order: Probability = Field(0.3, description="the order of the file names is not the order in time")
    misspelt_manifest: Probability = Field(0.3, description="the manifest is called manifest.cvs")
    inline_vf_series: Probability = Field(
        0.1,
        description="the archive also holds the scanner's own analysis: a further series with contours in overlays",
    )


class PhantomSettings(Settings):
    """The synthetic cohort: raw files as UK Biobank delivers them, and the exact truth."""

    first: Count = Field(
        1,
        description="number of the first participant; choose one above the last number of another cohort to share no "
        "participant with it",
    )
    train: int = Field(24, ge=0, description="training participants")
    validation: int = Field(0, ge=0, description="validation participants")
    test: Count = Field(8, description="held-out participants")
    annotated: Count = Field(12, description="training subjects that come with expert ED and ES annotations")
    arm: Literal["population", "enriched"] = Field(
        "population",
        description="population: prevalences as in a population; enriched: more infarcts, LBBB and hypertrophy",
    )
    frames: int = Field(20, ge=8, description="frames per cine")
    slices: int = Field(8, ge=5, description="slices per stack")
    matrix: int = Field(144, ge=64, description="rows and columns of a native slice")
    slice_shift_mm: float = Field(
        1.5, ge=0, description="SD of the in-plane shift of a slice, caused by different breath-hold positions"
    )
    oddities: OdditySettings = OdditySettings()

    @property
    def participants(self) -> list[str]:
        """Names of the participants: training first, then validation, then test."""
        return [f"sub-{k + self.first:04d}" for k in range(self.train + self.validation + self.test)]


_SHARES = {"train": 0.75, "validation": 0.05, "test": 0.2}


class CohortSettings(Settings):
    """Which raw files form the cohort, and how it is split and batched."""

    sheet: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="path of subjects.csv, or a list of several; null uses the synthetic cohort"
    )
    salt_file: str | None = Field(
        None, description="file with the secret salt of the pseudonyms; null keeps the names (public data only)"
    )
    batches: int = Field(1, ge=1, le=10_000, description="jobs per stage; about one per 250 subjects")
    split: dict[Literal["train", "validation", "test"], Probability] | None = Field(
        None,
        description="shares of the splits, for subjects whose sheet names none; null is .75, .05 and .2, or test for "
        "all subjects where `trained` provides every network",
    )
    origin: Literal["real", "simulated"] | None = Field(
        None, description="origin of the hearts whose sheet has no value in the column `origin`; the report shows it "
        "for every network trained on them"
    )  # fmt: skip
    labels_map: Annotated[dict[int, int], BeforeValidator(read_map)] | None = Field(
        None,
        description="map from the codes of the annotations to ours, for rows whose column labels_map is empty; "
        "'1:3,2:2,3:1' is the map for ACDC",
    )

    @property
    def sheets(self) -> list[str]:
        """Paths of the sheets; empty for the synthetic cohort."""
        return [self.sheet] if isinstance(self.sheet, str) else self.sheet or []

    @property
    def shares(self) -> dict[str, float]:
        """Share of each split among the subjects whose sheet names no split."""
        return {str(name): share for name, share in (self.split or _SHARES).items()}

    @property
    def batch_names(self) -> list[str]:
        """Names of the batches: b000, b001 and so on; from batch 1000 on with four digits."""
        return [f"b{index:03d}" for index in range(self.batches)]


class EcgSettings(Settings):
    """Parsing of ECG files."""

    min_seconds: Positive = Field(8.0, description="shortest recording that is used, s")
    einthoven_tolerance_lsb: Positive = Field(
        3.0,
        description="largest difference, in counts of the file, between the recorded leads III, aVR, aVL and aVF and "
        "their values from I and II; a larger one is flagged",
    )
    max_contradiction_mv: Positive = Field(
        0.1,
        description="an ECG whose leads differ by more than this from their values from I and II is excluded, mV",
    )
    flat_mv: Positive = Field(0.02, description="a lead whose range within 2 s is smaller than this is flat, mV")
    max_flat: Probability = Field(
        0.25, description="largest share of the recording over which an independent lead (I, II, V1 to V6) may be flat"
    )
    max_clipped: Probability = Field(0.05, description="largest share of an independent lead that may be clipped")
    paced: Literal["exclude", "keep"] = Field(
        "exclude",
        description="exclude or keep paced hearts: those whose device states pacing, and those with pacing spikes; the "
        "spikes are removed by interpolation in any case",
    )


class BeatSettings(Settings):
    """The representative cardiac cycle."""

    samples: int = Field(512, ge=2, description="samples of the cycle")
    highpass_hz: Positive = Field(0.5, description="cut-off frequency of the high-pass filter")
    lowpass_hz: Positive = Field(40.0, description="cut-off frequency of the low-pass filter")
    mains_hz: Positive = Field(
        50.0, description="mains frequency; a notch filter removes it where the file says that the device did not"
    )
    clip_mv: Positive = Field(5.0, description="larger absolute values are clipped to this")
    rate_tolerance: Probability = Field(
        0.1, description="largest relative difference of our heart rate from the device's"
    )
    rr_tolerance: Probability = Field(
        0.1, description="largest relative difference of a candidate beat's RR interval from the median RR interval"
    )
    min_correlation: Probability = Field(
        0.8, description="a beat whose correlation with the median beat is lower is of low quality"
    )


class CineSettings(Settings):
    """Stacking of a short-axis cine on its native grid."""

    min_slices: Count = Field(5, description="stacks with fewer slices are excluded")
    min_frames: Count = Field(8, description="cines with fewer frames are excluded")
    max_missing: Probability = Field(
        0.1,
        description="largest share of a slice's frames that may be missing; the frame before replaces a missing one",
    )


class LabelSettings(Settings):
    """nnU-Net: training on annotated ED and ES stacks, and prediction on all frames."""

    epochs: Count = Field(10, description="training epochs")
    iterations: Count = Field(40, description="training iterations per epoch")
    batch: Count = Field(6, description="slices per training iteration")
    learning_rate: Positive = Field(
        0.05, description="learning rate at the start; nnU-Net's default is 0.01, for long trainings"
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="momentum of SGD; nnU-Net's default, 0.99, is too slow for a short training"
    )
    features: Count = Field(8, description="channels of the first level; each further level doubles them")
    levels: int = Field(5, ge=3, description="resolution levels of the network; nnU-Net's plan may have fewer")
    neighbours: bool = Field(
        False, description="the network's input is each slice together with its two neighbours towards base and apex"
    )
    held_out: Probability | None = Field(
        0.2,
        description="share of the annotated training participants that are held out to score the labeller; null scores "
        "it on the annotated participants of the validation split",
    )
    spacing_mm: Positive | None = Field(
        None,
        description="in-plane spacing to which slices are resampled; null takes the ninetieth percentile of the cases",
    )
    patch_mm: Positive | None = Field(
        None,
        description="side length of the random training patches; null trains on whole slices. Prediction always uses "
        "whole slices, so a training on patches must end with some epochs of whole slices: `whole_epochs`",
    )
    whole_epochs: int = Field(
        0,
        ge=0,
        description="last epochs that train on whole slices, so that the network's normalisation layers adapt to them",
    )
    half_precision: bool = Field(
        False, description="train with convolutions in bfloat16; twice as fast on processors that support it"
    )
    augmentation: Literal["nnunet", "upright", "wide"] = Field(
        "upright",
        description="nnunet: nnU-Net's default; upright: the same without mirroring and with rotations of at most 30 "
        "degrees, so that a short training need not learn every orientation of the heart; wide: every orientation, and "
        "contrast, coil bias, blur, noise, resolution and field of view far beyond those of the training scans",
    )
    augmentation_workers: int = Field(
        0,
        ge=0,
        description="processes that augment; only 0 (augment in the training process) gives reproducible weights",
    )
    mirroring: bool = Field(
        False, description="test-time augmentation by mirroring; requires augmentation: nnunet or wide"
    )


class QualityLimits(Settings):
    """Limits of the measures of quality (cof.quality.catalogue explains each measure); null sets no limit."""

    ecg_quality: float | None = None
    ecg_noisy_leads: float | None = None
    beat_correlation: float | None = None
    irregular: float | None = Field(None, description="0 treats an irregular rhythm as beyond the limit")
    rate_mismatch_bpm: float | None = None
    slice_shift_mm: float | None = None
    base_cut: float | None = None
    apex_cut: float | None = None
    blur: float | None = None
    ghost: float | None = None
    closure: float | None = None
    dropout: float | None = None
    label_trust: float | None = None


class QualityFlags(QualityLimits):
    """Limits beyond which the report flags a subject. With correct labels they flag nobody in the demo's cohort."""

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
    label_trust: float | None = LEAST_LABEL_TRUST


class QualitySettings(Settings):
    """Limits of quality: beyond a flag limit, the report marks a subject; beyond an exclusion limit, it is left out."""

    flag: QualityFlags = QualityFlags()
    exclude: QualityLimits = Field(
        QualityLimits(), description="a subject beyond one of these limits is left out of training and generation"
    )


class GridSettings(Settings):
    """The canonical grid. Axis order z, y, x."""

    shape: tuple[Count, Count, Count] = Field((8, 48, 48), description="number of voxels z, y, x")
    spacing_mm: Triple = Field((10.0, 3.6, 3.6), description="voxel spacing z, y, x")
    slice_tolerance_mm: float = Field(
        0.5,
        ge=0,
        description="native slices are not resampled if their distance differs from the grid's by no more than this",
    )
    frames: int = Field(20, ge=4, description="frames per cycle, at equally spaced phases")
