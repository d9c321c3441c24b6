"""The rows of regional function: their names, what is compared with what, and in which frame."""

from collections import defaultdict

import numpy as np
import pytest

from cof.cine.grid import Placement
from cof.metrics.regional import RegionalFunction
from cof.metrics.regional_rows import Regions, _infarct, regional_rows
from cof.truth.sampling import motion_voxels
from tube import INNER_MM, OUTER_MM, SHAPE, SPACING_MM, Contraction, tube

PLACEMENT = Placement((0.0,) * 3, (1.0,) * 3, SHAPE, SPACING_MM, SHAPE, SPACING_MM, (0.0, 1.0), (True,) * SHAPE[0])
RR_MS = 900.0
# Radius of the cavity in mm in every frame; that of the reference is smallest in frame 3.
REFERENCE = (INNER_MM, 10.5, 9.0, 8.0, 9.5, 11.0)
GENERATED = (INNER_MM, 11.0, 10.0, 9.5, 9.0, 11.5)
SEGMENTS = [f"LV-{number:02d}" for number in range(1, 17)]


def beating(radii: tuple[float, ...]) -> np.ndarray:
    axes = [voxels * step for voxels, step in zip(motion_voxels(PLACEMENT), SPACING_MM)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return np.stack([np.moveaxis(Contraction(radius, 1.0, 0.0).pull(at), -1, 0) for radius in radii]).astype(np.float32)


def labels(radii: tuple[float, ...] = REFERENCE) -> np.ndarray:
    """Labels of the real cine: only ED is a tube with a wall, of the others the volume of the cavity counts."""
    frames = np.repeat(tube()[None], len(radii), 0)
    for frame, radius in zip(frames[1:], radii[1:]):
        kept = round((frame == 1).sum() * radius**2 / INNER_MM**2)
        frame[tuple(np.argwhere(frame == 1)[kept:].T)] = 2
    return frames


Table = dict[str, dict[str, float]]


def table(
    generated: tuple[float, ...], registered: tuple[float, ...] | None, exact: tuple[float, ...] | None = None
) -> Table:
    """Metric -> structure -> value."""
    references = {"registered": registered, "exact": exact}
    found: Table = defaultdict(dict)
    scar = (0.0,) * 6 + (1.0,) + (0.0,) * 9
    fields = {name: None if radii is None else beating(radii) for name, radii in references.items()}
    for metric, value, structure in regional_rows(labels(), PLACEMENT, RR_MS, False, beating(generated), fields, scar):
        assert structure not in found[metric]
        found[metric][structure] = value
    return found


@pytest.fixture(scope="module")
def rows() -> Table:
    return table(GENERATED, REFERENCE, REFERENCE)


def test_each_segment_has_its_rows_for_the_three_hearts(rows: Table) -> None:
    directions = ("circumferential", "radial", "longitudinal")
    for name in ("", "_reference", "_true"):
        for metric in (*(f"strain_{one}{name}_pct" for one in directions), f"wall_thickening{name}_pct"):
            assert list(rows[metric]) == SEGMENTS
        assert list(rows[f"peak_time{name}_ms"]) == SEGMENTS
        for short, direction in zip(("gcs", "grs", "gls"), directions):
            mean = np.mean(list(rows[f"strain_{direction}{name}_pct"].values()))
            assert rows[f"{short}{name}_pct"] == {"LV": pytest.approx(mean)}
    assert list(rows["wall_thickness_ed_mm"]) == SEGMENTS
    np.testing.assert_allclose(list(rows["wall_thickness_ed_mm"].values()), OUTER_MM - INNER_MM, atol=0.35)


def test_strains_are_those_of_the_frame_in_which_the_real_lv_is_smallest(rows: Table) -> None:
    """The generated LV is smallest one frame later."""
    middle = (INNER_MM + OUTER_MM) / 2
    for name, radii in (("", GENERATED), ("_reference", REFERENCE), ("_true", REFERENCE)):
        exact = 100 * (Contraction(radii[3], 1.0, 0.0).radius(np.array(middle)) / middle - 1)
        assert rows[f"gcs{name}_pct"]["LV"] == pytest.approx(exact, abs=0.5)
    for suffix, name in (("", "_reference"), ("_true", "_true")):
        for short in ("gcs", "grs", "gls"):
            error = rows[f"{short}_pct"]["LV"] - rows[f"{short}{name}_pct"]["LV"]
            assert rows[f"{short}{suffix}_error_pct"]["LV"] == pytest.approx(error, abs=1e-9)
    assert rows["gcs_error_pct"]["LV"] > 2  # it shortens less
    assert rows["grs_error_pct"]["LV"] < -5


def test_the_frame_is_found_by_phase_where_the_numbers_of_frames_differ() -> None:
    twice = tuple(np.interp(np.arange(12) / 2, np.arange(7), (*REFERENCE, REFERENCE[0])))
    assert table(twice, None)["gcs_pct"]["LV"] == pytest.approx(table(REFERENCE, None)["gcs_pct"]["LV"], abs=1e-6)


def test_a_heart_agrees_with_itself_and_a_still_one_with_nothing() -> None:
    same = table(REFERENCE, REFERENCE)
    for metric in ("strain_circumferential_r", "strain_radial_r", "thickening_r"):
        assert same[metric]["LV"] == pytest.approx(1, abs=1e-6)
    assert same["gcs_error_pct"]["LV"] == same["peak_sd_error_ms"]["LV"] == 0
    still = table((INNER_MM,) * 6, REFERENCE)
    assert still["strain_circumferential_r"]["LV"] == still["strain_radial_r"]["LV"] == 0
    assert still["gcs_pct"]["LV"] == pytest.approx(0, abs=1e-6)
    assert not {"gcs_true_error_pct", "infarct_thickening_pct"} & set(still)


def test_without_any_reference_the_own_values_remain() -> None:
    alone = table(GENERATED, None)
    assert "gcs_pct" in alone
    assert not [metric for metric in alone if "error" in metric or metric.endswith("_r") or "reference" in metric]


def test_the_infarct_is_compared_with_exact_motion(rows: Table) -> None:
    assert rows["infarct_thickening_pct"]["LV"] == rows["wall_thickening_pct"]["LV-07"]
    assert rows["infarct_thickening_true_pct"]["LV"] == rows["wall_thickening_true_pct"]["LV-07"]


def test_the_infarct_is_averaged_over_the_segments_that_both_hearts_have() -> None:
    """The generated heart lacks one of three scars, in which the real one thickens most."""

    def heart(thickening_pct: list[float]) -> Regions:
        thickness = np.ones((2, 16))
        thickness[1, :3] = 1 + np.array(thickening_pct) / 100
        return Regions(RegionalFunction(np.zeros(16), thickness, 1), {})

    found = {metric: value for metric, value, _ in _infarct(heart([4, 6, np.nan]), heart([1, 3, 50]), np.arange(3))}
    assert found == {
        "infarct_thickening_pct": pytest.approx(5),
        "infarct_thickening_true_pct": pytest.approx(2),
    }
    assert not list(_infarct(heart([np.nan] * 3), heart([1, 3, 50]), np.arange(3)))
