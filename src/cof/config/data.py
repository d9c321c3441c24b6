"""From raw files to labelled cines on the canonical grid."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from cof.config.base import Count, Positive, Probability, Settings, Triple
from cof.heart.codes import read_map

PHANTOM_VISIT = 2  # of every synthetic participant
LABEL_TRUST = "label_trust"  # the measure's key
LEAST_LABEL_TRUST = 0.66  # below it, labels are doubtful (docs/science/method.md)


class OdditySettings(Settings):
    """How often the synthetic scanner misbehaves in the ways real archives do (shares of subjects)."""

    repeated_series: Probability = Field(0.1, description="a slice was acquired twice")
    missing_frame: Probability = Field(0.1, description="one frame is missing")
    mixed_file_order: Probability = Field(0.3, description="file names do not follow time")
    misspelt_manifest: Probability = Field(0.3, description="the manifest is called manifest.cvs")
    inline_vf_series: Probability = Field(
        0.1, description="the scanner's own analysis is in the archive, as a further series with contours in overlays"
    )


class PhantomSettings(Settings):
    """The synthetic cohort: raw files as UK Biobank delivers them, and the truth beside them."""

    first: Count = Field(1, description="number of the first participant; beyond another cohort's, none is shared")
    train: int = Field(24, ge=0, description="training participants")
    validation: int = Field(0, ge=0, description="validation participants")
    test: Count = Field(8, description="held-out participants")
    annotated: Count = Field(12, description="training subjects that come with expert ED and ES annotations")
    arm: Literal["population", "enriched"] = Field(
        "population", description="prevalences as in a population, or enriched: more infarcts, LBBB and hypertrophy"
    )
    frames: int = Field(20, ge=8, description="frames of a cine")
    slices: int = Field(8, ge=5, description="slices of a stack")
    matrix: int = Field(144, ge=64, description="rows and columns of a native slice")
    slice_shift_mm: float = Field(
        1.5, ge=0, description="SD of the in-plane displacement of a slice, from breath-holds that differ"
    )
    oddities: OdditySettings = OdditySettings()

    @property
    def participants(self) -> list[str]:
        """Their names: training participants first, then validation, then test."""
        return [f"sub-{k + self.first:04d}" for k in range(self.train + self.validation + self.test)]


_SHARES = {"train": 0.75, "validation": 0.05, "test": 0.2}


class CohortSettings(Settings):
    """Which raw files form the cohort, and how it is split and batched."""

    sheet: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="subjects.csv, or several to put together; leave out to use the synthetic cohort"
    )
    salt_file: str | None = Field(
        None, description="file with the secret salt of the pseudonyms; without one, names are kept (public data only)"
    )
    batches: int = Field(1, ge=1, le=10_000, description="jobs per stage; about one for every 250 subjects")
    split: dict[Literal["train", "validation", "test"], Probability] | None = Field(
        None,
        description="shares of the splits, for subjects whose sheet names none; where left out, .75, .05 and .2, and "
        "all are tested where `trained` has every network",
    )
    origin: Literal["real", "simulated"] | None = Field(
        None, description="what the hearts are, where the sheet's column `origin` does not say; the report tells it of "
        "every network that has learnt from them"
    )  # fmt: skip
    labels_map: Annotated[dict[int, int], BeforeValidator(read_map)] | None = Field(
        None,
        description="from the codes of annotations to ours, for rows whose column labels_map is empty: '1:3,2:2,3:1' "
        "for ACDC's",
    )

    @property
    def sheets(self) -> list[str]:
        """The sheets; none for the synthetic cohort."""
        return [self.sheet] if isinstance(self.sheet, str) else self.sheet or []

    @property
    def shares(self) -> dict[str, float]:
        """The share of each split among the subjects whose sheet names none."""
        return {str(name): share for name, share in (self.split or _SHARES).items()}

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
    paced: Literal["exclude", "keep"] = Field(
        "exclude",
        description="what becomes of a paced heart, whether the device states pacing or spikes are found; those are "
        "bridged in any case",
    )


class BeatSettings(Settings):
    """The representative cardiac cycle."""

    samples: int = Field(512, ge=2, description="samples of the cycle")
    highpass_hz: Positive = Field(0.5, description="cut-off of the high-pass filter")
    lowpass_hz: Positive = Field(40.0, description="cut-off of the low-pass filter")
    mains_hz: Positive = Field(50.0, description="removed by a notch where the file says that the device did not")
    clip_mv: Positive = Field(5.0, description="larger values are clipped, of either sign")
    rate_tolerance: Probability = Field(0.1, description="allowed difference of our heart rate from the device's")
    rr_tolerance: Probability = Field(0.1, description="a candidate beat's RR may differ so much from the median RR")
    min_correlation: Probability = Field(0.8, description="below it, with the median beat, a beat is of low quality")


class CineSettings(Settings):
    """Stacking of a short-axis cine on its native grid."""

    min_slices: Count = Field(5, description="stacks with fewer are excluded")
    min_frames: Count = Field(8, description="cines with fewer are excluded")
    max_missing: Probability = Field(
        0.1, description="share of a slice's frames that may be missing and are replaced by the frame before"
    )


class LabelSettings(Settings):
    """nnU-Net: training on annotated ED and ES stacks, and prediction on all frames."""

    epochs: Count = Field(10, description="training epochs")
    iterations: Count = Field(40, description="training iterations an epoch")
    batch: Count = Field(6, description="slices per training iteration")
    learning_rate: Positive = Field(0.05, description="at the start; nnU-Net's own is 0.01, for long trainings")
    momentum: float = Field(0.9, ge=0, lt=1, description="nnU-Net's own is 0.99, which a short training cannot warm up")
    features: Count = Field(8, description="channels of the first level; each level doubles them")
    levels: int = Field(5, ge=3, description="resolution levels of the network; nnU-Net's plan may have fewer")
    neighbours: bool = Field(
        False, description="show the network every slice together with the next slices towards base and apex"
    )
    held_out: Probability | None = Field(
        0.2,
        description="share of the annotated training participants that only measure the training; null for the "
        "annotated participants of the validation split",
    )
    spacing_mm: Positive | None = Field(
        None, description="in-plane, to which slices are resampled; the ninetieth percentile of the cases where null"
    )
    patch_mm: Positive | None = Field(
        None,
        description="side of the training's patches, which are drawn at random; whole slices where null. Prediction "
        "takes whole slices in any case, so the training has to end with them: `whole_epochs`",
    )
    whole_epochs: int = Field(
        0, ge=0, description="epochs at the end with whole slices, to whose statistics the norms of a network get used"
    )
    half_precision: bool = Field(
        False, description="train with convolutions in bfloat16: twice as fast on processors that have it"
    )
    augmentation: Literal["nnunet", "upright", "wide"] = Field(
        "upright",
        description="nnU-Net's own; upright: the same without mirroring and with turns of at most 30 degrees: a short "
        "training then need not learn every orientation of the heart; wide: every orientation, and contrast, coil "
        "bias, blur, noise, resolution and field of view far beyond those of the training's scans",
    )
    augmentation_workers: int = Field(
        0, ge=0, description="processes that augment; only 0 (in the training process) gives the same weights again"
    )
    mirroring: bool = Field(
        False, description="test-time augmentation by mirroring; needs augmentation: nnunet or wide"
    )


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
    label_trust: float | None = None


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
    label_trust: float | None = LEAST_LABEL_TRUST


class QualitySettings(Settings):
    """What is done about quality: flags in the report, and subjects left out of everything that learns or generates."""

    flag: QualityFlags = QualityFlags()
    exclude: QualityLimits = Field(QualityLimits(), description="a subject beyond one of these is left out")


class GridSettings(Settings):
    """The canonical grid. Axis order z, y, x."""

    shape: tuple[Count, Count, Count] = Field((8, 48, 48), description="voxels z, y, x")
    spacing_mm: Triple = Field((10.0, 3.6, 3.6), description="z, y, x")
    slice_tolerance_mm: float = Field(
        0.5, ge=0, description="native slices whose distance differs by no more from the grid's are kept as they are"
    )
    frames: int = Field(20, ge=4, description="frames of a cycle, at equal phases")
