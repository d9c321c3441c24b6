import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from cof.artefacts.parquet import write_table
from cof.config import parse
from cof.config.evaluation import EvaluationSettings, TableSettings
from cof.config.metrics import DEFINITIONS_VERSION, LONG_FORM, METRICS
from cof.errors import UsageError
from cof.report.plots import render
from cof.report.sections.numbers import intervals
from cof.tables.bootstrap import interval_of, resampled
from cof.tables.paper import paper_table
from cof.tables.renderings import CSV_COLUMNS, to_csv, to_latex, to_markdown
from cof.tables.stage import make_table
from cof.tables.table import Table, build_table, catalogued, per_subject, summarise

PROVENANCE = {"config_hash": "abc123", "versions": {"cof": "1.0"}, "definitions": "1"}
EVALUATION = EvaluationSettings(bootstrap=500)


def long_form(**metrics: dict[str, float]) -> pd.DataFrame:
    """Rows of metrics that have neither structure nor frame, from metric to subject to value."""
    rows = [
        (subject, "", pd.NA, pd.NA, metric, value, DEFINITIONS_VERSION)
        for metric, values in metrics.items()
        for subject, value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(LONG_FORM)).astype({"frame": "Int32", "slice": "Int32", "value": float})


def table_of(rows: dict[str, pd.DataFrame], chosen: TableSettings, *more: object) -> Table:
    """The table of models whose rows came in two batches, half of the subjects in each."""
    measured = {}
    for model, frame in rows.items():
        first = set(sorted(set(frame["subject"]))[::2])
        halves = [frame[frame["subject"].isin(first) == chosen_half] for chosen_half in (True, False)]
        measured[model] = summarise(halves, catalogued(chosen.metrics))
    return build_table(measured, chosen, *more)


def numbered(values: list[float], start: int = 0) -> dict[str, float]:
    return {f"s{start + index:02d}": value for index, value in enumerate(values)}


def settings(*metrics: str, paper: str | None = None, **models: str) -> TableSettings:
    return TableSettings(title="Test & table", models=models, metrics=metrics, paper=paper)


@pytest.mark.parametrize("key", [key for key in METRICS if "edv" in key.split("_")[:2] or key.startswith("lvm")])
def test_a_table_with_edv_says_that_it_is_the_anchors(key: str) -> None:
    rows = {"a": long_form(ssim=numbered([0.1, 0.2]))}
    rows["a"] = pd.concat([rows["a"], long_form(**{METRICS[key].metric: numbered([0.0, 0.0])})])
    rows["a"].loc[rows["a"]["metric"] == METRICS[key].metric, "structure"] = METRICS[key].structure
    table = table_of(rows, settings("ssim", key, a="A"), EVALUATION, PROVENANCE)
    said = f"{METRICS[key].label}: a heart whose anchor shows end diastole"
    assert said in to_markdown(table)
    assert "by construction" in to_latex(table)
    without = table_of(rows, settings("ssim", a="A"), EVALUATION, PROVENANCE)
    assert "by construction" not in to_markdown(without)


def test_cells_are_means_with_paired_differences_over_the_shared_subjects() -> None:
    rows = {
        "a": long_form(ssim=numbered([0.1, 0.2, 0.3, 0.9])),
        "b": long_form(ssim=numbered([0.4, 0.4, 0.7], start=1)),
    }
    table = table_of(rows, settings("ssim", a="A", b="B"), EVALUATION, PROVENANCE)
    assert table.subjects == ("s01", "s02", "s03")
    first, second = table.cells["a", "ssim"], table.cells["b", "ssim"]
    assert (first.n, first.mean) == (3, pytest.approx(1.4 / 3))
    assert first.sd == pytest.approx(np.std([0.2, 0.3, 0.9], ddof=1))
    assert np.isnan(first.difference)
    assert second.difference == pytest.approx(np.mean([0.2, 0.1, -0.2]))
    low, high = second.difference_interval
    assert -0.2 - 1e-9 <= low < second.difference < high <= 0.2 + 1e-9


def test_a_column_is_a_family_of_tests() -> None:
    """Eight subjects of whom all improve: p is 2 in 256 exchanges, times the number of rows that are tested."""
    base = np.random.default_rng(0).random(8)
    shifts = {"first": 0.0, "better": 0.3, "worse": -0.3, "equal": 0.0}
    rows = {name: long_form(ssim=numbered(list(base + shift))) for name, shift in shifts.items()}
    rows["without"] = long_form(psnr=numbered(list(base)))
    names = {name: name.title() for name in rows}
    table = table_of(rows, settings("ssim", **names), EVALUATION, PROVENANCE)
    cells = {name: table.cells[name, "ssim"] for name in rows}
    assert [cells[name].p for name in ("better", "worse", "equal")] == [2 / 256, 2 / 256, 1]
    assert [cells[name].p_holm for name in ("better", "worse", "equal")] == pytest.approx([6 / 256, 6 / 256, 1])
    assert np.isnan([cells["first"].p, cells["without"].p, cells["without"].p_holm]).all()
    text = to_markdown(table)
    assert "| Better − First | +0.300 [+0.300, +0.300] * |" in text
    assert "| Equal − First | +0.000 [+0.000, +0.000] |" in text
    assert "corrected by Holm" in text
    long = pd.read_csv(io.StringIO(to_csv(table))).set_index("model")
    assert long.loc["better", "p_holm"] == pytest.approx(6 / 256)


def test_a_constant_difference_has_an_interval_of_no_width() -> None:
    values = numbered(list(np.random.default_rng(0).random(12)))
    rows = {"a": long_form(ssim=values), "b": long_form(ssim={k: v + 0.25 for k, v in values.items()})}
    cell = table_of(rows, settings("ssim", a="A", b="B"), EVALUATION, PROVENANCE).cells["b", "ssim"]
    assert cell.interval[1] - cell.interval[0] > 0.1
    assert cell.difference_interval == pytest.approx((0.25, 0.25))


def test_the_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).gamma(2, size=40)
    ours = interval_of(resampled(values[:, None], 20000, seed=0))
    reference = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", random_state=1)
    assert ours == pytest.approx(tuple(reference.confidence_interval), abs=0.02)
    assert ours == interval_of(resampled(values[:, None], 20000, seed=0))
    assert ours != interval_of(resampled(values[:, None], 20000, seed=1))


def test_one_subject_has_no_interval() -> None:
    assert np.isnan(interval_of(resampled(np.array([[1.0]]), 100, 0))).all()
    table = table_of({"a": long_form(ssim={"s": 0.5})}, settings("ssim", a="A"), EVALUATION, PROVENANCE)
    assert "| A | 0.500 |" in to_markdown(table)


def test_frames_are_averaged_and_signed_errors_lose_their_sign_first() -> None:
    rows = pd.DataFrame(
        [
            ("s", "LV", 1, pd.NA, "dice", 0.5, "1"),
            ("s", "LV", 2, pd.NA, "dice", np.nan, "1"),
            ("s", "LV", 3, pd.NA, "dice", 1.0, "1"),
            ("s", "RV", 1, pd.NA, "dice", 0.1, "1"),
            ("s", "LV", pd.NA, pd.NA, "edv_error_ml", -8.0, "1"),
            ("t", "LV", pd.NA, pd.NA, "edv_error_ml", 2.0, "1"),
        ],
        columns=list(LONG_FORM),
    )
    assert per_subject(rows, METRICS["dice_lv"]).to_dict() == {"s": 0.75}
    assert per_subject(rows, METRICS["edv_error_ml"]).to_dict() == {"s": 8, "t": 2}


def test_a_quantity_that_a_model_has_not_is_a_dash_and_restricts_nobody() -> None:
    rows = {
        "warped": long_form(ssim=numbered([0.1, 0.2]), min_jacobian=numbered([0.5, 0.7])),
        "video": long_form(ssim=numbered([0.3, 0.4])),
    }
    table = table_of(rows, settings("ssim", "min_jacobian", warped="W", video="V"), EVALUATION, PROVENANCE)
    assert table.cells["warped", "min_jacobian"].n == 2
    assert table.cells["video", "min_jacobian"].n == 0
    line = next(line for line in to_markdown(table).splitlines() if line.startswith("| V |"))
    assert line.endswith("| – |")
    assert "the model has no such quantity" in to_markdown(table)


def test_a_quantity_that_is_undefined_for_some_subjects_is_compared_on_the_others() -> None:
    rows = {
        "a": long_form(ssim=numbered([0.1, 0.2, 0.3]), min_jacobian=numbered([1.0, 2.0, 3.0])),
        "b": long_form(ssim=numbered([0.1, 0.2, 0.3]), min_jacobian=numbered([float("nan"), 2.5, 3.5])),
    }
    table = table_of(rows, settings("ssim", "min_jacobian", a="A", b="B"), EVALUATION, PROVENANCE)
    assert table.cells["a", "min_jacobian"].mean == pytest.approx(2.5)
    assert table.cells["b", "min_jacobian"].difference == pytest.approx(0.5)
    assert "Defined for fewer subjects (n): Min Jacobian 2." in to_markdown(table)


def test_differences_need_the_first_row_to_have_the_quantity() -> None:
    rows = {
        "a": long_form(ssim=numbered([0.1, 0.2])),
        "b": long_form(ssim=numbered([0.1, 0.2]), min_jacobian=numbered([1.0, 2.0])),
    }
    table = table_of(rows, settings("ssim", "min_jacobian", a="A", b="B"), EVALUATION, PROVENANCE)
    assert np.isnan(table.cells["b", "min_jacobian"].difference)
    assert table.cells["b", "min_jacobian"].mean == pytest.approx(1.5)


def test_the_papers_numbers_stand_beside_ours_as_another_data_set() -> None:
    values = numbered([0.9, 0.95])
    rows = {"cof": long_form(ssim=values, m_corr_ed=values), "static": long_form(ssim=values, m_corr_ed=values)}
    chosen = settings("ssim", "m_corr_ed", paper="table1", cof="COF", static="Static anchor")
    table = table_of(rows, chosen, EVALUATION, PROVENANCE)
    text = to_markdown(table)
    assert "paper's SSIM †" in text
    assert "paper's M-Corr (ED)" not in text  # the paper has no such column
    assert "† The paper's numbers, measured on another data set (UK Biobank" in text
    lines = {row["row"] + row["metric"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert lines["COFssim"]["paper"] == "0.984"
    assert lines["COFssim"]["paper_cohort"].startswith("UK Biobank")
    assert lines["Static anchorssim"]["paper"] == lines["Static anchorssim"]["paper_cohort"] == ""
    without = table_of(rows, settings("ssim", cof="COF", static="S"), EVALUATION, PROVENANCE)
    assert "†" not in to_markdown(without)


def test_the_csv_is_exact() -> None:
    values = [1 / 3, 2 / 7, 0.1]
    table = table_of({"a": long_form(ssim=numbered(values))}, settings("ssim", a="A"), EVALUATION, PROVENANCE)
    (row,) = csv.DictReader(io.StringIO(to_csv(table)))
    assert tuple(row) == CSV_COLUMNS
    assert float(row["mean"]) == np.mean(values)
    assert row["difference"] == ""
    assert (row["config_hash"], row["versions"], row["n"]) == ("abc123", "cof=1.0", "3")


def test_latex_is_escaped_and_balanced() -> None:
    values = numbered([1.0, 2.0, 4.0])
    rows = {"a": long_form(folded_pct=values), "b": long_form(folded_pct=values)}
    text = to_latex(table_of(rows, settings("folded_pct", a="A_1", b="B"), EVALUATION, PROVENANCE))
    assert r"A\_1 & 2.333 $\pm$ 1.528" in text
    assert r"Folded (\%) $\downarrow$" in text
    assert r"Test \& table" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert "–" not in text


@pytest.mark.parametrize(
    ("rows", "chosen", "message"),
    [
        ({"a": long_form(ssim={"s": 1.0})}, settings("sssim", a="A"), "no metric is called 'sssim'"),
        ({"a": long_form()}, settings("ssim", a="A"), "'a' was evaluated on no subject"),
        (
            {"a": long_form(ssim={"s": 1.0}), "b": long_form(ssim={"t": 1.0})},
            settings("ssim", a="A", b="B"),
            "no subject in common",
        ),
    ],
)
def test_what_cannot_be_tabulated_is_one_clear_line(rows, chosen, message) -> None:
    with pytest.raises(UsageError, match=message):
        table_of(rows, chosen, EVALUATION, PROVENANCE)


def test_the_paper_has_no_other_tables() -> None:
    with pytest.raises(UsageError, match="no table 'table9'"):
        paper_table("table9")


def test_a_misspelt_metric_of_the_configuration_is_one_clear_line() -> None:
    table = {"title": "t", "models": {"cof": "COF"}, "metrics": ["ssim", "m_cor"]}
    raw = {"models": {"cof": {"family": "cof"}}, "tables": {"table1": table}}
    with pytest.raises(UsageError, match=r"tables.table1.metrics: no metric is called 'm_cor'; did you mean 'm_corr'"):
        parse(raw)


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
def test_the_papers_columns_are_metrics_that_we_know(name: str) -> None:
    values = paper_table(name).values
    assert {metric for row in values.values() for metric in row} <= METRICS.keys()


def test_the_paper_has_no_segmentation_without_the_loss_of_it() -> None:
    table = paper_table("table3")
    assert table.value("w/o REA", "ssim") == 0.979
    assert table.value("w/o REA", "dice_lv") is None
    assert table.value("No max field", "dice_lv") == 0.87


def test_the_stage_writes_the_same_bytes_from_batches_in_any_order(tmp_path: Path) -> None:
    parts = [numbered([0.1, 0.5, 0.3]), numbered([0.2, 0.8], start=3), {}]
    files = []
    for index, part in enumerate(parts):
        files.append(tmp_path / f"b{index:03d}.parquet")
        write_table(files[-1], long_form(ssim=part), {})
    chosen = settings("ssim", a="A")
    for name, order in (("one", files), ("two", files[::-1])):
        make_table(
            subjects=tmp_path / "subjects.parquet",
            metrics={"a": order},
            settings=chosen,
            evaluation=EVALUATION,
            out=tmp_path / name,
            config_hash="abc123",
        )
    for suffix in (".csv", ".md", ".tex"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
        assert "abc123" in (tmp_path / f"one{suffix}").read_text()
    assert not list(tmp_path.glob(".*"))
    assert "0.380 ± " in (tmp_path / "one.md").read_text()


def test_metrics_of_outdated_definitions_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "old.parquet", long_form(ssim={"s": 1.0}).assign(version="0"), {})
    with pytest.raises(UsageError, match="outdated definitions"):
        make_table(
            subjects=tmp_path / "subjects.parquet",
            metrics={"a": [tmp_path / "old.parquet"]},
            settings=settings("ssim", a="A"),
            evaluation=EVALUATION,
            out=tmp_path / "table",
            config_hash="",
        )


def function_rows(ef: np.ndarray, true: np.ndarray) -> pd.DataFrame:
    """Rows of subjects with generated and true EF, and covariates that tell nothing."""
    rng = np.random.default_rng(9)
    parts = {("ef_pct", "LV"): ef, ("ef_exact_pct", "LV"): true}
    parts |= {("edv_exact_ml", "LV"): rng.normal(150, 20, len(ef)), ("male", ""): rng.integers(0, 2, len(ef))}
    parts |= {("hr_bpm", ""): rng.normal(60, 8, len(ef))}
    rows = [
        {"subject": f"s{k:03d}", "structure": structure, "metric": metric, "value": float(value), "version": "2"}
        for (metric, structure), values in parts.items()
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(frame=None, slice=None)


def test_a_statistic_of_the_group_has_a_paired_interval_and_a_share_of_what_can_be_had() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(0, 3, (2, 200))
    true = 60 + known + unknown
    rows = {"blind": function_rows(np.full(200, 60.0) + rng.normal(0, 0.1, 200), true)}
    rows["seeing"] = function_rows(60 + known, true)
    rows["seeing_1"] = function_rows(60 + known + rng.normal(0, 1, 200), true)
    chosen = TableSettings(
        title="T",
        models={"blind": "Blind", "seeing": "Seeing"},
        metrics=("ef_exact_r2", "ef_exact_partial_r", "ef_recovered"),
        repeats={"seeing": ("seeing_1",)},
    )
    table = table_of(rows, chosen, EVALUATION, PROVENANCE, regressed(0.5))
    r2, r, recovered = (table.cells["seeing", key] for key in chosen.metrics)
    assert r2.mean == pytest.approx(0.5, abs=0.1)
    assert recovered.mean == pytest.approx(r2.mean / 0.5)
    assert recovered.interval == pytest.approx(tuple(end / 0.5 for end in r2.interval))
    assert r.mean == pytest.approx(np.sqrt(0.5), abs=0.08)
    for cell in (r2, r):
        assert cell.interval[0] < cell.mean < cell.interval[1]
        assert 0 < cell.difference_interval[0] < cell.difference < cell.difference_interval[1]
        assert np.isnan(cell.sd)
        assert cell.seed_sd > 0
    blind = table.cells["blind", "ef_exact_r2"]
    assert blind.mean == pytest.approx(0, abs=0.03)
    assert np.isnan(blind.seed_sd)
    text = to_markdown(table)
    assert "seeds ±" in text
    assert "statistic of all subjects together" in text
    assert "learnt from 160 training subjects, attains an R² of 0.500 [0.400, 0.600] on 40 held-out subjects." in text
    for reached in (None, regressed(-0.1), {"answers": {"ef_exact_r2": None}, "train": 0, "test": 40}):
        without = table_of(rows, chosen, EVALUATION, PROVENANCE, reached)
        assert without.cells["seeing", "ef_recovered"].n == 0
    assert "A share of it is not defined" in to_markdown(
        table_of(rows, chosen, EVALUATION, PROVENANCE, regressed(-0.1))
    )


def regressed(r2: float) -> dict:
    """Return a record as the stage `attainable` writes it."""
    return {"train": 160, "test": 40, "answers": {"ef_exact_r2": {"value": r2, "low": r2 - 0.1, "high": r2 + 0.1}}}


@pytest.mark.parametrize("last", [0.0, 1.0])
def test_an_interval_of_no_width_is_not_taken_for_certainty(last: float) -> None:
    """All twelve subjects are covered, or all but one."""
    rows = long_form(ef_covered=numbered([1.0] * 11 + [last])).assign(structure="LV")
    text = to_markdown(table_of({"a": rows}, settings("ef_covered", a="A"), EVALUATION, PROVENANCE))
    assert ("An interval of no width" in text) == (last == 1)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_interval_without_bounds_is_said_plainly() -> None:
    def rows(width: float) -> pd.DataFrame:
        values = numbered([width] * 4)
        frame = long_form(ef_interval_width_pct=values, ef_covered=dict.fromkeys(values, 1.0))
        return frame.assign(structure="LV")

    chosen = settings("ef_interval_width_pct", "ef_covered", a="A", b="B")
    table = table_of({"a": rows(float("inf")), "b": rows(8.0)}, chosen, EVALUATION, PROVENANCE)
    text = to_markdown(table)
    assert "| A | inf | 1.000" in text
    assert "too few validation subjects" in text
    assert "too few validation" not in to_markdown(
        table_of({"a": rows(9.0), "b": rows(8.0)}, chosen, EVALUATION, PROVENANCE)
    )
    long = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=False, na_values=[""])
    cells = {str(row["metric"]): row for _, row in long[long["model"] == "a"].iterrows()}
    assert cells["ef_interval_width_pct"]["mean"] == float("inf")
    assert render(intervals({"A": cells}, table.metrics))
