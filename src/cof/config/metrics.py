"""The catalogue of metrics: name, unit, direction and definition of every column that a table can have.

The configuration, the tables and the report read it. `cof.metrics.stage.evaluate_batch` writes the rows to which its
entries refer.
"""

from dataclasses import dataclass
from typing import Literal

StatisticName = Literal["mean", "r2", "r2_centred", "r", "partial_r"]

# Written into every row of metrics/. Raise it when a definition changes, so that old rows are not taken for new ones.
DEFINITIONS_VERSION = "3"

LONG_FORM = ("subject", "structure", "frame", "slice", "metric", "value", "version")


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Attributes:
        key: name in `tables.<table>.metrics` of the configuration.
        label: printed name.
        unit: unit; empty for a dimensionless number.
        better: direction of improvement.
        decimals: printed decimals.
        definition: definition in a sentence or two.
        metric: name in the long form; the values of several frames are averaged per subject, NaN left out.
        structure: structure in the long form; empty where none applies.
        absolute: whether the long form holds signed errors whose absolute values are averaged over subjects.
        statistic: statistic over the subjects' values, by its name in `cof.tables.statistics`.
        beside: metric and structure, in the long form, of the further columns that the statistic needs.
        attainable: key in `attainable.json` of what a regression reaches; the statistic is given as a share of it.
        regression: key in `attainable.json` of the error of a regression on the ECG, given in the table's notes.
        extractor: network of `cof.features` whose features a Fréchet distance compares. Such a metric belongs to the
            whole cohort and has no rows in the long form.
        video: whether the distance compares videos of slices, not images.
    """

    key: str
    label: str
    unit: str
    better: Literal["up", "down"]
    decimals: int
    definition: str
    metric: str
    structure: str = ""
    absolute: bool = False
    statistic: StatisticName = "mean"
    beside: tuple[tuple[str, str], ...] = ()
    attainable: str = ""
    regression: str = ""
    extractor: str = ""
    video: bool = False

    @property
    def rests_on_labels(self) -> bool:
        """Whether the values need the labels of a heart, if only to locate it."""
        return bool(self.structure) or self.extractor == "labeller"

    @property
    def arrow(self) -> str:
        """Arrow in the direction of improvement."""
        return "↑" if self.better == "up" else "↓"


_IMAGES = (
    Metric(
        "ssim",
        "SSIM",
        "",
        "up",
        3,
        "Structural similarity (2-D, Gaussian window 11, sigma 1.5) of generated and real canonical slices, averaged "
        "over valid slices and the frames after the anchor.",
        "ssim",
    ),
    Metric(
        "psnr",
        "PSNR",
        "dB",
        "up",
        2,
        "Peak signal-to-noise ratio of the canonical cine, its squared error pooled over valid slices and the frames "
        "after the anchor.",
        "psnr",
    ),
    Metric(
        "m_corr",
        "M-Corr",
        "",
        "up",
        3,
        "Pearson correlation of the generated and the real frame-to-frame difference images; 0 for a heart that never "
        "moves. Image noise limits it: compare it with the oracle's row.",
        "m_corr",
    ),
    Metric(
        "m_ssim",
        "M-SSIM",
        "",
        "up",
        3,
        "SSIM of the generated and the real frame-to-frame difference images. A heart that never moves has a high "
        "value.",
        "m_ssim",
    ),
    Metric(
        "m_corr_ed",
        "M-Corr (ED)",
        "",
        "up",
        3,
        "Like M-Corr, with the difference of every frame from the anchor.",
        "m_corr_ed",
    ),
    Metric(
        "m_ssim_ed",
        "M-SSIM (ED)",
        "",
        "up",
        3,
        "Like M-SSIM, with the difference of every frame from the anchor.",
        "m_ssim_ed",
    ),
    Metric(
        "m_ssim_range",
        "M-SSIM (range)",
        "",
        "up",
        3,
        "Like M-SSIM, with the range of each real difference image in place of 1 as the data range, so that the "
        "constants of the SSIM do not outweigh the differences. Images without a difference are left out.",
        "m_ssim_range",
    ),
    *(
        Metric(
            f"{key}_heart",
            f"{label} (heart)",
            unit,
            "up",
            decimals,
            f"{label} in the region of the heart: the voxels within 5 mm, in the plane of the slice, of the real heart "
            "in any frame (by nnU-Net's labels). The region is the same in every frame and for every model.",
            f"{key}_heart",
            "heart",
        )
        for key, label, unit, decimals in (
            ("ssim", "SSIM", "", 3),
            ("psnr", "PSNR", "dB", 2),
            ("m_corr", "M-Corr", "", 3),
            ("m_ssim", "M-SSIM", "", 3),
        )
    ),
)

_STRUCTURES = (("lv", "LV", "LV"), ("myo", "Myo", "myocardium"), ("rv", "RV", "RV"))

_OVERLAP = tuple(
    Metric(
        f"{name}{suffix}_{short}",
        f"{structure_label} {name_label}{label_suffix}",
        "",
        "up",
        3,
        f"Three-dimensional {long_name} of the {structure} between the labels of the generated cine (by the method "
        f"of `twins.labels`) and {against}, averaged over the frames after the anchor.",
        f"{name}{suffix}",
        structure,
    )
    for suffix, label_suffix, against in (
        ("", "", "nnU-Net's labels of the real cine"),
        ("_exact", " (exact)", "the exact labels of the synthetic cohort"),
    )
    for name, name_label, long_name in (("dice", "Dice", "Dice coefficient"), ("iou", "IoU", "intersection over union"))
    for short, structure_label, structure in _STRUCTURES
)

_DISTANCE = tuple(
    Metric(
        f"hd95{suffix}_{short}",
        f"{structure_label} HD95{label_suffix}",
        "mm",
        "down",
        2,
        f"Hausdorff distance between the surfaces of the {structure} in the labels of the generated cine and in "
        f"{against}: the larger one of the two directed 95th percentiles, in three dimensions with the native spacing, "
        "averaged over the frames after the anchor. A frame without one of the surfaces has no distance.",
        f"hd95{suffix}_mm",
        structure,
    )
    for suffix, label_suffix, against in (
        ("", "", "nnU-Net's labels of the real cine"),
        ("_exact", " (exact)", "the exact labels of the synthetic cohort"),
    )
    for short, structure_label, structure in _STRUCTURES
)

_INDICES = (
    ("edv", "EDV", "ml", "mL", 1, "end-diastolic volume"),
    ("esv", "ESV", "ml", "mL", 1, "end-systolic volume"),
    ("sv", "SV", "ml", "mL", 1, "stroke volume"),
    ("ef", "EF", "pct", "%", 1, "ejection fraction (in percentage points)"),
    ("co", "CO", "l_min", "L/min", 2, "cardiac output (at the real cine's heart rate for both hearts)"),
)

_FUNCTION = tuple(
    Metric(
        f"{ventricle}{index}{suffix}_error_{unit}",
        f"{'RV ' if ventricle else ''}{label} error{label_suffix}",
        unit_label,
        "down",
        decimals,
        f"Absolute error of the {'right' if ventricle else 'left'} ventricle's {meaning}, compared with {against}.",
        f"{index}{suffix}_error_{unit}",
        structure,
        absolute=True,
    )
    for suffix, label_suffix, against in (
        ("", "", "nnU-Net's labels of the real cine"),
        ("_exact", " (exact)", "the exact labels of the synthetic cohort"),
    )
    for ventricle, structure in (("", "LV"), ("rv_", "RV"))
    for index, label, unit, unit_label, decimals, meaning in _INDICES
)

_MASS = tuple(
    Metric(
        f"lvm{suffix}_error_g",
        f"LV mass error{label_suffix}",
        "g",
        "down",
        1,
        f"Absolute error of the LV mass: 1.05 g/mL times the volume of the myocardium at ED, compared with {against}.",
        f"lvm{suffix}_error_g",
        "myocardium",
        absolute=True,
    )
    for suffix, label_suffix, against in (
        ("", "", "nnU-Net's labels of the real cine"),
        ("_exact", " (exact)", "the exact labels of the synthetic cohort"),
    )
)

_CURVE = tuple(
    metric
    for suffix, label_suffix, against in (
        ("", "", "nnU-Net's labels of the real cine"),
        ("_exact", " (exact)", "the exact labels of the synthetic cohort"),
    )
    for metric in (
        Metric(
            f"lv_curve{suffix}_r",
            f"LV curve r{label_suffix}",
            "",
            "up",
            3,
            f"Pearson correlation over the cycle of the LV volume with that from {against}; 0 for a heart that "
            "never moves. Any mean curve reaches more than .95.",
            f"lv_curve{suffix}_r",
            "LV",
        ),
        Metric(
            f"lv_curve{suffix}_nrmse",
            f"LV curve nRMSE{label_suffix}",
            "",
            "down",
            3,
            f"Root mean square error over the cycle of the LV volume, compared with {against}, divided by the EDV from "
            "these labels.",
            f"lv_curve{suffix}_nrmse",
            "LV",
        ),
        *(
            Metric(
                f"{index}{suffix}_error_{unit}",
                f"{label} error{label_suffix}",
                unit_label,
                "down",
                1,
                f"Absolute error of the {meaning}, from the periodic cubic spline of the LV volume at the real cine's "
                f"RR interval. Reference: {against}.",
                f"{index}{suffix}_error_{unit}",
                "LV",
                absolute=True,
            )
            for index, label, unit, unit_label, meaning in (
                ("peak_ejection", "Peak ejection rate", "ml_s", "mL/s", "largest rate at which the LV empties"),
                ("peak_filling", "Peak filling rate", "ml_s", "mL/s", "largest rate at which the LV fills"),
                (
                    "atrial_kick",
                    "Atrial kick",
                    "pct",
                    "%",
                    "atrial kick (in percentage points): the share of the filling volume that enters after the filling "
                    "rate's minimum between its two waves; not defined for hearts without exactly two waves",
                ),
            )
        ),
        Metric(
            f"t_es{suffix}_error_ms",
            f"Time-to-ES error{label_suffix}",
            "ms",
            "down",
            1,
            "Absolute error of the time to ES: the time after ED (frame 0) at which the periodic cubic spline of the "
            "LV volume falls below ESV + .1 SV, at the real cine's RR interval for both hearts: an error of the phase. "
            f"Reference: {against}.",
            f"t_es{suffix}_error_ms",
            "LV",
            absolute=True,
        ),
        Metric(
            f"t_es_own{suffix}_error_ms",
            f"Time-to-ES error, own RR{label_suffix}",
            "ms",
            "down",
            1,
            "Like the time-to-ES error, with the generated heart's phase of ES converted to ms at the RR interval of "
            "the ECG that it was generated from, since no ECG knows that of the scan. Reference: "
            f"{against}, at the scan's RR interval.",
            f"t_es_own{suffix}_error_ms",
            "LV",
            absolute=True,
            regression=f"t_es{suffix}_error_ms",
        ),
    )
)

_DISPLACEMENT = (
    Metric(
        "epe_mm",
        "EPE",
        "mm",
        "down",
        2,
        "End-point error: mean distance between the generated and the registered displacement over the heart's voxels "
        "in the frames after the anchor.",
        "epe_mm",
        "heart",
    ),
    Metric(
        "epe_in_plane_mm",
        "EPE in-plane",
        "mm",
        "down",
        2,
        "Like EPE, for the two in-plane components alone.",
        "epe_in_plane_mm",
        "heart",
    ),
    Metric(
        "epe_true_mm",
        "EPE (exact)",
        "mm",
        "down",
        2,
        "Mean distance between the generated displacement and the exact one of the synthetic cohort, over the voxels "
        "where the exact one is known, in the frames after the anchor.",
        "epe_true_mm",
        "heart",
    ),
    Metric(
        "epe_true_in_plane_mm",
        "EPE in-plane (exact)",
        "mm",
        "down",
        2,
        "Like EPE (exact), for the two in-plane components alone.",
        "epe_true_in_plane_mm",
        "heart",
    ),
    Metric(
        "folded_pct",
        "Folded",
        "%",
        "down",
        3,
        "Share of the voxels on valid slices, over the frames after the anchor, at which the Jacobian determinant of "
        "the deformation is not positive.",
        "folded_pct",
    ),
    Metric(
        "min_jacobian",
        "Min Jacobian",
        "",
        "up",
        3,
        "Smallest Jacobian determinant of the deformation on valid slices over the cycle.",
        "min_jacobian",
    ),
)

_AGAINST = (
    ("", "reference", "", "nnU-Net's labels of the real cine"),
    ("_exact", "exact", " (exact)", "the exact labels of the synthetic cohort"),
)

_EJECTION = tuple(
    metric
    for suffix, column, label_suffix, against in _AGAINST
    for metric in (
        Metric(
            f"ef{suffix}_r2",
            f"EF R²{label_suffix}",
            "",
            "up",
            3,
            f"Coefficient of determination, over subjects, of the generated heart's EF as a prediction of the EF from "
            f"{against}; negative where the mean EF of all subjects predicts better.",
            "ef_pct",
            "LV",
            statistic="r2",
            beside=((f"ef_{column}_pct", "LV"),),
        ),
        Metric(
            f"ef{suffix}_r2_centred",
            f"EF R² centred{label_suffix}",
            "",
            "up",
            3,
            f"Like EF R²{label_suffix}, after subtraction of the mean over subjects from both EFs. It ignores a bias "
            "that all subjects share, such as that of volumes measured in thick slices.",
            "ef_pct",
            "LV",
            statistic="r2_centred",
            beside=((f"ef_{column}_pct", "LV"),),
        ),
        Metric(
            f"ef{suffix}_r",
            f"EF r{label_suffix}",
            "",
            "up",
            3,
            f"Pearson correlation, over subjects, of the generated heart's EF with the EF from {against}.",
            "ef_pct",
            "LV",
            statistic="r",
            beside=((f"ef_{column}_pct", "LV"),),
        ),
        Metric(
            f"ef{suffix}_partial_r",
            f"EF partial r{label_suffix}",
            "",
            "up",
            3,
            f"Partial correlation, over subjects, of the generated heart's EF with the EF from {against}, given the "
            "EDV from the same labels, sex and the heart rate of the scan, which are known without the shape of the "
            "ECG.",
            "ef_pct",
            "LV",
            statistic="partial_r",
            beside=((f"ef_{column}_pct", "LV"), (f"edv_{column}_ml", "LV"), ("male", ""), ("hr_bpm", "")),
        ),
    )
)

_RECOVERED = (
    Metric(
        "ef_recovered",
        "EF recovered",
        "",
        "up",
        3,
        "EF R² (exact) as a share of the attainable R²: that of a ridge regression of the exact EF on the measured "
        "features of ECG and anchor, learnt from the training subjects and applied to the held-out ones.",
        "ef_pct",
        "LV",
        statistic="r2",
        beside=(("ef_exact_pct", "LV"),),
        attainable="ef_exact_r2",
    ),
)

_REGIONAL = tuple(
    metric
    for suffix, label_suffix, against in (
        ("", "", "the registered displacement"),
        ("_true", " (exact)", "the exact displacement of the synthetic cohort"),
    )
    for metric in (
        Metric(
            f"peak_sd{suffix}_error_ms",
            f"Dyssynchrony error{label_suffix}",
            "ms",
            "down",
            1,
            "Absolute error of the dyssynchrony: the SD over 16 segments of the time at which a segment's cavity has "
            "lost 90 % of its volume loss, from the anchor's labels warped by the displacement. Reference: the same "
            f"from {against}.",
            f"peak_sd{suffix}_error_ms",
            "LV",
            absolute=True,
        ),
        Metric(
            f"peak_sd{suffix}_r",
            f"Dyssynchrony r{label_suffix}",
            "",
            "up",
            3,
            f"Pearson correlation, over subjects, of the dyssynchrony (see its error) with the same from {against}.",
            "peak_sd_ms",
            "LV",
            statistic="r",
            beside=((f"peak_sd{suffix or '_reference'}_ms", "LV"),),
        ),
        Metric(
            f"thickening{suffix}_r",
            f"Thickening r{label_suffix}",
            "",
            "up",
            3,
            "Pearson correlation, over a subject's 16 segments, of the wall thickening from ED to ES with the same "
            f"from {against}, averaged over subjects.",
            f"thickening{suffix}_r",
            "LV",
        ),
    )
)

_INFARCT = (
    Metric(
        "infarct_thickening_r",
        "Infarct thickening r",
        "",
        "up",
        3,
        "Pearson correlation, over the subjects with an infarct, of the mean wall thickening of the segments that are "
        "mostly scar with the same from the exact displacement of the synthetic cohort.",
        "infarct_thickening_pct",
        "LV",
        statistic="r",
        beside=(("infarct_thickening_true_pct", "LV"),),
    ),
)

_STRAIN = tuple(
    metric
    for suffix, label_suffix, against in (
        ("", "", "the registered displacement"),
        ("_true", " (exact)", "the exact displacement of the synthetic cohort"),
    )
    for metric in (
        *(
            Metric(
                f"{short}{suffix}_error_pct",
                f"{short.upper()} error{label_suffix}",
                "%",
                "down",
                1,
                f"Absolute error, in percentage points, of the global {direction} strain: the mean over 16 segments of "
                f"the engineering strain from ED to the frame of the smallest LV in the real cine. Reference: the same "
                f"from {against}.{note}",
                f"{short}{suffix}_error_pct",
                "LV",
                absolute=True,
            )
            for short, direction, note in (
                ("gcs", "circumferential", ""),
                ("grs", "radial", " It is uncertain: a displacement has voxels nearly as coarse as the wall."),
                ("gls", "longitudinal", " It is uncertain: slices 10 mm apart hardly show motion along the long axis."),
            )
        ),
        *(
            Metric(
                f"strain_{direction}{suffix}_r",
                f"{direction.capitalize()} strain r{label_suffix}",
                "",
                "up",
                3,
                f"Pearson correlation, over a subject's 16 segments, of the {direction} strain (see the error of its "
                f"mean) with the same from {against}, averaged over subjects.",
                f"strain_{direction}{suffix}_r",
                "LV",
            )
            for direction in ("circumferential", "radial")
        ),
    )
)

_INTERVALS = tuple(
    metric
    for name, label, unit, unit_label, meaning in (
        ("ef", "EF", "pct", "%", "the left ventricle's ejection fraction"),
        ("esv", "ESV", "ml", "mL", "the left ventricle's end-systolic volume"),
        ("curve", "LV curve", "ml", "mL", "the left ventricle's volume in every frame of the cycle at once"),
    )
    for metric in (
        Metric(
            f"{name}_interval_width_{unit}",
            f"{label} interval",
            unit_label,
            "down",
            1,
            f"Width of the conformal interval for {meaning}{', mean over the cycle' if name == 'curve' else ''}, "
            "calibrated on the validation subjects; inf if there are too few of them.",
            f"{name}_interval_width_{unit}",
            "LV",
        ),
        *(
            Metric(
                f"{name}{suffix}_covered",
                f"{label} covered{label_suffix}",
                "",
                "up",
                3,
                f"Share of the subjects for whom {meaning}, by {against}, lies in its conformal interval. Compare it "
                f"with 1 - intervals.miscoverage{caveat}.",
                f"{name}{suffix}_covered",
                "LV",
            )
            for suffix, label_suffix, against, caveat in (
                (
                    "",
                    "",
                    "nnU-Net's labels of the real cine",
                    ", which is reached on average if the subjects are exchangeable",
                ),
                (
                    "_exact",
                    " (exact)",
                    "the exact labels of the synthetic cohort",
                    ", which is not guaranteed here: the intervals are calibrated on nnU-Net's labels",
                ),
            )
        ),
    )
)

_FRECHET = tuple(
    Metric(key, label, "", "down", decimals, definition, "", extractor=extractor, video=video)
    for key, label, extractor, video, decimals, definition in (
        (
            "fid",
            "FID",
            "inception",
            False,
            2,
            "Fréchet distance between the 2048 pool3 features (Inception-v3, 2015-12-05) of all generated and all "
            "real valid slices in the frames after the anchor.",
        ),
        (
            "fvd",
            "FVD",
            "i3d",
            True,
            2,
            "Fréchet distance between the 400 features (I3D, Kinetics-400) of generated and real videos, one video "
            "per valid slice.",
        ),
        *(
            (
                f"fd_{extractor}{'_video' if video else ''}",
                f"FD{' video' if video else ''} ({label})",
                extractor,
                video,
                decimals,
                f"Fréchet distance between the features ({network}) of generated and real "
                + (
                    "videos, one video per valid slice, described by their first cosine coefficients over the cycle, "
                    if video
                    else "valid slices in the frames after the anchor, "
                )
                + "in the leading principal components of the real ones. It is neither FID nor FVD, and comparable "
                "only within one table.",
            )
            for extractor, label, network, decimals in (
                ("imagenet", "ImageNet", "EfficientNet-Lite0, trained on ImageNet", 2),
                ("labeller", "nnU-Net", "the encoder of the cohort's nnU-Net", 5),  # whose features are small
            )
            for video in (False, True)
        ),
    )
)

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        *_IMAGES,
        *_OVERLAP,
        *_DISTANCE,
        *_FUNCTION,
        *_MASS,
        *_CURVE,
        *_DISPLACEMENT,
        *_EJECTION,
        *_RECOVERED,
        *_REGIONAL,
        *_INFARCT,
        *_INTERVALS,
        *_FRECHET,
        *_STRAIN,
    )
}
