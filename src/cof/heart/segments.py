"""The 16 segments of the left ventricle of the American Heart Association, AHA (Cerqueira et al., Circulation 105:539,
2002).

Six basal, six mid and four apical segments; the seventeenth, the cap of the apex, has no cavity in a short-axis slice.
The slices that show the cavity are divided into thirds. Angles are counted as in a view from the apex: 0 degrees
lateral, 90 anterior, 180 septal, 270 inferior. The direction from the LV to the RV is the middle of the septum, so it
is the border of the two septal segments of a ring; the insertions of the RV, 60 degrees to both sides, are the other
borders of these segments.
"""

import numpy as np

from cof.heart.structures import STRUCTURES

SEGMENTS = 16
_WALLS = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
NAMES = (
    *(f"{level} {wall}" for level in ("basal", "mid") for wall in _WALLS),
    *(f"apical {wall}" for wall in ("anterior", "septal", "inferior", "lateral")),
)
# Centres of the segments of a ring, and of the apex, in degrees.
RING = (90.0, 150.0, 210.0, 270.0, 330.0, 30.0)
APEX = (90.0, 180.0, 270.0, 0.0)
WIDTHS_RAD = 2 * np.pi / np.repeat([6, 6, 4], [6, 6, 4])
_APICAL = 2
_SEPTAL_DEG = 180.0


def degrees(down: np.ndarray, across: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return angles of offsets in mm in an image, from its right over its top; over its bottom if it is mirrored."""
    return np.rad2deg(np.arctan2(down if mirrored else -down, across))


def offsets(degree: np.ndarray, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit steps down and across of angles in an image, as the inverse of `degrees`."""
    rad = np.deg2rad(degree)
    return np.sin(rad) if mirrored else -np.sin(rad), np.cos(rad)


def turn_to_septum(labels: np.ndarray, spacing_mm: tuple[float, float, float], mirrored: bool) -> float | None:
    """Return what has to be added to the angles of an image so that 180 degrees point from the LV to the RV.

    Args:
        labels: [Z, Y, X], slices from base to apex.
        spacing_mm: along z, y, x.
        mirrored: whether the image is a mirror image of the short-axis view from the apex.

    Returns:
        The angle in degrees; None for labels without LV or RV.
    """
    left, right = (np.argwhere(labels == STRUCTURES[name])[:, 1:] for name in ("LV", "RV"))
    if not len(left) or not len(right):
        return None
    down, across = (right.mean(0) - left.mean(0)) * spacing_mm[1:]
    return _SEPTAL_DEG - float(degrees(down, across, mirrored))


def levels(count: int) -> np.ndarray:
    """Return the level, 0 basal, 1 mid or 2 apical, of each of `count` slices with a cavity, from base to apex."""
    return 3 * np.arange(count) // max(count, 1)


def segment_at(degree: np.ndarray, level: int) -> np.ndarray:
    """Return the segments, 1 to 16, at angles of one level; the middle of the septum is at 180 degrees."""
    centres = np.array(APEX if level == _APICAL else RING)
    distance = np.abs((degree[..., None] - centres + 180) % 360 - 180)
    return distance.argmin(-1) + 1 + len(RING) * level


def aha_segments(
    labels: np.ndarray, spacing_mm: tuple[float, float, float], valid: tuple[bool, ...], mirrored: bool
) -> np.ndarray:
    """Return the segment, 1 to 16, of each voxel of a stack.

    The angle is counted about the centre of the cavity in every slice.

    Args:
        labels: [Z, Y, X], slices from base to apex.
        spacing_mm: along z, y, x.
        valid: Z flags; other slices are left out.
        mirrored: as in `turn_to_septum`.

    Returns:
        uint8 [Z, Y, X], 0 in slices without a cavity, and everywhere if there is no RV.
    """
    result = np.zeros(labels.shape, np.uint8)
    turn = turn_to_septum(labels, spacing_mm, mirrored)
    if turn is None:
        return result
    cavity = labels == STRUCTURES["LV"]
    held = [z for z in range(len(labels)) if cavity[z].any() and valid[z]]
    rows, columns = np.indices(labels.shape[1:])
    for z, level in zip(held, levels(len(held))):
        y, x = np.argwhere(cavity[z]).mean(0)
        angle = degrees((rows - y) * spacing_mm[1], (columns - x) * spacing_mm[2], mirrored)
        result[z] = segment_at(angle + turn, int(level))
    return result
