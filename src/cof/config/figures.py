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
        10,
        description="smallest number of subjects over which a correlation is drawn, of an ECG category or of a segment "
        "of the LV; those of fewer are only listed",
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
POPULATION_MEAN = "metrics/{population_mean}/{batch}.parquet"
ECGS = "ecg/{batch}.parquet"
BEATS = "beats/{batch}.parquet"
TWINS, CINES, LABELS = "twins/{model}/{batch}", "cine/{batch}", "labels/{batch}"


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
    "spacing": PaperFigure(
        "Segmentation against in-plane resolution",
        "Three-dimensional Dice, IoU and 95th-percentile Hausdorff distance (HD95, in mm by the voxel spacing) of the "
        "generated hearts' labels, compared with those of the real ones in every frame after the anchor and averaged "
        "over frames, against the in-plane pixel spacing of the scan. Left: mean and SD over the subjects of bins of "
        "equal width over the observed range, with their number n. Right: one point per subject; large outlined "
        "markers are the bins' means; lines are least-squares fits over all subjects, with their slope and its 95 % "
        "bootstrap interval over subjects.",
        (METRICS,),
    ),
    "categories": PaperFigure(
        "Functional agreement by ECG category",
        "Pearson correlation r of generated with reference function of the LV over the subjects of each ECG category; "
        "a subject may be in several categories. Boxes show the quartiles and whiskers the 2.5th and 97.5th percentile "
        "of r in bootstrap resamples of the subjects, without the corrections of the tables' intervals; the point is r "
        "itself. The last panel shows the correlation of "
        "generated and real LV volume curve of each subject, by the same percentiles over subjects; its point is the "
        "mean. Beside the model are what r is without an ECG: the population-mean motion applied to the same anchor; "
        "the reference EDV alone as predictor of each index; and the partial r of the model given that EDV. EDV is "
        "known from the anchor, so r of EDV is 1 by construction for a model that begins at ED, and a correlation of "
        "ESV, SV or CO is partly that of heart size. EF shows most.",
        (METRICS, POPULATION_MEAN, ECGS),
    ),
    "agreement": PaperFigure(
        "Agreement of function",
        "Bland-Altman plots of the functional indices: the difference of generated and reference value against their "
        "mean, one point per subject, with the bias (line) and the 95 % limits of agreement, bias ± 1.96 SD (dashes). "
        "The table has mean absolute error (MAE), root of the mean squared error (RMSE), bias, limits of agreement, "
        "Pearson's r, Spearman's rho and the intraclass correlation ICC(2,1) for absolute agreement, over all subjects "
        "and over those of each ECG category; a subject may be in several. Both hearts are measured on labels of the "
        "same labeller. The error of EDV and of LV mass is 0 by construction for a model that begins at ED, because "
        "its first frame is the anchor.",
        (METRICS, ECGS),
        numbers_first=True,
    ),
    "curves": PaperFigure(
        "Shape of the LV volume curve",
        "Time to ES, peak ejection rate, peak filling rate and atrial kick (share of the filling volume after "
        "diastasis) of the LV volume curve: generated against real, one point per subject, with the line of identity. "
        "Open grey points are the population-mean motion, which knows no ECG. Both hearts have the RR interval of the "
        "scan, so that a correlation of rates is partly that of heart rate and size. A subject without a defined value "
        "of either heart is left out of a panel; n is the number of the others.",
        (METRICS, POPULATION_MEAN),
    ),
    "cases": PaperFigure(
        "Cases",
        "Subjects of the ECG categories hypertrophy and ischaemia, chosen by rule and not by eye: of each category the "
        "one with the median absolute EF error, and the one with the largest. Top: mid-ventricular slice of the real "
        "and of the generated heart at ED and at ES (smallest real LV), each with the LV contour of the real (solid "
        "blue) and of the generated labels (dashed orange). Bottom: LV volume over the cycle, real alone and both; "
        "points mark ED and the smallest volume of each curve. At ED the generated frame of a model that begins there "
        "is the anchor itself.",
        (METRICS, ECGS, TWINS, CINES, LABELS),
    ),
    "panel": PaperFigure(
        "One subject from the ECG to the heart",
        "Top: lead II of the chosen R-R interval with its P, R, S and T waves; dashed lines mark the phases shown "
        "below, which are phases of the scan's own cycle: ED, ES (smallest real LV), and the middle of systole and of "
        "diastole. Left: the real stack at ED, from base to apex; the slices shown are framed. Right, for each phase a "
        "basal, a mid-ventricular and an apical slice: real heart, generated heart, and the labels of both by the same "
        "labeller (LV orange, myocardium green, RV blue). At ED the generated frame of a model that begins there is "
        "the anchor itself.",
        (METRICS, BEATS, TWINS, CINES, LABELS),
    ),
    "bullseye": PaperFigure(
        "Regional function",
        "Circumferential strain, radial strain and wall thickening in the 16 segments of the American Heart "
        "Association, mean over subjects: of the real heart by its registered displacement, of the generated heart, "
        "and, for simulated hearts, by the exact displacement. Strain is the change of length from ED to ES in % of "
        "the length at ED. The segments are shown as a reader sees them: base outside, anterior on top, septum on the "
        "left. Then "
        "Pearson's r of generated with real over the subjects, in every segment with enough of them; and the segments' "
        "means, generated "
        "against real, with the line of identity. All motion is on the coarse grid of the displacement and "
        "underestimates strain across the wall: compare hearts with each other, not levels.",
        (METRICS,),
    ),
}
