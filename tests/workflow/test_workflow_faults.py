"""Faulty raw files: each becomes an exclusion row with its reason, and the healthy subjects never notice."""

import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pydicom
import pytest
import yaml
from conftest import TINY, snakemake

pytestmark = pytest.mark.slow


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def drop_lead(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(re.sub(rb'<WaveformData lead="V3">[^<]*</WaveformData>', b"", text))


def words_for_samples(path: Path) -> None:
    text = path.read_bytes()
    strip = text.index(b"<StripData>")
    broken = re.sub(rb'(<WaveformData lead="V2">)[^<]*', rb"\1nan,nan,nan", text[strip:], count=1)
    path.write_bytes(text[:strip] + broken)


def entities(path: Path) -> None:
    path.write_bytes(
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b"<CardiologyXML><UID>&b;&b;</UID></CardiologyXML>"
    )


def rewrite(path: Path, change: Callable[[pydicom.Dataset], pydicom.Dataset | None]) -> None:
    """Pass every DICOM file of an archive through `change`; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name.endswith(".dcm"):
                changed = change(pydicom.dcmread(io.BytesIO(content)))
                if changed is None:
                    continue
                buffer = io.BytesIO()
                changed.save_as(buffer)
                content = buffer.getvalue()
            archive.writestr(name, content)


def three_slices(path: Path) -> None:
    rewrite(path, lambda image: image if re.search(r"_b[123]$", image.SeriesDescription) else None)


def spacing_nan(path: Path) -> None:
    def change(image: pydicom.Dataset) -> pydicom.Dataset:
        image.PixelSpacing = ["nan", "nan"]
        return image

    rewrite(path, change)


def remove(path: Path) -> None:
    path.unlink()


FAULTS: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "sub-0901": ("ecg", truncate, "ecg", "ecg_unreadable"),
    "sub-0902": ("ecg", empty, "ecg", "ecg_unreadable"),
    "sub-0903": ("ecg", drop_lead, "ecg", "ecg_lead_missing"),
    "sub-0904": ("ecg", words_for_samples, "ecg", "ecg_(unreadable|not_finite)"),
    "sub-0905": ("ecg", entities, "ecg", "ecg_unreadable"),
    "sub-0906": ("ecg", remove, "ecg", "ecg_missing"),
    "sub-0907": ("cine", truncate, "cine", "cine_unreadable"),
    "sub-0908": ("cine", three_slices, "cine", "cine_too_few_slices"),
    "sub-0909": ("cine", spacing_nan, "cine", "cine_(geometry|not_finite)"),
    "sub-0910": ("cine", remove, "cine", "cine_missing"),
}


@pytest.fixture(scope="module")
def faulty(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny cohort with ten more participants, each a copy of a healthy one with one fault."""
    directory = tmp_path_factory.mktemp("faulty")
    raw = directory / "cohort"
    shutil.copytree(finished / "results/tiny/phantom", raw)
    sheet = pd.read_csv(raw / "subjects.csv", dtype=str)
    model = sheet[sheet["split"] == "test"].iloc[0]
    rows = []
    for name, (kind, fault, _, _) in FAULTS.items():
        row = model.copy()
        row["subject"] = name
        healthy = raw / row[kind]
        broken = healthy.with_name(name + healthy.suffix)
        shutil.copyfile(healthy, broken)
        fault(broken)
        row[kind] = str(broken.relative_to(raw))
        rows.append(row)
    pd.concat([sheet, pd.DataFrame(rows)]).to_csv(raw / "subjects.csv", index=False)
    config = yaml.safe_load(TINY.read_text()) | {"cohort": {"sheet": str(raw / "subjects.csv")}}
    config["cohort"]["batches"] = 2
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    targets = [
        f"results/tiny/{kind}" for kind in ("beats/b000.parquet", "beats/b001.parquet", "cine/b000", "cine/b001")
    ]
    snakemake(directory, "--cores", "2", "--", *targets, config=file)
    return directory


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_an_exclusion_with_its_reason(faulty: Path, name: str) -> None:
    _, _, stage, reason = FAULTS[name]
    tables = [pd.read_parquet(path) for path in (faulty / "results/tiny/exclusions" / stage).glob("*.parquet")]
    rows = pd.concat(tables)
    rows = rows[rows["subject"] == f"{name}-v2"]
    assert len(rows) == 1
    assert re.fullmatch(reason, rows["reason"].iloc[0]), rows.iloc[0].to_dict()
    assert rows["message"].iloc[0]


def test_healthy_subjects_never_notice(finished: Path, faulty: Path) -> None:
    healthy = sorted((finished / "results/tiny/cine").rglob("*.nii"))
    assert len(healthy) == 9
    for path in healthy:
        assert (faulty / path.relative_to(finished)).read_bytes() == path.read_bytes()
    for batch in ("b000", "b001"):
        before = pd.read_parquet(finished / f"results/tiny/beats/{batch}.parquet").set_index("subject")
        after = pd.read_parquet(faulty / f"results/tiny/beats/{batch}.parquet").set_index("subject")
        pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_a_broken_ecg_leaves_the_cine_and_the_reverse(faulty: Path) -> None:
    stacked = {path.stem for path in (faulty / "results/tiny/cine").rglob("*.nii")}
    assert {f"{name}-v2" for name, fault in FAULTS.items() if fault[0] == "ecg"} <= stacked
    assert not {f"{name}-v2" for name, fault in FAULTS.items() if fault[0] == "cine"} & stacked
