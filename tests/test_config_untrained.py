"""Rows that a cohort without training subjects leaves out of its tables."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cof import config
from cof.config.overlay import overlaid
from cof.config.untrained import without_untrained
from cof.errors import UsageError

REPOSITORY = Path(__file__).parents[1]
BORROWED = ("labeller", "registrations/toppr", "models/cof")


def demo(**more: Any) -> config.Config:
    return config.parse(overlaid(yaml.safe_load((REPOSITORY / "config.yaml").read_text()), more))


def test_controls_that_need_training_hearts_leave_the_tables_and_are_named() -> None:
    run, gone = without_untrained(demo(), BORROWED)
    assert gone == ["mean_motion", "random"]
    assert set(run.models) == {"cof", "static", "oracle"}
    assert list(run.tables["table1"].models) == ["cof", "static", "oracle"]
    assert run.tables["table1"].left_out == ("Random Sample", "Population-mean motion")


def test_what_applies_a_missing_model_goes_with_it() -> None:
    more = {
        "models": {
            "other": {"like": "cof", "seed": 1},
            "other_shuffled": {"family": "shuffled", "model": "other"},
            "both": {"family": "ensemble", "members": ["cof", "other"]},
            "cof_shuffled": {"family": "shuffled", "model": "cof"},
            "true_motion": {"family": "oracle", "registration": "truth"},
        },
        "registrations": {"second": {"iterations": 3}},
        "intervals": {"models": ["cof", "both"]},
        "tables": {"alone": {"title": "T", "models": {"other": "Other", "both": "Both"}, "metrics": ["ssim"]}},
    }
    asked = demo(**more | {"tables": more["tables"] | {"table1": {"repeats": {"cof": ["other"]}}}})
    run, gone = without_untrained(asked, BORROWED)
    assert gone == ["both", "mean_motion", "other", "other_shuffled", "random"]
    assert {"cof_shuffled", "true_motion"} <= set(run.models)
    assert "alone" not in run.tables
    assert run.intervals.models == ("cof",)
    assert run.tables["table1"].repeats == {}


def test_an_oracle_needs_its_registration() -> None:
    asked = demo(registrations={"second": {"iterations": 3}}, models={"oracle": {"registration": "second"}})
    assert "oracle" in without_untrained(asked, BORROWED)[1]


@pytest.mark.parametrize("lacking", BORROWED)
def test_without_the_parts_of_every_heart_the_run_is_refused(lacking: str) -> None:
    has = [name for name in BORROWED if name != lacking]
    with pytest.raises(
        UsageError, match=f"no training subjects, and elsewhere lacks {lacking}: mark subjects as 'train'"
    ):
        without_untrained(demo(trained="elsewhere"), has)


def test_a_report_of_a_model_that_is_left_out_is_refused() -> None:
    more = {"models": {"other": {"like": "cof", "seed": 1}, "applied": {"family": "shuffled", "model": "other"}}}
    with pytest.raises(UsageError, match=r"report\.model: 'applied' is left out"):
        without_untrained(demo(**more, report={"model": "applied"}), BORROWED)
