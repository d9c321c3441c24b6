"""Origin of a network: counted from the cohort, read from its folder, said in words."""

import json
from pathlib import Path

import pandas as pd
import pytest

from cof.artefacts.origin import BORROWED, Origin, labels_notice, learnt_from, origins
from cof.artefacts.parquet import read_table, write_table
from cof.cohort import build_cohort
from cof.config.data import CohortSettings
from cof.errors import UsageError


def cohort(path: Path, kinds: list[str] | None) -> Path:
    names = [f"sub-000{k}" for k in range(1, 5)]
    table = pd.DataFrame({"subject": [f"{name}-v2" for name in names], "participant": [*names[:3], names[2]]})
    write_table(path, table if kinds is None else table.assign(origin=kinds), {})
    return path


def test_training_subjects_are_counted_by_origin(tmp_path: Path) -> None:
    sheet = cohort(tmp_path / "subjects.parquet", ["simulated", "real", "", "real"])
    seen = learnt_from(sheet, ["sub-0001-v2", "sub-0003-v2", "sub-0004-v2"])
    assert seen == {"subjects": 3, "participants": 2, "simulated": 1, "real": 1, "unknown": 1}
    unstated = cohort(tmp_path / "older.parquet", None)
    assert learnt_from(unstated, ["sub-0001-v2"])["unknown"] == 1
    assert set(origins(read_table(unstated))) == {"unknown"}


def write(folder: Path, record: dict, name: str = "settings.json", borrowed: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(record))
    if borrowed:
        (folder / BORROWED).write_text(json.dumps({"from": borrowed}))
    return folder


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"simulated": 32}, "32 simulated hearts"),
        ({"real": 1}, "1 real heart"),
        ({"simulated": 2, "real": 3}, "5 simulated and real hearts"),
        ({"simulated": 2, "unknown": 3}, "5 hearts of unknown origin"),
        ({}, "hearts of unknown origin"),
    ],
)
def test_origins_in_words(tmp_path: Path, numbers: dict[str, int], said: str) -> None:
    origin = Origin.read(write(tmp_path, {"learnt_from": numbers}))
    assert origin is not None
    assert origin.counted == said
    assert labels_notice(origin) == f"labels by a network trained on {origin.hearts}"


def test_where_it_was_trained_travels_with_a_borrowed_one(tmp_path: Path) -> None:
    folder = write(tmp_path, {"learnt_from": {"real": 2, "cohort": "clinic A"}}, borrowed="results/a")
    origin = Origin.read(folder)
    assert origin == Origin(real=2, where="results/a", cohort="clinic A")
    assert origin.counted == "2 real hearts (clinic A, results/a)"
    assert Origin.read(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("record", "count"),
    [
        ({"subjects": 160}, 160),
        ({"subjects": {"train": 24, "validation": 2}}, 24),
        ({"participants": {"training": ["a", "b"], "held_out": ["c"]}}, 2),
        ({}, 0),
    ],
)
def test_what_was_trained_before_is_of_unknown_origin(tmp_path: Path, record: dict, count: int) -> None:
    origin = Origin.read(write(tmp_path, record))
    assert origin == Origin(unknown=count)
    assert origin.kind == "unknown"


def test_a_reader_is_told_of_what_is_borrowed_and_of_simulated_hearts_beside_others() -> None:
    assert not Origin(simulated=5).foreign({"simulated"})
    assert Origin(simulated=5).foreign({"real"})
    assert Origin(simulated=5).foreign({"simulated", "unknown"})
    assert Origin(simulated=5, where="elsewhere").foreign({"simulated"})
    assert not Origin(real=5).foreign({"real"})
    assert not Origin(unknown=5).foreign({"unknown"})


HEADER = "subject,visit,ecg,cine,split"


def build(folder: Path, text: str, **settings: str) -> pd.DataFrame:
    (folder / "subjects.csv").write_text(text)
    out = folder / "subjects.parquet"
    build_cohort(
        sheet=folder / "subjects.csv", out=out, key=folder / "key.parquet", settings=CohortSettings(**settings)
    )  # fmt: skip
    return read_table(out)


def test_the_sheet_says_what_hearts_are_and_the_setting_what_it_leaves_open(tmp_path: Path) -> None:
    sheet = f"{HEADER},origin\na,2,e,c,train,simulated\nb,2,e,c,train,\n"
    assert list(build(tmp_path, sheet)["origin"]) == ["simulated", ""]
    assert list(build(tmp_path, sheet, origin="real")["origin"]) == ["simulated", "real"]
    assert "origin" not in build(tmp_path, f"{HEADER}\na,2,e,c,train\n")
    with pytest.raises(UsageError, match=r"row 2, column 'origin': 'phantom' is not one of simulated, real"):
        build(tmp_path, f"{HEADER},origin\na,2,e,c,train,phantom\n")


def test_hearts_beside_the_card_of_the_synthetic_cohort_are_simulated(tmp_path: Path) -> None:
    text = f"{HEADER}\na,2,e,c,train\n"
    (tmp_path / "card.json").write_text('{"name": "a business card"}')
    assert "origin" not in build(tmp_path, text)
    (tmp_path / "card.json").write_text('{"arm": "population", "couplings": {}}')
    assert list(build(tmp_path, text)["origin"]) == ["simulated"]
