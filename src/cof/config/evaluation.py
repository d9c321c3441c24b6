"""Settings of generated hearts, metrics, tables and the report."""

from typing import Literal

from pydantic import Field

from cof.config.base import Count, ExportFormat, Labelling, Settings
from cof.config.metrics import METRICS


class WeightsSettings(Settings):
    """A TorchScript file that you provide. It may contain any program, so it is opened only if it has this hash."""

    path: str = Field(description="path of the file")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file, 64 hex digits")


class ExtractorSettings(Settings):
    """Networks beyond the built-in ones. Only these give the distances named FID and FVD."""

    inception: WeightsSettings | None = Field(
        None, description="Inception-v3, the file inception-2015-12-05.pt, for the metric fid"
    )
    i3d: WeightsSettings | None = Field(None, description="I3D, the file i3d_torchscript.pt, for the metric fvd")


class TwinSettings(Settings):
    """How generated hearts are labelled, and in which formats they are given away."""

    labels: Labelling = Field(
        "nnunet",
        description="nnunet: every frame is labelled by nnU-Net, as in the real cines; propagated: the displacement "
        "moves the anchor's labels, in a fraction of the time. Families that generate images are always labelled by "
        "nnU-Net",
    )
    exports: tuple[ExportFormat, ...] = Field(
        ("page",),
        description="formats in which `snakemake twins_export` writes the hearts that the report shows, or those of "
        "`subjects`; the report links to the pages",
    )


class EvaluationSettings(Settings):
    """Metrics and their intervals."""

    registration: str = Field("toppr", description="registration whose displacement is the reference of EPE")
    bootstrap: Count = Field(1000, description="resamples of the subjects for the 95 % bootstrap intervals")
    seed: int = Field(0, ge=0, description="seed of the resampling")
    extractors: ExtractorSettings = ExtractorSettings()
    components: Count = Field(
        64,
        description="largest number of principal components of the features that Fréchet distances compare; FID and "
        "FVD use all features",
    )
    cosines: Count = Field(
        4, description="temporal cosine coefficients by which these distances, but not FVD, describe a video"
    )


class IntervalSettings(Settings):
    """Conformal intervals on EF, ESV and the volume curve, calibrated on the validation subjects."""

    models: tuple[str, ...] = Field(
        (), description="models in `models` that get intervals; an ensemble scales them by its spread"
    )
    miscoverage: float = Field(
        0.1, gt=0, lt=1, description="share of subjects whose real heart may lie outside the interval; 0.1 needs at "
        "least 9 validation subjects, 0.05 at least 19"
    )  # fmt: skip


class TableSettings(Settings):
    """One table of the report: its models in order, their printed names, and its metrics."""

    title: str = Field(description="title of the table")
    models: dict[str, str] = Field(description="rows in order: name of the model in `models`, and its printed name")
    metrics: tuple[str, ...] = Field(description="columns in order: keys of cof.config.metrics")
    repeats: dict[str, tuple[str, ...]] = Field(
        {},
        description="model of this table, and further trainings of it with other seeds; the SD over them is printed "
        "beside its value",
    )
    paper: Literal["table1", "table2", "table3"] | None = Field(
        None, description="table of the paper whose numbers are printed beside ours, matched by printed row name"
    )
    left_out: tuple[str, ...] = Field(
        (),
        description="printed names of the rows that are left out because the cohort has no training subjects; filled "
        "in by the workflow for the table's notes",
    )

    @property
    def trainings(self) -> tuple[str, ...]:
        """Models of the table, and their further trainings with other seeds."""
        return (*self.models, *(name for names in self.repeats.values() for name in names))

    @property
    def with_attainable(self) -> bool:
        """True if a column is compared with a regression on measured features."""
        return any(METRICS[metric].attainable or METRICS[metric].regression for metric in self.metrics)

    @property
    def with_features(self) -> bool:
        """Whether a column is a distance between features."""
        return any(METRICS[metric].extractor for metric in self.metrics)


class ReportSettings(Settings):
    """The HTML report."""

    subjects: Count = Field(3, description="number of held-out subjects shown as animated cines")
    model: str = Field("cof", description="model in `models` whose hearts the page shows")
    qc_flagged: int = Field(500, ge=0, description="largest number of flagged subjects that get a quality page")
    qc_others: int = Field(
        20, ge=0, description="number of other subjects that get a quality page, spread evenly over the cohort"
    )
