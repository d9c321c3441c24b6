"""Held-out subjects that a borrowed network has learnt from are recognised by content, and refused by number."""

import hashlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cof.artefacts.contents import HASHES, content_hash, overlap_notice, read_learnt, write_learnt
from cof.artefacts.origin import BORROWED
from cof.artefacts.parquet import read_table, write_table
from cof.cine.stage import stack_batch
from cof.cine.volume import Cine, uniform_times, write_cine
from cof.cohort import build_cohort
from cof.config.data import CineSettings, CohortSettings, EcgSettings, PhantomSettings
from cof.ecg.record import Ecg
from cof.ecg.stage import parse_batch
from cof.errors import UsageError
from cof.overlap import hash_batch, refuse_overlap
from cof.phantom.stage import make_cohort

PEOPLE = ("anna", "bert", "carl", "dora")


class Cohort:
    """A batch of four subjects with an ECG and a cine each, and what is made of them."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.root, rng = root, np.random.default_rng(seed)
        self.signals = {name: rng.normal(size=(12, 500)).astype(np.float32) for name in PEOPLE}
        self.frames = {name: rng.integers(0, 900, (3, 2, 4, 4)).astype(np.int16) for name in PEOPLE}
        self.sheet, self.hashes = root / "batch.parquet", root / "hashes.parquet"

    def made(self, split: str = "test") -> "Cohort":
        self.root.mkdir(exist_ok=True)
        rows = [{"subject": f"{name}-v2"} | Ecg(signal, 500.0).to_row() for name, signal in self.signals.items()]
        write_table(self.root / "ecg.parquet", pd.DataFrame(rows), {})
        for name, frames in self.frames.items():
            times = uniform_times(len(frames), 900.0)
            write_cine(self.root / f"cine/{name}-v2.nii", Cine(frames, np.diag([2.0, 2, 8, 1]), times, 900.0))
        members = pd.DataFrame({"subject": [f"{name}-v2" for name in PEOPLE], "participant": PEOPLE})
        write_table(self.sheet, members.assign(split=split, batch="b000"), {})
        hash_batch(ecg=self.root / "ecg.parquet", cine=self.root / "cine", out=self.hashes)
        return self

    def rows(self) -> pd.DataFrame:
        return read_table(self.hashes).set_index("subject")


def network(folder: Path, learnt: Cohort | None, *people: str) -> Path:
    """A trained model that learnt from these people; without a cohort, of a time before hashes."""
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"learnt_from": {"subjects": len(people)}}))
    if learnt is not None:
        write_learnt(folder, [learnt.hashes], [f"{name}-v2" for name in people])
    return folder


def check(cohort: Cohort, *artefacts: Path) -> dict:
    out = cohort.root / "overlap.json"
    names = cohort.root / "names.parquet"
    refuse_overlap(sheet=cohort.sheet, hashes=cohort.hashes, artefacts=artefacts, out=out, names=names)
    return json.loads(out.read_text())


def test_a_hash_is_that_of_type_shape_and_values_alone() -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    expected = hashlib.sha256(b"<i2 (2, 3, 4) " + values.astype("<i2").tobytes()).hexdigest()[:32]
    for same in (values, values.astype(">i2"), np.asfortranarray(values), np.repeat(values, 2, 0)[::2]):
        assert content_hash(same) == expected
    for other in (values.astype(np.int32), values.reshape(3, 2, 4), values + np.int16(1)):
        assert content_hash(other) != expected


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan])
def test_one_value_throughout_identifies_nobody(value: float) -> None:
    assert content_hash(np.full((2, 5, 5), value, np.float32)) == ""
    assert content_hash(np.full((2, 5, 5), 7, np.int16)) == ""
    assert content_hash(np.empty((0, 4))) == ""


def test_nan_has_one_form_and_zero_has_no_sign() -> None:
    """Processors differ in the bits of NaN, and -0 equals 0."""
    bits = np.array([0x7FC00000, 0x3F800000, 0], np.uint32)
    other = np.array([0xFFC00001, 0x3F800000, 0x80000000], np.uint32)
    assert np.isnan(bits.view(np.float32)[0])
    assert content_hash(bits.view(np.float32)) == content_hash(other.view(np.float32)) != ""


def test_two_people_with_an_empty_image_are_not_one(tmp_path: Path) -> None:
    theirs, ours = Cohort(tmp_path / "theirs"), Cohort(tmp_path / "ours", seed=1)
    for cohort in (theirs, ours):
        cohort.frames["anna"][0] = 0
        cohort.made()
    assert check(ours, network(tmp_path / "model", theirs, *PEOPLE))["unknown"] == []


def test_hashes_are_the_same_again_and_other_after_one_voxel_or_sample(tmp_path: Path) -> None:
    first = Cohort(tmp_path / "first").made()
    again = Cohort(tmp_path / "again").made()
    assert first.hashes.read_bytes() == again.hashes.read_bytes()
    other = Cohort(tmp_path / "other")
    other.frames["anna"][0, 0, 0, 0] += 1
    other.frames["bert"][1, 0, 0, 0] += 1  # not in the anchor
    other.signals["carl"][0, 0] += 0.001
    changed = first.rows() != other.made().rows()
    assert changed["anchor"].to_dict() == {f"{name}-v2": name == "anna" for name in PEOPLE}
    assert changed["ecg"].to_dict() == {f"{name}-v2": name == "carl" for name in PEOPLE}
    assert first.rows().stack().nunique() == 2 * len(PEOPLE)


def test_what_a_subject_lacks_has_no_hash(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path / "cohort").made()
    (cohort.root / "cine/anna-v2.nii").write_bytes(b"broken")
    write_table(cohort.root / "ecg.parquet", read_table(cohort.root / "ecg.parquet").iloc[:2], {})
    hash_batch(ecg=cohort.root / "ecg.parquet", cine=cohort.root / "cine", out=cohort.hashes)
    assert (cohort.rows() == "").to_dict("list") == {
        "ecg": [False, False, True, True],
        "anchor": [True, False, False, False],
    }


def test_a_planted_overlap_is_refused_with_the_number_of_subjects_and_no_name(tmp_path: Path) -> None:
    theirs = Cohort(tmp_path / "theirs").made()
    ours = Cohort(tmp_path / "ours", seed=1)
    ours.signals["bert"] = theirs.signals["anna"]  # under another name
    ours.frames["carl"] = theirs.frames["carl"]
    ours.made()
    labeller, model = (network(tmp_path / name, theirs, *seen) for name, seen in (("l", PEOPLE), ("m", ("anna",))))
    with pytest.raises(UsageError) as refused:
        check(ours, labeller, model)
    said = str(refused.value)
    assert said.startswith("2 of 4 held-out subjects of this batch are among those that borrowed networks have learnt")
    assert f"({labeller} from 2, {model} from 1)" in said
    assert not any(name in said for name in PEOPLE)
    assert not (ours.root / "overlap.json").exists()
    listed = read_table(ours.root / "names.parquet")
    assert set(map(tuple, listed.to_numpy())) == {
        ("bert-v2", str(labeller)),
        ("carl-v2", str(labeller)),
        ("bert-v2", str(model)),
    }
    assert check(ours, network(tmp_path / "unrelated", theirs, "dora"))["unknown"] == []
    assert not (ours.root / "names.parquet").exists()


def test_training_subjects_may_have_been_learnt_from_and_new_people_pass(tmp_path: Path) -> None:
    theirs = Cohort(tmp_path / "theirs").made()
    model = network(tmp_path / "model", theirs, *PEOPLE)
    assert check(Cohort(tmp_path / "same").made(split="train"), model)["held_out"] == 0
    assert check(Cohort(tmp_path / "new", seed=1).made(), model)["held_out"] == 4
    with pytest.raises(UsageError, match="4 of 4 held-out subjects"):
        check(Cohort(tmp_path / "validated").made(split="validation"), model)


def test_all_visits_of_a_participant_count_with_one(tmp_path: Path) -> None:
    theirs = Cohort(tmp_path / "theirs").made()
    ours = Cohort(tmp_path / "ours").made()
    sheet = read_table(ours.sheet)
    write_table(ours.sheet, sheet.assign(participant=["anna", "anna", "carl", "dora"]), {})
    with pytest.raises(UsageError, match="2 of 4 held-out subjects"):
        check(ours, network(tmp_path / "model", theirs, "bert"))


def test_networks_without_hashes_are_unknown_and_say_so(tmp_path: Path) -> None:
    ours = Cohort(tmp_path / "ours").made()
    older = network(tmp_path / "older", None, "anna")
    assert check(ours, older, network(tmp_path / "new", Cohort(tmp_path / "theirs", 1).made(), "anna"))["unknown"] == [
        str(older)
    ]
    assert overlap_notice(older) == ""  # trained in this run
    (older / BORROWED).write_text('{"from": "elsewhere"}')
    assert overlap_notice(older).startswith("Whether it has learnt from held-out subjects of this run is unknown")
    (older / HASHES).write_text("")
    assert overlap_notice(older) == ""


def test_a_model_has_learnt_from_what_the_models_within_it_have(tmp_path: Path) -> None:
    theirs = Cohort(tmp_path / "theirs").made()
    outer = network(tmp_path / "outer", theirs)
    assert read_learnt(outer) == frozenset()
    inner = network(outer / "members/one", theirs, "anna")
    assert read_learnt(outer) == frozenset(theirs.rows().loc["anna-v2"])
    (inner / HASHES).unlink()
    assert read_learnt(outer) is None
    (outer / HASHES).unlink()
    (inner / "settings.json").unlink()
    assert read_learnt(outer) == frozenset()  # its record says that it learnt from nobody
    assert read_learnt(tmp_path / "theirs") is None


def test_the_list_is_sorted_and_complete(tmp_path: Path) -> None:
    theirs = Cohort(tmp_path / "theirs").made()
    lines = (network(tmp_path / "model", theirs, *reversed(PEOPLE)) / HASHES).read_text().splitlines()
    assert lines == sorted(set(theirs.rows().to_numpy().ravel()))
    with pytest.raises(UsageError, match="--hashes lacks 1 of 2 training subjects"):
        network(tmp_path / "other", theirs, "anna", "emil")


def test_a_simulated_person_is_recognised_in_a_cohort_of_other_scans(tmp_path: Path) -> None:
    """The same person has the same ECG in every synthetic cohort, but other slices."""
    rows = []
    for slices in (5, 6):
        root = tmp_path / str(slices)
        phantom = PhantomSettings(first=7, train=0, validation=0, test=1, frames=12, slices=slices, matrix=64)
        make_cohort(out=root / "raw", settings=phantom, workers=1)
        sheet, key = root / "subjects.parquet", root / "key.parquet"
        build_cohort(sheet=root / "raw/subjects.csv", out=sheet, key=key, settings=CohortSettings(batches=1))
        parse_batch(sheet=sheet, key=key, out=root / "e", exclusions=root / "x", settings=EcgSettings())
        places = {"out": root / "cine", "annotations": root / "drawn", "exclusions": root / "y"}
        stack_batch(sheet=sheet, key=key, settings=CineSettings(), **places)
        hash_batch(ecg=root / "e", cine=root / "cine", out=root / "h")
        rows.append(read_table(root / "h").iloc[0])
    assert rows[0]["ecg"] == rows[1]["ecg"]
    assert rows[0]["anchor"] != rows[1]["anchor"]


@pytest.mark.parametrize("asked", [False, True])
def test_weights_to_give_away_carry_hashes_only_if_asked_to(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, theirs = tmp_path / "results", Cohort(tmp_path / "theirs").made()
    folders = [network(results / name, theirs, "anna") for name in ("labeller", "registrations/toppr", "models/cof")]
    record = {"settings": {"family": "cof"}, "learnt_from": {"subjects": 1}}
    (folders[2] / "settings.json").write_text(json.dumps(record))
    (results / "config.json").write_text("{}")
    script = Path(__file__).parents[1] / "weights/collect.py"
    words = ["--results", results, "--out", tmp_path / "out", *(["--hashes"] if asked else []), "cof"]
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
    runpy.run_path(str(script), run_name="__main__")
    for folder in folders:
        copied = tmp_path / "out" / folder.relative_to(results)
        assert (read_learnt(copied) == read_learnt(folder)) == asked
        assert (read_learnt(copied) is None) != asked
