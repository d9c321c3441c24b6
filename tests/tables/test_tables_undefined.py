import numpy as np
import pandas as pd
import pytest

from cof.config.evaluation import EvaluationSettings, TableSettings
from cof.config.metrics import LONG_FORM, METRICS
from cof.tables.renderings import to_markdown
from cof.tables.table import build_table, catalogued, summarise
from cof.tables.undefined import undefined_remark, undefined_shares

PROVENANCE = {"config_hash": "abc123", "versions": {"cof": "1.0"}, "definitions": "1"}


def rows_of(distances: dict[str, list[float]]) -> pd.DataFrame:
    """Rows of the HD95 of the LV, from subject to the values of its frames."""
    rows = [
        (subject, "LV", frame, pd.NA, "hd95_mm", value, "1")
        for subject, values in distances.items()
        for frame, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows, columns=list(LONG_FORM)).astype({"frame": "Int32", "slice": "Int32", "value": float})


def test_shares_are_those_of_each_subject() -> None:
    rows = rows_of({"a": [1, np.nan, 3, np.nan], "b": [1, 2], "c": [np.nan]})
    assert undefined_shares(rows, METRICS["hd95_lv"]).to_dict() == {"a": 0.5, "b": 0, "c": 1}
    assert undefined_shares(rows, METRICS["hd95_rv"]).empty


@pytest.mark.parametrize("gap", [np.nan, 4.0])
def test_a_table_says_which_cells_lack_values(gap: float) -> None:
    """The share is over the subjects of the table alone: d, which only one model has, does not count."""
    whole = {name: [1.0, 2.0, 3.0, 4.0] for name in "abc"}
    models = {"cof": whole, "random": whole | {"a": [1.0, gap, gap, 4.0], "d": [np.nan] * 4}}
    settings = TableSettings(title="T", models={"cof": "COF", "random": "Random"}, metrics=("hd95_lv",))
    measured = {model: summarise([rows_of(values)], catalogued(settings.metrics)) for model, values in models.items()}
    table = build_table(measured, settings, EvaluationSettings(bootstrap=20), PROVENANCE)
    said = "Not defined for a share of the frames or hearts, which the mean leaves out: LV HD95 (Random 16.7 %)."
    assert (said in to_markdown(table)) == np.isnan(gap)
    assert table.remarks == ((said,) if np.isnan(gap) else ())


def test_a_small_share_is_not_printed_as_none() -> None:
    """One value of 2,000."""
    shares = {("cof", "hd95_lv"): undefined_shares(rows_of({"a": [np.nan] + [1.0] * 1999}), METRICS["hd95_lv"])}
    (said,) = undefined_remark(shares, {"cof": "COF"}, (METRICS["hd95_lv"],), {"a"})
    assert said.endswith("LV HD95 (COF < 0.1 %).")
