import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cof.artefacts.parquet import read_provenance, read_table, write_table
from cof.cine.grid import Placement, write_grid
from cof.cine.volume import Cine, read_cine, write_cine, write_labels
from cof.config.metrics import LONG_FORM, METRICS
from cof.errors import CofError
from cof.figures import bullseye, curves, slice_ranks, spacing, style
from cof.figures.function import INDICES, MASS
from cof.heart.function import time_to_end_systole
from cof.metrics import stage
from cof.metrics.conformal import QUANTITIES, Intervals
from cof.metrics.stage import Reference, evaluate, evaluate_batch, interval_rows
from cof.motion.fields import load_displacement
from cof.tables.table import per_subject
from cof.truth.artefacts import Truth
from cof.truth.stage import write_exact_fields

FRAMES, SLICES, SIZE, SPACING, RR = 20, 4, 48, 2.0, 900.0
PLACEMENT = Placement(
    offset=(0.0, 8.0, 8.0),
    scale=(1.0, 1.0, 1.0),
    shape=(SLICES, 32, 32),
    spacing_mm=(10.0, SPACING, SPACING),
    native_shape=(SLICES, SIZE, SIZE),
    native_spacing_mm=(10.0, SPACING, SPACING),
    intensity=(0.0, 1000.0),
    valid=(True, True, True, True),
)
PHASE = np.arange(FRAMES) / FRAMES
PAIRS = (("a-v2", "p1_2"), ("b-v2", "p2_2"))
CONTRACTION = (1 - np.cos(2 * np.pi * PHASE)) / 2
CORRELATIONS = ("lv_curve_r", "lv_curve_exact_r")


def heart_labels(amplitude: float) -> np.ndarray:
    """A beating cylinder with an RV at its side, [T, Z, Y, X]; its endocardial radius shrinks by `amplitude` mm."""
    y, x = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2) * SPACING
    radius = np.hypot(y, x)[None]
    endocardium = (20 - amplitude * CONTRACTION)[:, None, None]
    labels = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    labels[np.broadcast_to((np.hypot(y, x + 26) < 12)[None], labels.shape)] = 3
    labels[radius < np.sqrt(endocardium**2 + 300)] = 2
    labels[radius < endocardium] = 1
    return np.repeat(labels[:, None], SLICES, axis=1)


def images_of(labels: np.ndarray) -> np.ndarray:
    """Intensities in [0, 1] on the canonical grid, with a fixed texture."""
    texture = 0.05 * np.random.default_rng(0).random((SLICES, 32, 32))
    return (np.array([0.1, 0.9, 0.3, 0.8])[labels][:, :, 8:40, 8:40] + texture).astype(np.float32)


def motion(amplitude: float) -> np.ndarray:
    """Smooth displacement in mm on the motion grid: zero at frame 0, in-plane (3, 4) times amplitude at ES."""
    u = np.zeros((FRAMES, 3, SLICES, 16, 16), np.float32)
    u[:, 1] = 3 * amplitude * CONTRACTION[:, None, None, None]
    u[:, 2] = 4 * amplitude * CONTRACTION[:, None, None, None]
    return u


def reference(truth: Truth | None = None) -> Reference:
    labels = heart_labels(8)
    registered = motion(1)
    return Reference(
        images_of(labels), PLACEMENT, labels, (10.0, SPACING, SPACING), RR, registered, truth, rr_ecg_ms=RR
    )


def native(motion_mm: float) -> np.ndarray:
    """The displacement of `motion` on the native grid."""
    u = np.zeros((FRAMES, 3, SLICES, SIZE, SIZE), np.float16)
    u[:, 1] = (3 * motion_mm * CONTRACTION)[:, None, None, None]
    u[:, 2] = (4 * motion_mm * CONTRACTION)[:, None, None, None]
    return u


def values(rows: list[dict]) -> dict[str, float]:
    """Catalogue key to the subject's value."""
    table = pd.DataFrame(rows, columns=list(LONG_FORM))
    found = {key: per_subject(table, metric) for key, metric in METRICS.items() if not metric.extractor}
    return {key: float(series.iloc[0]) for key, series in found.items() if len(series)}


def test_a_perfect_twin() -> None:
    truth = Truth(heart_labels(8), native(1), (0, 0, 0), 400.0, (1.0,) * 3 + (0.0,) * 13)
    real = reference(truth)
    rows = evaluate("s", {"cine": real.cine, "displacement": real.displacement}, real.labels, real)
    certain = Intervals(0.1, 20, dict.fromkeys(QUANTITIES, 0.0))
    rows += interval_rows("s", real.labels, real, {}, certain)
    got = values(rows)
    of_subjects = {key for key, metric in METRICS.items() if not metric.extractor}
    kicks = {"atrial_kick_error_pct", "atrial_kick_exact_error_pct"}  # not defined, since it fills in one wave
    assert set(got) == of_subjects - kicks
    assert all(np.isnan(row["value"]) for row in rows if row["metric"] in kicks)
    assert kicks <= {row["metric"] for row in rows}
    for key, value in got.items():
        if METRICS[key].statistic != "mean":
            continue  # a single subject has none
        if key.endswith("_covered"):
            assert value == 1, key
            continue
        if key == "min_jacobian" or key.startswith(("ssim", "m_", "dice", "iou")) or key in CORRELATIONS:
            assert value == pytest.approx(1, abs=1e-5), key
        elif key.startswith(("thickening", "strain")):
            assert value == pytest.approx(1, abs=0.05), key  # exact and registered motion differ at the grid's edge
        elif key.startswith("psnr"):
            assert value == float("inf")
        else:
            assert value == pytest.approx(0, abs=5e-3), key  # the exact displacement is stored in half precision


def test_every_row_that_a_figure_reads_is_written() -> None:
    truth = Truth(heart_labels(8), native(1), (0, 0, 0), 400.0, (1.0,) * 3 + (0.0,) * 13)
    real = reference(truth)
    rows = evaluate("s", {"cine": real.cine, "displacement": real.displacement}, real.labels, real)
    written = {(row["metric"], row["structure"]) for row in rows}
    indices = (*INDICES, MASS, *curves.SHAPES)
    wanted = {(f"{one.key}{which}_{one.suffix}", one.structure) for one in indices for which in ("", "_reference")}
    wanted |= {(spacing.SPACING, ""), ("lv_curve_r", "LV")}
    sliced = [slice_ranks.row_name(of, phase) for of in slice_ranks.MEASURES for phase in slice_ranks.PHASES]
    wanted |= {(metric, structure) for metric in (*spacing.MEASURES, *sliced) for structure in style.STRUCTURE}
    wanted |= {
        (f"{name}{which}_pct", f"LV-{segment:02d}")
        for name in bullseye.QUANTITIES
        for which in bullseye.HEARTS.values()
        for segment in range(1, 17)
    }
    assert wanted <= written


def test_a_twin_that_never_moves() -> None:
    real = reference()
    still = {"cine": np.repeat(real.cine[:1], FRAMES, 0), "displacement": motion(0)}
    rows = evaluate("s", still, np.repeat(real.labels[:1], FRAMES, 0), real)
    got = values(rows)
    flags = {row["metric"]: row["value"] for row in rows if "flat" in row["metric"]}
    assert flags == {"m_flat": 1, "m_flat_ed": 1, "m_flat_heart": 1, "lv_curve_flat": 1}
    assert got["m_corr"] == got["m_corr_heart"] == got["m_corr_ed"] == got["lv_curve_r"] == 0
    assert "t_es_error_ms" not in got  # a still heart has no end systole
    counts = (real.labels == 1).sum(axis=(1, 2, 3))
    assert got["ef_error_pct"] == pytest.approx(100 * (1 - counts.min() / counts[0]))
    assert got["edv_error_ml"] == got["lvm_error_g"] == 0
    assert got["sv_error_ml"] == got["esv_error_ml"]
    errors = (counts[0] - counts) * 0.04
    assert got["lv_curve_nrmse"] == pytest.approx(np.sqrt(np.mean(errors**2)) / (counts[0] * 0.04))
    rates = {row["metric"]: row["value"] for row in rows if row["metric"].startswith(("peak_ej", "peak_fi", "filling"))}
    assert rates["peak_ejection_ml_s"] == rates["peak_filling_ml_s"] == rates["filling_waves"] == 0
    assert got["peak_ejection_error_ml_s"] == rates["peak_ejection_reference_ml_s"] > 0
    assert got["esv_error_ml"] == pytest.approx((counts[0] - counts.min()) * 0.04)
    assert got["epe_mm"] == pytest.approx(np.mean(5 * CONTRACTION[1:]), rel=1e-5)


def test_time_to_es_at_the_ecgs_own_rate_is_off_by_the_difference_of_the_rates() -> None:
    """A heart with the right phase of ES, whose ECG was 10 % slower than the scan, is late by 10 % of its time."""
    real = dataclasses.replace(reference(), rr_ecg_ms=1.1 * RR)
    got = values(evaluate("s", {"cine": real.cine}, real.labels, real))
    volumes = (real.labels == 1).sum(axis=(1, 2, 3)).astype(float)
    assert got["t_es_error_ms"] == 0
    assert got["t_es_own_error_ms"] == pytest.approx(0.1 * time_to_end_systole(volumes, RR))
    unheard = dataclasses.replace(real, rr_ecg_ms=float("nan"))
    assert "t_es_own_error_ms" not in values(evaluate("s", {"cine": real.cine}, real.labels, unheard))


def test_the_anchor_frame_counts_nowhere() -> None:
    real = reference()
    rows = evaluate("s", {"cine": real.cine, "displacement": motion(1)}, real.labels, real)
    assert min(row["frame"] for row in rows if row["frame"] is not None) == 1


def by_rank(rows: list[dict], metric: str, structure: str) -> dict[int, float]:
    return {row["slice"]: row["value"] for row in rows if (row["metric"], row["structure"]) == (metric, structure)}


def test_slices_have_ranks_and_three_phases() -> None:
    """The generated heart lacks its RV in the second slice from the base; the stack is stored from apex to base."""
    real = reference()
    labels = real.labels.copy()
    labels[:, 0] = np.where(labels[:, 0] == 3, 0, labels[:, 0])  # the apex, with the smaller area of LV and RV
    real = dataclasses.replace(real, labels=labels)
    ours = heart_labels(4)
    ours[:, 0] = np.where(ours[:, 0] == 3, 0, ours[:, 0])
    ours[:, 2][ours[:, 2] == 3] = 0
    rows = evaluate("s", {"cine": real.cine}, ours, real)
    assert [row["value"] for row in rows if row["metric"] == "ranked_slices"] == [4]
    assert by_rank(rows, "dice_slice_ed", "LV") == dict.fromkeys(range(1, 5), 1.0)
    assert by_rank(rows, "hd95_slice_ed_mm", "myocardium") == dict.fromkeys(range(1, 5), 0.0)
    for suffix in ("", "_ed", "_es"):
        missing = by_rank(rows, f"hd95_slice{suffix}_missing", "RV")
        assert missing == {1: 0, 2: 1, 3: 0, 4: 0}
        assert [rank for rank, value in by_rank(rows, f"dice_slice{suffix}", "RV").items() if np.isnan(value)] == [4]
        assert by_rank(rows, f"iou_slice{suffix}", "RV")[2] == 0
        assert np.isnan(by_rank(rows, f"hd95_slice{suffix}_mm", "RV")[2])
    # At ES the endocardium has a radius of 12 mm, and the generated one of 16 mm.
    ours_es, real_es = ((maps[FRAMES // 2, 1] == 1).sum() for maps in (ours, real.labels))
    assert by_rank(rows, "iou_slice_es", "LV")[3] == pytest.approx(real_es / ours_es)
    assert by_rank(rows, "hd95_slice_es_mm", "LV")[3] == pytest.approx(4, abs=SPACING / 2)
    each = [(real.labels[t, 1] == 1).sum() / (ours[t, 1] == 1).sum() for t in range(1, FRAMES)]
    assert by_rank(rows, "iou_slice", "LV")[3] == pytest.approx(np.mean(each))


def test_a_frame_without_the_structure_has_no_distance_and_is_counted() -> None:
    real = reference()
    ours = real.labels.copy()
    ours[3:7][ours[3:7] == 3] = 0
    table = pd.DataFrame(evaluate("s", {"cine": real.cine}, ours, real), columns=list(LONG_FORM))
    of_rv = table[table["structure"] == "RV"].set_index("metric")["value"]
    assert of_rv["hd95_mm"].isna().sum() == 4
    assert of_rv["hd95_missing"] == pytest.approx(4 / (FRAMES - 1))
    assert (of_rv["hd95_mm"].dropna() == 0).all()


def test_the_distance_of_volumes_counts_slices_by_their_distance() -> None:
    """The generated heart lacks its first slice, so its surface ends 10 mm before the real one."""
    real = reference()
    ours = real.labels.copy()
    ours[:, 0] = 0
    rows = evaluate("s", {"cine": real.cine}, ours, real)
    distances = [row["value"] for row in rows if row["metric"] == "hd95_mm" and row["structure"] == "LV"]
    assert distances == [10.0] * (FRAMES - 1)


def test_the_spacing_is_that_along_a_row() -> None:
    real = dataclasses.replace(reference(), spacing_mm=(10.0, 2.0, 1.5))
    rows = evaluate("s", {"cine": real.cine}, real.labels, real)
    assert [row["value"] for row in rows if row["metric"] == "spacing_in_plane_mm"] == [1.5]


def test_errors_far_from_the_heart_leave_its_metrics_alone() -> None:
    real = reference()
    generated = real.cine.copy()
    generated[:, :, :2, :2] += 0.1 * np.random.default_rng(1).random((FRAMES, SLICES, 2, 2), np.float32)
    rows = evaluate("s", {"cine": generated}, real.labels, real)
    got = values(rows)
    assert got["psnr"] < 70
    assert got["psnr_heart"] == float("inf")
    assert got["m_corr"] < 1
    assert got["m_corr_heart"] == 1
    assert (got["ssim_heart"], got["m_ssim_heart"]) == pytest.approx((1, 1), abs=1e-5)  # windows reach out


def test_images_without_a_difference_are_left_out_and_counted() -> None:
    real = reference()
    cine = real.cine.copy()
    cine[:, 3] = cine[0, 3]  # one slice of four never changes
    rows = evaluate("s", {"cine": real.cine}, real.labels, dataclasses.replace(real, cine=cine))
    found = {row["metric"]: row["value"] for row in rows}
    assert found["m_ssim_range"] == pytest.approx(1)
    assert found["m_ssim_range_missing"] == 0.25


def test_the_anchor_does_not_count_at_another_phase_either() -> None:
    """A heart that stands still as its anchor is right in the anchor's frame alone, and that frame flatters nothing."""
    real = reference()
    anchor = 6
    still = {"cine": np.repeat(real.cine[anchor : anchor + 1], FRAMES, 0)}
    labels = np.repeat(real.labels[anchor : anchor + 1], FRAMES, 0)
    rows = evaluate("s", still, labels, real, anchor / FRAMES)
    counted = {row["frame"] for row in rows if row["metric"] == "dice"}
    assert counted == set(range(FRAMES)) - {anchor}
    got = values(rows)
    others = [frame for frame in range(FRAMES) if frame != anchor]
    error = np.mean((still["cine"][others] - real.cine[others]) ** 2)
    assert got["psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-4)
    counts = (real.labels == 1).sum(axis=(1, 2, 3))
    assert got["edv_error_ml"] == pytest.approx((counts[0] - counts[anchor]) * 0.04)


def test_an_interval_covers_what_it_holds_and_is_as_wide_as_the_spread_asks() -> None:
    real = reference(Truth(heart_labels(6), None, (0, 0, 0), 400.0))
    assert real.truth is not None
    weak = heart_labels(4)
    curves = [(labels == 1).sum(axis=(1, 2, 3)) * 0.04 for labels in (weak, real.labels, real.truth.labels)]
    errors = [abs(curves[0].min() - curve.min()) for curve in curves[1:]]
    assert errors[0] > errors[1] > 0
    between = (errors[0] + errors[1]) / 2 / 3  # in units of 1 + 2 mL
    measures = {"esv_sd_ml": 2.0, "ef_sd_pct": 0.0, "lv_curve_sd_ml": [0.0, 2.0]}
    intervals = Intervals(0.1, 20, {"ef": 0.0, "esv": between, "curve": float("inf")})
    got = values(interval_rows("s", weak, real, measures, intervals))
    assert (got["esv_covered"], got["esv_exact_covered"]) == (0, 1)
    assert (got["ef_covered"], got["curve_covered"]) == (0, 1)
    assert got["esv_interval_width_ml"] == pytest.approx(2 * 3 * between)
    assert got["ef_interval_width_pct"] == 0
    assert got["curve_interval_width_ml"] == float("inf")
    uncalibrated = {row["metric"] for row in interval_rows("s", weak, real, measures, None)}
    assert uncalibrated == {f"{name}{suffix}_score" for name in QUANTITIES for suffix in ("", "_exact")}


def test_in_plane_and_through_plane_errors() -> None:
    real = reference()
    off = motion(1)
    off[1:, 0] += 12.0
    off[1:, 1] += 5.0
    got = values(evaluate("s", {"cine": real.cine, "displacement": off}, real.labels, real))
    assert got["epe_mm"] == pytest.approx(13, rel=1e-5)
    assert got["epe_in_plane_mm"] == pytest.approx(5, rel=1e-5)


def test_the_exact_displacement_is_sampled_where_the_motion_grid_lies() -> None:
    """A field that is linear in space is known at every motion voxel in closed form."""
    exact = np.zeros((FRAMES, 3, SLICES, 30, 34), np.float32)
    origin = (0, 10, 6)
    rows_mm = (np.arange(30) + 10) * SPACING
    columns_mm = (np.arange(34) + 6) * SPACING
    exact[:, 2] = CONTRACTION[:, None, None, None] * (0.1 * rows_mm[:, None] + 0.2 * columns_mm)
    field, known = Truth(heart_labels(8), exact, origin, 400.0).on_motion_grid(PLACEMENT, FRAMES)
    at_mm = (8.5 + 2 * np.arange(16)) * SPACING
    expected = CONTRACTION[:, None, None] * (0.1 * at_mm[:, None] + 0.2 * at_mm)
    np.testing.assert_allclose(field[:, 2, 1, 1:15, :15], expected[:, 1:15, :15], atol=1e-4)
    assert not known[..., 0, :].any()  # rows 8.5 lies above the box
    assert known.any()


def test_a_cine_without_displacement_has_no_end_point_error() -> None:
    truth = Truth(heart_labels(8), native(1), (0, 0, 0), 400.0)
    real = reference(truth)
    got = values(evaluate("s", {"cine": real.cine}, real.labels, real))
    assert not [key for key in got if key.startswith(("epe", "folded", "min_"))]
    assert {"ssim", "dice_lv", "dice_exact_lv"} <= set(got)


def test_folding_is_counted() -> None:
    real = reference()
    u = motion(0)
    u[FRAMES // 2, 2] = -2 * (np.arange(16) * 2 * SPACING)  # x -> -x
    got = values(evaluate("s", {"cine": real.cine, "displacement": u}, real.labels, real))
    assert got["min_jacobian"] == pytest.approx(-1, abs=1e-5)
    assert got["folded_pct"] == pytest.approx(100 / (FRAMES - 1))


def test_invalid_slices_do_not_count() -> None:
    real = reference()
    real = dataclasses.replace(real, placement=dataclasses.replace(PLACEMENT, valid=(True, True, True, False)))
    cine, u = real.cine.copy(), motion(1)
    cine[:, 3] = 0
    u[:, :, 3] = 50
    got = values(evaluate("s", {"cine": cine, "displacement": u}, real.labels, real))
    assert got["ssim"] == pytest.approx(1, abs=1e-6)
    assert got["epe_mm"] == 0


def test_half_the_contraction() -> None:
    real = reference()
    weak = heart_labels(4)
    got = values(evaluate("s", {"cine": images_of(weak)}, weak, real))
    edv, strong, mild = ((labels == 1).sum(axis=(1, 2, 3)) for labels in (real.labels[:1], real.labels, weak))
    assert got["ef_error_pct"] == pytest.approx(100 * (mild.min() - strong.min()) / edv[0])
    assert got["lv_curve_r"] > 0.98
    assert 0.6 < got["dice_lv"] < 0.98
    assert got["t_es_error_ms"] < 40


def test_reference_frames_of_another_number_are_matched_by_phase() -> None:
    real = reference()
    half = real.labels[::2]
    got = values(evaluate("s", {"cine": real.cine}, half, real))
    assert got["dice_lv"] == got["dice_rv"] == 1
    assert got["lv_curve_r"] == pytest.approx(1)


def test_a_twin_on_another_grid_is_refused() -> None:
    real = reference()
    with pytest.raises(CofError, match="grid"):
        evaluate("s", {"cine": real.cine[:, :, :-2]}, real.labels, real)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The folders of a batch of four: one whole, one with a cine alone, one broken, one not generated."""
    names = ["a-v2", "b-v2", "broken-v2", "train-v2"]
    sheet = pd.DataFrame({"subject": names[::-1]})
    write_table(tmp_path / "sheet.parquet", sheet, {})
    key = pd.DataFrame({"subject": names, "participant": ["p1", "p2", "p3", "p4"], "visit": 2})
    write_table(tmp_path / "key.parquet", key, {})
    write_table(
        tmp_path / "beats.parquet", pd.DataFrame({"subject": names, "sex": ["M", "F", "", "F"], "rr_ms": RR}), {}
    )
    affine = np.diag([SPACING, SPACING, 10.0, 1.0])
    labels = heart_labels(8)
    canonical = images_of(labels)
    frames = np.zeros(labels.shape, np.int16)
    rolled = {"b-v2": 3}
    for index, name in enumerate(names):
        times = PHASE * RR
        cine = Cine(frames, affine, times, RR, rolled_by=rolled.get(name, 0))
        write_cine(tmp_path / "cine" / f"{name}.nii", cine)
        write_grid(tmp_path / "grid" / f"{name}.nii", canonical, PLACEMENT, cine)
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", labels, affine)
        exact = np.roll(labels, rolled.get(name, 0), axis=0)  # as recorded
        write_labels(tmp_path / "truth" / f"p{index + 1}_2.labels.nii.gz", exact, affine)
        geometry = {"geometry": json.dumps({"origin": [0, 0, 0]})}
        save_file({"displacement": native(1)}, tmp_path / "truth" / f"p{index + 1}_2.safetensors", metadata=geometry)
        (tmp_path / "truth" / f"p{index + 1}_2.json").write_text(json.dumps({"t_es_ms": 400.0}))
        if name != "train-v2":
            twin = labels[:, :, 1:] if name == "broken-v2" else labels
            write_labels(tmp_path / "twins" / f"{name}.labels.nii.gz", twin, affine)
            arrays = {"cine": canonical.astype(np.float16)}
            if name == "a-v2":
                arrays["displacement"] = motion(1).astype(np.float16)
            save_file(arrays, tmp_path / "twins" / f"{name}.safetensors")
            (tmp_path / "twins" / f"{name}.json").write_text(json.dumps({"anchor_phase": 0.0, "measures": {}}))
            (tmp_path / "fields").mkdir(exist_ok=True)
            save_file({"displacement": motion(1).astype(np.float16)}, tmp_path / "fields" / f"{name}.safetensors")
    return tmp_path


def run(results: Path, out: str, truth: bool = True) -> pd.DataFrame:
    evaluate_batch(
        sheet=results / "sheet.parquet",
        key=results / "key.parquet",
        beats=results / "beats.parquet",
        twins=results / "twins",
        cine=results / "cine",
        labels=results / "labels",
        grid=results / "grid",
        fields=results / "fields",
        truth=results / "truth" if truth else None,
        out=results / out,
        exclusions=results / f"excluded-{out}",
    )
    return read_table(results / out)


def test_a_batch(results: Path) -> None:
    table = run(results, "metrics.parquet")
    assert tuple(table.columns) == LONG_FORM
    assert set(table["subject"]) == {"a-v2", "b-v2"}
    excluded = read_table(results / "excluded-metrics.parquet")
    assert excluded[["subject", "stage", "reason"]].values.tolist() == [["broken-v2", "metrics", "cine_geometry"]]
    by_key = {key: per_subject(table, metric) for key, metric in METRICS.items() if not metric.extractor}
    assert by_key["ssim"].to_dict() == pytest.approx({"a-v2": 1, "b-v2": 1}, abs=1e-3)
    assert by_key["epe_true_mm"].to_dict() == pytest.approx({"a-v2": 0}, abs=0.01)
    # The truth of a rolled cine is rolled with it.
    assert by_key["dice_exact_lv"].to_dict() == {"a-v2": 1, "b-v2": 1}
    assert by_key["t_es_exact_error_ms"].to_dict() == pytest.approx({"a-v2": 0, "b-v2": 0})
    assert read_provenance(results / "metrics.parquet")["config_hash"]
    run(results, "again.parquet")
    assert (results / "again.parquet").read_bytes() == (results / "metrics.parquet").read_bytes()
    names = set(table["metric"])
    assert {"ef_score", "curve_score"} <= names
    assert not [name for name in names if "covered" in name]


def test_exact_motion_stands_in_the_place_of_registered_motion(results: Path) -> None:
    write_exact_fields(
        key=results / "key.parquet",
        cine=results / "cine",
        grid=results / "grid",
        truth=results / "truth",
        out=results / "exact",
        exclusions=results / "excluded.parquet",
    )
    # That of a rolled cine is not known against its frame 0.
    assert {path.stem for path in (results / "exact").glob("[!.]*")} == {"a-v2", "broken-v2", "train-v2"}
    exact = load_displacement(results / "exact" / "a-v2.safetensors")
    assert exact.dtype == torch.float16
    assert torch.count_nonzero(exact[0]) == 0
    np.testing.assert_allclose(exact, motion(1), atol=0.01)
    twin = results / "twins" / "a-v2.safetensors"
    save_file(load_file(twin) | {"displacement": exact.numpy()}, twin)
    assert per_subject(run(results, "m.parquet"), METRICS["epe_true_mm"])["a-v2"] == pytest.approx(0, abs=0.01)


def test_covariates_are_rows(results: Path) -> None:
    table = run(results, "metrics.parquet").set_index(["subject", "metric"]).sort_index()["value"]
    assert table.loc["a-v2", "male"].tolist() == [1]
    assert table.loc["b-v2", "male"].tolist() == [0]
    assert table.loc["a-v2", "hr_bpm"].tolist() == pytest.approx([60_000 / RR])


def test_real_subjects_have_no_exact_metrics(results: Path) -> None:
    table = run(results, "metrics.parquet", truth=False)
    assert not [name for name in table["metric"].unique() if "exact" in name or "true" in name]


def test_an_empty_batch_gives_an_empty_table_of_the_same_types(results: Path) -> None:
    full = run(results, "metrics.parquet")
    write_table(results / "sheet.parquet", pd.DataFrame({"subject": pd.Series([], dtype="string")}), {})
    empty = run(results, "empty.parquet")
    assert empty.empty
    assert (empty.dtypes == full.dtypes).all()


def test_the_truth_of_a_rolled_cine(results: Path) -> None:
    truth = {name: Truth.read(results / "truth", p, read_cine(results / "cine" / f"{name}.nii")) for name, p in PAIRS}
    assert truth["a-v2"].displacement is not None
    assert truth["a-v2"].t_es_ms == 400
    assert truth["b-v2"].displacement is None  # it refers to a frame that is not this cine's first
    assert truth["b-v2"].t_es_ms == pytest.approx(400 - 3 * RR / FRAMES)
    np.testing.assert_array_equal(truth["a-v2"].labels, truth["b-v2"].labels)


def test_a_participant_without_exact_displacement_keeps_its_exact_labels(results: Path) -> None:
    (results / "truth" / "p1_2.safetensors").unlink()
    table = run(results, "metrics.parquet")
    names = set(table.loc[table["subject"] == "a-v2", "metric"])
    assert {"dice_exact", "t_es_true_ms", "epe_mm"} <= names
    assert "epe_true_mm" not in names


def test_a_lone_anchor_is_no_reference(results: Path) -> None:
    path = results / "cine" / "a-v2.nii"
    cine = read_cine(path)
    write_cine(path, Cine(np.array(cine.frames[:1]), cine.affine, np.zeros(1), float("nan")))
    assert set(run(results, "metrics.parquet")["subject"]) == {"b-v2"}
    assert set(read_table(results / "excluded-metrics.parquet")["subject"]) == {"broken-v2"}


@pytest.mark.parametrize(("oriented", "mirrored"), [(True, True), (False, False)])
def test_only_a_stack_with_an_orientation_can_be_mirrored(monkeypatch, tmp_path, oriented, mirrored):
    """Without one, images are taken to be views from the apex, whatever the nominal directions make of them."""
    frames = np.zeros((2, 3, 4, 4), np.int16)
    native = Cine(frames, np.diag([-1.5, -1.5, 10, 1]), np.array([0, 400.0]), 800.0, oriented=oriented)
    monkeypatch.setattr(stage, "read_grid", lambda path: (frames, None, None))
    monkeypatch.setattr(stage, "read_labels", lambda path: frames)
    reference = stage.read_reference("a", native, tmp_path, tmp_path, tmp_path, None, "")
    assert reference.mirrored is mirrored
