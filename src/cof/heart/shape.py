"""Size and shape of the ventricles in one frame, from its labels."""

import numpy as np

from cof.heart.structures import STRUCTURES

# The measures, of which natural logarithms are taken: three volumes, two ratios of them, and in the middle of the LV
# its diameter, its wall thickness, and the ratio of thickness to radius.
SHAPE = (
    "lv_ml",
    "myocardium_ml",
    "rv_ml",
    "myocardium_per_lv",
    "rv_per_lv",
    "diameter_mm",
    "wall_mm",
    "wall_per_radius",
)


def shape(labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Measure size and shape of the ventricles in one frame.

    Diameter and wall thickness are those of circles with the areas of LV, and of LV with myocardium. They are measured
    in the middle half of the slices that show both: the largest diameter, and the mean thickness.

    Args:
        labels: [Z, Y, X], slices from base to apex.
        spacing_mm: along z, y, x; z includes the slice gap.

    Returns:
        [8], the logarithms of the measures in `SHAPE`; all NaN if there is no RV, or no slice with LV and myocardium.
    """
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    cavity, wall, right = (
        (labels == STRUCTURES[name]).sum(axis=(1, 2)) * pixel_mm2 for name in ("LV", "myocardium", "RV")
    )
    rings = np.flatnonzero((cavity > 0) & (wall > 0))
    if not len(rings) or not right.any():
        return np.full(len(SHAPE), np.nan)
    first = len(rings) // 4
    middle = rings[first : max(first + 1, 3 * len(rings) // 4)]
    radius = np.sqrt(cavity[middle] / np.pi)
    thickness = np.sqrt((cavity[middle] + wall[middle]) / np.pi) - radius
    lv_ml, myocardium_ml, rv_ml = (float(area.sum()) * spacing_mm[0] / 1000 for area in (cavity, wall, right))
    return np.log(
        [
            lv_ml,
            myocardium_ml,
            rv_ml,
            myocardium_ml / lv_ml,
            rv_ml / lv_ml,
            2 * radius.max(),
            thickness.mean(),
            thickness.mean() / radius.mean(),
        ]
    )
