"""The fault matrix: every fault becomes an exclusion row with its reason, and the healthy subjects never notice."""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from faults import FAULTS, table
from running import REPOSITORY, snakemake

from cof.cine.reader import read_cine_source
from cof.cine.stage import stack_batch
from cof.cine.volume import write_cine
from cof.cohort import build_cohort, select_batch
from cof.config.data import CineSettings, CohortSettings, EcgSettings, OdditySettings, PhantomSettings
from cof.ecg.reader import read_ecg
from cof.ecg.stage import parse_batch
from cof.phantom.stage import make_cohort

STAGES = ("ecg", "beats", "cine")
BATCHES = ("b000", "b001")
FAULTY = [fault for fault in FAULTS if fault.reason]
MENDED = [fault for fault in FAULTS if not fault.reason]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw cohort of three small healthy subjects, the first of them annotated."""
    cohort = tmp_path_factory.mktemp("healthy") / "cohort"
    never = dict.fromkeys(OdditySettings.model_fields, 0.0)
    sizes = {"train": 2, "validation": 0, "test": 1, "annotated": 1, "frames": 10, "slices": 6, "matrix": 64}
    make_cohort(out=cohort, settings=PhantomSettings(**sizes, oddities=OdditySettings(**never)), seed=0, workers=1)
    return cohort


def write_wfdb(path: Path, ecg: Path) -> None:
    """A PhysioNet record of an ECG."""
    record = read_ecg(ecg, EcgSettings())
    counts = np.rint(record.signal * 200).astype("<i2")
    counts.T.tofile(path.with_suffix(".dat"))
    names = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
    lines = [f"{path.stem} 12 {record.rate_hz:.0f} {counts.shape[1]}"]
    lines += [f"{path.stem}.dat 16 200(0)/mV 16 0 0 0 0 {name}" for name in names]
    path.write_text("\n".join(lines) + "\n")


def add_faults(cohort: Path) -> None:
    """Add one subject a fault to a raw cohort: copies of its first, annotated subject, each with one file broken."""
    sheet = pd.read_csv(cohort / "subjects.csv", dtype=str, keep_default_na=False)
    sheet["ed_frame"] = ""
    model = sheet[sheet["annotation"] != ""].iloc[0].to_dict()
    write_wfdb(cohort / "raw/ecg/model.hea", cohort / model["ecg"])
    write_cine(cohort / "raw/cine/model.nii", read_cine_source(cohort / model["cine"], 0.0))
    cells = {"wfdb": "raw/ecg/model.hea", "nifti": "raw/cine/model.nii", "anchor": "raw/cine/model.nii"}
    columns = {"wfdb": "ecg", "nifti": "cine"}
    rows = []
    for fault in FAULTS:
        row = model | {"subject": fault.name, "annotation": "", "split": "train"}
        column = columns.get(fault.base, fault.base)
        source = cohort / (cells.get(fault.base) or model[fault.base])
        copy = source.with_name(fault.name + "".join(source.suffixes))
        shutil.copyfile(source, copy)
        if fault.base == "wfdb":
            shutil.copyfile(source.with_suffix(".dat"), copy.with_suffix(".dat"))
            copy.write_text(copy.read_text().replace("model", fault.name))
        fault.change(copy)
        row[column] = str(copy.relative_to(cohort))
        rows.append(row | dict(fault.cells))
    pd.concat([sheet, pd.DataFrame(rows)]).to_csv(cohort / "subjects.csv", index=False)


def ingest(directory: Path, cohort: Path) -> Path:
    """Run the stages that read raw files, as a user would; the results folder."""
    settings = {"results": "results", "cohort": {"sheet": str(cohort / "subjects.csv"), "batches": len(BATCHES)}}
    (directory / "config.yaml").write_text(yaml.safe_dump(settings))
    targets = [f"results/{kind}" for batch in BATCHES for kind in (f"beats/{batch}.parquet", f"cine/{batch}")]
    snakemake(directory, "--cores", "2", "--", *targets, config=directory / "config.yaml")
    return directory / "results"


def untouchable(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything that reading must not change: names, kinds, rights, sizes, times and contents."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def protect(folder: Path) -> None:
    """Take away the right to write. (Root writes all the same: `test_stages_open_raw_files_for_reading_only`.)"""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.fixture(scope="module")
def undisturbed(healthy: Path) -> Path:
    """Results of the healthy subjects alone."""
    return ingest(healthy.parent, healthy)


@pytest.fixture(scope="module")
def cohort(healthy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cohort with all the faulty subjects, protected against writing."""
    cohort = tmp_path_factory.mktemp("faulty") / "cohort"
    shutil.copytree(healthy, cohort)
    add_faults(cohort)
    protect(cohort)
    return cohort


@pytest.fixture(scope="module")
def before(cohort: Path) -> dict[str, tuple[object, ...]]:
    return untouchable(cohort)


@pytest.fixture(scope="module")
def faulty(cohort: Path, before: dict[str, tuple[object, ...]]) -> Path:
    """Results of the healthy and the faulty subjects."""
    return ingest(cohort.parent, cohort)


@pytest.fixture(scope="module")
def excluded(faulty: Path) -> pd.DataFrame:
    tables = [pd.read_parquet(faulty / f"exclusions/{stage}/{batch}.parquet") for stage in STAGES for batch in BATCHES]
    return pd.concat(tables, ignore_index=True)


def test_the_documented_table_is_this_list() -> None:
    assert table() in (REPOSITORY / "docs/reference/faults.md").read_text()


def test_the_matrix_is_wide() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len(FAULTY) >= 40
    assert {fault.base for fault in FAULTY} == {"ecg", "wfdb", "cine", "nifti", "annotation", "anchor"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTY, ids=lambda fault: fault.name)
def test_a_fault_is_one_exclusion_with_its_reason(excluded: pd.DataFrame, fault) -> None:
    rows = excluded[excluded["subject"] == f"{fault.name}-v2"]
    assert len(rows) == 1, rows.to_dict("records")
    row = rows.iloc[0]
    assert (row["stage"], re.fullmatch(fault.reason, row["reason"]) is not None) == (fault.stage, True), row.to_dict()
    assert row["message"]
    assert "\n" not in row["message"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", MENDED, ids=lambda fault: fault.name)
def test_what_can_be_mended_excludes_nobody(faulty: Path, excluded: pd.DataFrame, fault) -> None:
    assert f"{fault.name}-v2" not in set(excluded["subject"])
    assert len(list((faulty / "cine").rglob(f"{fault.name}-v2.nii"))) == 1


@pytest.mark.slow
def test_nobody_is_excluded_without_a_fault(excluded: pd.DataFrame) -> None:
    assert set(excluded["subject"]) == {f"{fault.name}-v2" for fault in FAULTY}


@pytest.mark.slow
def test_a_fault_costs_nothing_but_what_it_broke(faulty: Path) -> None:
    stacked = {path.stem.removesuffix("-v2") for path in (faulty / "cine").rglob("*.nii")}
    assert {fault.name for fault in FAULTY if fault.stage != "cine"} <= stacked
    assert not {fault.name for fault in FAULTY if fault.stage == "cine"} & stacked
    beats = pd.concat(pd.read_parquet(faulty / f"beats/{batch}.parquet") for batch in BATCHES)
    cropped = set(beats["subject"].str.removesuffix("-v2"))
    assert {fault.name for fault in FAULTY if fault.stage in ("cine", "annotations")} <= cropped


@pytest.mark.slow
def test_healthy_subjects_never_notice(undisturbed: Path, faulty: Path) -> None:
    artefacts = [path for kind in ("cine", "annotations") for path in sorted((undisturbed / kind).rglob("sub-*"))]
    assert len(artefacts) == 2 * 3 + 1
    for path in artefacts:
        assert (faulty / path.relative_to(undisturbed)).read_bytes() == path.read_bytes()
    for kind in ("ecg", "beats"):
        for batch in BATCHES:
            alone = pd.read_parquet(undisturbed / f"{kind}/{batch}.parquet").set_index("subject")
            among = pd.read_parquet(faulty / f"{kind}/{batch}.parquet").set_index("subject").loc[alone.index]
            assert among.map(repr_of).to_dict() == alone.map(repr_of).to_dict()


def repr_of(cell: object) -> object:
    """A cell as what can be compared bit by bit."""
    return cell.tobytes() if isinstance(cell, np.ndarray) and cell.dtype != object else repr(cell)


@pytest.mark.slow
def test_raw_folders_are_left_as_they_were(cohort: Path, before: dict[str, tuple[object, ...]], faulty: Path) -> None:
    assert faulty.is_dir()
    assert untouchable(cohort) == before


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "os.utime", "os.setxattr", "shutil.move", "shutil.rmtree",
}  # fmt: skip


@pytest.mark.slow
def test_stages_open_raw_files_for_reading_only(cohort: Path, tmp_path: Path) -> None:
    root, watching, read, changed = str(cohort), [True], [], []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and (event == "open" or event in CHANGING):
            paths = [str(argument) for argument in arguments[:2] if isinstance(argument, str | os.PathLike)]
            if any(path.startswith(root) for path in paths):
                write = event != "open" or bool(int(arguments[2] or 0) & WRITING)  # type: ignore[call-overload]
                (changed if write else read).append((event, paths))

    sheet, key = tmp_path / "subjects.parquet", tmp_path / "key.parquet"
    build_cohort(sheet=cohort / "subjects.csv", out=sheet, key=key, settings=CohortSettings(batches=1))
    select_batch(subjects=sheet, batch="b000", only=(), out=tmp_path / "b000.parquet")
    sys.addaudithook(watch)
    try:
        given = {"sheet": tmp_path / "b000.parquet", "key": key, "exclusions": tmp_path / "exclusions.parquet"}
        parse_batch(**given, out=tmp_path / "ecg.parquet", settings=EcgSettings())
        folders = {"out": tmp_path / "cine", "annotations": tmp_path / "annotations"}
        stack_batch(**given, **folders, settings=CineSettings())
    finally:
        watching.clear()
    assert len(read) > len(FAULTS)
    assert not changed
    assert nib.load(next((tmp_path / "cine").glob("*.nii"))).ndim == 4
