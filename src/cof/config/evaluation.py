"""Generated hearts, metrics, tables and the report."""

from typing import Literal

from pydantic import Field

from cof.config.base import Count, Labelling, Settings
from cof.config.metrics import METRICS


class WeightsSettings(Settings):
    """A TorchScript file of yours. It may hold any program, and is opened only if it has this hash."""

    path: str = Field(description="of the file")
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

    title: str = Field(description="of the table")
    models: dict[str, str] = Field(description="model name in `models` to printed row name")
    metrics: tuple[str, ...] = Field(description="keys of cof.config.metrics, a column each")
    repeats: dict[str, tuple[str, ...]] = Field(
        {}, description="model of this table to further trainings of it with other seeds, whose SD is printed beside it"
    )
    paper: Literal["table1", "table2", "table3"] | None = Field(
        None, description="the paper's table to print beside ours, row by printed name"
    )
    left_out: tuple[str, ...] = Field(
        (), description="printed names of rows that a cohort without training subjects cannot have, for its note"
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
    model: str = Field("cof", description="model in `models` whose hearts the page shows")
    qc_flagged: int = Field(500, ge=0, description="flagged subjects with a quality page of their own, at most")
    qc_others: int = Field(20, ge=0, description="further subjects with one, spread evenly over the cohort")
