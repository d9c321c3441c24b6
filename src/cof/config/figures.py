"""Settings of the paper's figures, and the catalogue of them: name, title, caption, and what each reads."""

from dataclasses import dataclass

from pydantic import Field

from cof.config.base import Count, Settings


class FigureSettings(Settings):
    """The figures of the paper, drawn from the results of one model."""

    model: str | None = Field(None, description="model in `models` whose hearts are drawn; null: `report.model`")
    population_mean: str | None = Field(
        None,
        description="model in `models` drawn beside it as a null that knows no ECG; null: the first of the family "
        "`mean_motion`, if there is one",
    )
    bins: Count = Field(5, description="bins of equal width of the in-plane spacing")
    least_subjects: Count = Field(
        10, description="smallest number of subjects of an ECG category that is drawn; smaller ones are only listed"
    )
    cases: tuple[str, ...] = Field(
        (),
        description="subjects of the figure of cases; by default those with the median and the worst EF error of the "
        "categories hypertrophy and ischaemia",
    )
    panel: str | None = Field(
        None, description="subject of the figure with all slices; null: the one with the median EF error"
    )


# What a figure reads, as paths below the results folder.
METRICS = "metrics/{model}/{batch}.parquet"


@dataclass(frozen=True)
class PaperFigure:
    """One figure.

    Attributes:
        title: heading.
        caption: what is drawn, with its definitions; `remark` of its module adds the numbers of subjects.
        reads: paths below the results folder; `{model}` and `{population_mean}` are the models of the settings.
        numbers_first: whether the page shows its numbers at once, not only on request.
    """

    title: str
    caption: str
    reads: tuple[str, ...]
    numbers_first: bool = False

    def inputs(self, settings: FigureSettings) -> list[str]:
        """Return what the figure reads, with the names of the models; without those of a model that is not named."""
        names = {"model": settings.model, "population_mean": settings.population_mean, "batch": "{batch}"}
        return [
            path.format(**names)
            for path in self.reads
            if not any(name is None and f"{{{key}}}" in path for key, name in names.items())
        ]


# Every figure by its name, which is that of its module in `cof.figures`, in the order of the page.
FIGURES: dict[str, PaperFigure] = {
    "slice_ranks": PaperFigure(
        "Segmentation by slice rank",
        "Dice, IoU and 95th-percentile Hausdorff distance (HD95) of the generated hearts' labels, compared with those "
        "of the real ones slice by slice. Slices with at least 25 % of the largest myocardial area at ED are ranked "
        "from base (1) to apex; ranks 2 to 7 are shown. Each cell is the mean over subjects, with the number n of "
        "subjects that have a value. HD95 is two-dimensional, in mm by the in-plane spacing, and undefined where a "
        "structure is missing in either slice, so its n counts defined values. At ED the generated frame is the anchor "
        "itself: a model that begins at ED is exact there by construction.",
        (METRICS,),
    ),
}
