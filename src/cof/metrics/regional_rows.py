"""Rows of regional function: wall thickness, timing and strain of the LV's segments, for generated and real motion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cof.cine.grid import Placement, nearest_frame
from cof.heart.function import pearson
from cof.heart.segments import SEGMENTS
from cof.heart.strain import by_segment, engineering_pct, mean_of_segments
from cof.heart.structures import STRUCTURES
from cof.metrics.regional import RegionalFunction, regional_function
from cof.metrics.strain import wall_stretch

Row = tuple[str, float, str]  # metric, value, structure

# A segment counts as infarcted if more than this share of it is scar.
SCARRED = 0.5
_GLOBAL = {"circumferential": "gcs", "radial": "grs", "longitudinal": "gls"}
# The reference of a comparison -> what the names of its own values hold, and those of errors and correlations.
_REFERENCES = {"registered": ("_reference", ""), "exact": ("_true", "_true")}


@dataclass(frozen=True)
class Regions:
    """Regional function of one heart.

    Attributes:
        function: thickness and timing.
        strain_pct: engineering strain [16] by direction, in the frame of the reference's ES.
    """

    function: RegionalFunction
    strain_pct: dict[str, np.ndarray]


def regional_rows(
    labels: np.ndarray,
    placement: Placement,
    rr_ms: float,
    mirrored: bool,
    generated: np.ndarray,
    references: Mapping[str, np.ndarray | None],
    infarct_share: tuple[float, ...] = (),
) -> Iterator[Row]:
    """Yield the rows of one subject: metric, value, structure.

    Strain is compared in one frame, that of the smallest LV in the real cine's labels.

    Args:
        labels: native labels [T', Z', Y', X'] of the real cine; frame 0 is the anchor of all motions.
        placement: placement of the canonical grid.
        rr_ms: duration of the cycle.
        mirrored: whether the image is a mirror image of the short-axis view from the apex.
        generated: displacement [T, 3, Z, Y/2, X/2] in mm, pulling back to the anchor.
        references: `registered` and `exact` displacements of the same shape, or None.
        infarct_share: scar share of each segment; empty if it is not known.
    """
    smallest = int((labels == STRUCTURES["LV"]).sum(axis=(1, 2, 3)).argmin())

    def of(displacement: np.ndarray) -> Regions:
        es = nearest_frame(smallest / len(labels), len(displacement))
        stretch = wall_stretch(labels[0], displacement[[es]], placement, mirrored)
        return Regions(
            regional_function(labels[0], displacement, placement, rr_ms, mirrored),
            {name: by_segment(engineering_pct(getattr(stretch, name)), stretch.segments)[0] for name in _GLOBAL},
        )

    made = of(generated)
    yield from _own(made, "")
    yield from _segments("wall_thickness_ed_mm", made.function.thickness_mm[0])
    for reference, (name, suffix) in _REFERENCES.items():
        displacement = references[reference]
        if displacement is None:
            continue
        real = of(displacement)
        yield from _own(real, name)
        yield from _compared(made, real, suffix)
        if reference == "exact":
            yield from _infarct(made, real, np.flatnonzero(np.array(infarct_share) > SCARRED))


def _own(heart: Regions, name: str) -> Iterator[Row]:
    """Yield the values of one heart; `name` tells which one."""
    yield f"peak_sd{name}_ms", heart.function.peak_sd_ms, "LV"
    yield from _segments(f"peak_time{name}_ms", heart.function.peak_ms)
    yield from _segments(f"wall_thickening{name}_pct", heart.function.thickening_pct)
    for direction, short in _GLOBAL.items():
        yield f"{short}{name}_pct", mean_of_segments(heart.strain_pct[direction]), "LV"
        yield from _segments(f"strain_{direction}{name}_pct", heart.strain_pct[direction])


def _segments(metric: str, values: np.ndarray) -> Iterator[Row]:
    for number, value in enumerate(values, 1):
        yield metric, float(value), f"LV-{number:02d}"


def _compared(made: Regions, real: Regions, suffix: str) -> Iterator[Row]:
    """Yield signed errors, and correlations over the segments; 0 if either heart is the same in all of them."""
    yield f"peak_sd{suffix}_error_ms", made.function.peak_sd_ms - real.function.peak_sd_ms, "LV"
    for direction, short in _GLOBAL.items():
        means = [mean_of_segments(heart.strain_pct[direction]) for heart in (made, real)]
        yield f"{short}{suffix}_error_pct", means[0] - means[1], "LV"
    pairs = {
        "thickening": (made.function.thickening_pct, real.function.thickening_pct),
        "strain_circumferential": (made.strain_pct["circumferential"], real.strain_pct["circumferential"]),
        "strain_radial": (made.strain_pct["radial"], real.strain_pct["radial"]),
    }
    for metric, (ours, theirs) in pairs.items():
        both = np.isfinite(ours) & np.isfinite(theirs)
        if both.sum() > SEGMENTS / 2:
            yield f"{metric}{suffix}_r", float(np.nan_to_num(pearson(ours[both], theirs[both]))), "LV"


def _infarct(made: Regions, real: Regions, scar: np.ndarray) -> Iterator[Row]:
    """Yield the mean thickening of the infarcted segments that are known in both hearts."""
    ours, theirs = made.function.thickening_pct[scar], real.function.thickening_pct[scar]
    both = np.isfinite(ours) & np.isfinite(theirs)
    if both.any():
        yield "infarct_thickening_pct", float(ours[both].mean()), "LV"
        yield "infarct_thickening_true_pct", float(theirs[both].mean()), "LV"
