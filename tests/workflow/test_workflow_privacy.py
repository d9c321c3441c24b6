"""The whole smallest workflow over raw files that are called by participant ids, and hold them."""

import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import FEWER, ONE_THREAD, TINY, snakemake

from cof.privacy import check_paths

pytestmark = pytest.mark.slow

FIRST = 2 * 10**6 + 345678  # shaped like a participant id, so never written out


def identity(participant: str) -> str:
    return str(FIRST + int(participant.removeprefix("sub-")))


def reveal(content: bytes, participant: str) -> bytes:
    """Names of the participant as its id, of the same length: explicit lengths in DICOM stay true."""
    return content.replace(participant.encode(), identity(participant).encode().ljust(len(participant)))


def reveal_archive(source: Path, target: Path, participant: str) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            new.writestr(name, reveal(old.read(name), participant))


@pytest.fixture(scope="module")
def raw(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny cohort under ids, with three faulty participants whose errors have something to tell."""
    raw, phantom = tmp_path_factory.mktemp("ids"), finished / "results/tiny/phantom"
    for kind in ("ecg", "cine", "annotations"):
        (raw / kind).mkdir()
    sheet = pd.read_csv(phantom / "subjects.csv", dtype=str, keep_default_na=False)
    for row, cells in sheet.iterrows():
        participant = cells["subject"]
        for column in ("ecg", "cine", "annotation"):
            if not cells[column]:
                continue
            source = phantom / cells[column]
            target = raw / source.parent.name / source.name.replace(participant, identity(participant))
            if column == "cine":
                reveal_archive(source, target, participant)
            elif column == "ecg":
                stated = b"<DiagnosisText>Compared with ECG of " + identity(participant).encode() + b"</DiagnosisText>"
                content = source.read_bytes().replace(b"</Diagnosis>", stated + b"</Diagnosis>")
                target.write_bytes(reveal(content, participant))
            else:
                shutil.copyfile(source, target)
            sheet.loc[row, column] = str(target.relative_to(raw))
        sheet.loc[row, "subject"] = identity(participant)
    model, faulty = sheet.iloc[-1].to_dict(), []
    for number in (901, 902, 903):
        name = str(FIRST + number)
        row = model | {"subject": name, "split": "test"}
        if number == 901:
            row["ecg"] = f"ecg/{name}.xml"
        elif number == 902:
            row["ecg"] = f"ecg/{name}.xml"
            (raw / row["ecg"]).write_bytes(f"<R{name}></S{name}>".encode())
        else:
            row["cine"] = f"cine/{name}.nii"
            (raw / row["cine"]).write_text(name)
        faulty.append(row)
    pd.concat([sheet, pd.DataFrame(faulty)]).to_csv(raw / "subjects.csv", index=False)
    return raw


@pytest.fixture(scope="module")
def salted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the workflow has run over those files."""
    directory = tmp_path_factory.mktemp("salted")
    (directory / "salt").write_text("a long secret, kept elsewhere")
    settings = yaml.safe_load(TINY.read_text())
    settings["cohort"] = {"sheet": str(raw / "subjects.csv"), "salt_file": str(directory / "salt"), "batches": 1}
    (directory / "config.yaml").write_text(yaml.safe_dump(settings))
    asked = ("--cores", "2", "--keep-going", *ONE_THREAD, "--", "all")
    done = snakemake(directory, *asked, config=directory / "config.yaml", more=FEWER)
    (directory / "said.log").write_text(done.stdout + done.stderr)
    return directory


def test_the_raw_files_hold_what_the_check_looks_for(raw: Path) -> None:
    places = "\n".join(check_paths([raw]))
    for kind in ("the name <id>_20209_2_0.zip", ".dcm, byte", ".xml, line", "subjects.csv, line"):
        assert kind in places


def test_nothing_that_a_run_leaves_holds_an_id(salted: Path) -> None:
    assert (salted / "results/tiny/report/index.html").is_file()
    assert list(check_paths([salted])) == []


def test_the_key_alone_knows(salted: Path, raw: Path) -> None:
    key = salted / "results/tiny/cohort/key.parquet"
    assert key.stat().st_mode & 0o777 == 0o600
    known = set(pd.read_parquet(key)["participant"])
    assert known == set(pd.read_csv(raw / "subjects.csv", dtype=str)["subject"])
    excluded = pd.concat(pd.read_parquet(path) for path in (salted / "results/tiny/exclusions").rglob("*.parquet"))
    assert len(excluded[excluded["stage"].isin(["ecg", "cine"])]) == 3
