"""Subjects of UK Biobank by the names of its bulk files, in folders of a few bytes a file."""

import csv
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cof import cli
from cof.artefacts.parquet import read_table
from cof.cohort import build_cohort
from cof.config.data import CohortSettings
from cof.errors import UsageError
from cof.sheets.ukb import list_ukb, read_withdrawn

FIRST = 2 * 10**6 + 345600


def eid(number: int) -> str:
    """Shaped like a participant's id."""
    return str(FIRST + number)


def put(folder: Path, name: str, content: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def flat(root: Path, kind: str, number: int) -> Path:
    return root


def by_field(root: Path, kind: str, number: int) -> Path:
    return root / f"bulk_{kind}_2_0"


def by_digits(root: Path, kind: str, number: int) -> Path:
    return root / kind / eid(number)[:2]


def platform(root: Path, kind: str, number: int) -> Path:
    place = {"20209": "Heart MRI/Short axis", "20205": "Electrocardiogram/Resting"}[kind]
    return root / "Bulk" / place / eid(number)[:2]


def cohort(root: Path, place=flat) -> Path:
    """Participants 0 (two visits) and 1 are complete, and so is 5 with three arrays of the scan, the last one empty.

    2 has no ECG, 3 no scan, 4 an empty one.
    """
    for number, visit in ((0, 2), (0, 3), (1, 2), (2, 2), (4, 2), (5, 2)):
        put(place(root, "20209", number), f"{eid(number)}_20209_{visit}_0.zip", b"" if number == 4 else b"x")
    for number, visit in ((0, 2), (0, 3), (1, 2), (3, 2), (4, 2), (5, 2)):
        put(place(root, "20205", number), f"{eid(number)}_20205_{visit}_0.xml")
    put(place(root, "20209", 5), f"{eid(5)}_20209_2_1.zip")
    put(place(root, "20209", 5), f"{eid(5)}_20209_2_2.zip", b"")
    for other in ("20208_2_0.zip", "20209_2_0.csv", "6025_0_0.xml", "20205_2_0_extra.xml"):
        put(place(root, "20209", 1), f"{eid(1)}_{other}")
    return root


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sheet", "ukb", *map(str, arguments)])
    said = capsys.readouterr()
    assert not re.search(r"[1-6]\d{6}", said.out + said.err)
    return int(stopped.value.code or 0), said.out, said.err


def rows(sheet: Path) -> list[tuple[str, ...]]:
    with sheet.open(newline="") as file:
        return list(map(tuple, csv.reader(file)))


@pytest.mark.parametrize("place", [flat, by_field, by_digits, platform])
def test_participants_and_visits_are_paired_wherever_the_files_lie(tmp_path, capsys, place):
    folder = cohort(tmp_path / "data", place)
    code, out, err = run(capsys, folder, "--out", tmp_path / "subjects.csv")
    assert (code, err) == (0, "")
    sheet = rows(tmp_path / "subjects.csv")
    assert sheet[0] == ("subject", "visit", "ecg", "cine")
    assert [row[:2] for row in sheet[1:]] == [(eid(0), "2"), (eid(0), "3"), (eid(1), "2"), (eid(5), "2")]
    for subject, visit, ecg, cine in sheet[1:]:
        array = 1 if subject == eid(5) else 0
        where = place(Path("data"), "20205", int(subject) - FIRST), place(Path("data"), "20209", int(subject) - FIRST)
        assert ecg == f"{where[0]}/{subject}_20205_{visit}_0.xml"
        assert cine == f"{where[1]}/{subject}_20209_{visit}_{array}.zip"
    assert out.splitlines()[:-2] == [
        f"{tmp_path}/subjects.csv: 3 subjects, 4 visits with ECG and scan",
        "left out, without an ECG: 1 visit",
        "left out, without a scan: 2 visits",
        "several arrays, the latest is used: 1 scan",
        "left out, empty (0 bytes): 2 scans",
        "no list of withdrawn participants was given (--withdrawn)",
    ]
    assert "salt_file: salt.txt" in out.splitlines()[-1]
    assert stat.S_IMODE((tmp_path / "subjects.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize("start", ["", "Bulk", "Bulk/Heart MRI"])
def test_of_the_platforms_tree_only_what_is_needed_is_walked(tmp_path, start):
    root = cohort(tmp_path / "project", platform)
    for place in (
        "Bulk/Brain MRI/T1/23",
        "Bulk/Heart MRI/Long axis/23",
        "Bulk/Electrocardiogram/Exercise/23",
        "mine/x",
    ):
        put(root / place, "file")
    read = watched("os.scandir", root)
    listing = list_ukb(root / start)
    assert read
    for path in read:
        assert re.fullmatch(r"(\.|Bulk(/Heart MRI(/Short axis.*)?|/Electrocardiogram(/Resting.*)?)?)", path), path
    assert len(listing.visits) == (5 if start.endswith("MRI") else 7)


def watched(event: str, root: Path) -> list[str]:
    """Paths below `root` that are opened or listed from now on, relative to it."""
    seen: list[str] = []

    def watch(name, arguments):
        if name == event and isinstance(arguments[0], str | os.PathLike):
            path = Path(arguments[0])
            if path.is_relative_to(root):
                seen.append(path.relative_to(root).as_posix())

    sys.addaudithook(watch)
    return seen


def test_thousands_are_listed_without_opening_one(tmp_path, capsys):
    root = tmp_path / "data"
    for number in range(5000):
        put_fast(root, f"{eid(number)}_20209_2_0.zip")
        put_fast(root, f"{eid(number)}_20205_2_0.xml")
    opened = watched("open", root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, out, _ = run(capsys, root, "--out", tmp_path / "s.csv")
    assert (code, opened) == (0, [])
    assert "5,000 subjects, 5,000 visits with ECG and scan" in out
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB
    assert len(rows(tmp_path / "s.csv")) == 5001


def put_fast(root: Path, name: str) -> None:
    root.mkdir(exist_ok=True)
    descriptor = os.open(root / name, os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"x")
    os.close(descriptor)


@pytest.mark.parametrize("header", ["", "eid\n", '"eid"\n', "\ufeffeid,date\n", "Participant ID\r\n", "\n"])
@pytest.mark.parametrize("form", ["{}\n", '"{}"\n', "{},2024-01-02\n", " {} \r\n", "{}.0\n", "{}\n\n"])
def test_withdrawn_participants_are_left_out(tmp_path, capsys, header, form):
    folder = cohort(tmp_path / "data")
    gone = (0, 3, 999)
    (tmp_path / "w.csv").write_text(header + "".join(form.format(eid(number)) for number in gone), newline="")
    code, out, err = run(capsys, folder, "--withdrawn", tmp_path / "w.csv", "--out", tmp_path / "s.csv")
    assert (code, err) == (0, "")
    assert [row[0] for row in rows(tmp_path / "s.csv")[1:]] == [eid(1), eid(5)]
    assert "left out, withdrawn: 2 participants here, of 3 on the list" in out
    assert "left out, without a scan: 1 visit" in out  # participant 4: of those who withdrew nothing is counted


def test_several_lists_add_up(tmp_path):
    for number in (0, 1):
        (tmp_path / f"w{number}").write_text(eid(number))
    listing = list_ukb(cohort(tmp_path / "data"), [tmp_path / "w0", tmp_path / "w1"])
    assert {name for name, _ in listing.visits}.isdisjoint({eid(0), eid(1)})
    assert "left out, withdrawn: 2 participants here, of 2 on the list" in listing.remarks


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"eid\n{eid(0)}\n<html>\n", "line 3 does not begin with a participant id"),
        (f"row,eid\n0,{eid(0)}\n", "a line does not begin with a participant's id"),
        ("eid\nsubject,ecg\n", "line 2 does not begin with a participant id"),
    ],
)
def test_a_list_that_is_none_never_counts_as_nobody(tmp_path, capsys, content, said):
    (tmp_path / "w.csv").write_text(content)
    asked = (cohort(tmp_path / "data"), "--withdrawn", tmp_path / "w.csv", "--out", tmp_path / "s.csv")
    code, _, err = run(capsys, *asked)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not (tmp_path / "s.csv").exists()


def test_a_list_that_is_not_there_or_no_text(tmp_path):
    (tmp_path / "w.csv").write_bytes(b"\xff\xfe\x00")
    for name, said in (("none.csv", "No such file"), ("w.csv", "is not UTF-8 text")):
        with pytest.raises(UsageError, match=said):
            read_withdrawn(tmp_path / name)


def test_unpacked_scans_doubles_and_broken_links(tmp_path):
    root = tmp_path / "data"
    put(root / "a" / f"{eid(0)}_20209_2_0", "1.dcm")
    put(root / "a", f"{eid(0)}_20205_2_0.XML")
    put(root / "b", f"{eid(1)}_20209_2_0.zip")
    put(root / "a", f"{eid(1)}_20209_2_0.zip")
    os.symlink("nowhere", root / f"{eid(2)}_20209_2_0.zip")
    opened = watched("os.scandir", root)
    listing = list_ukb(root)
    assert f"a/{eid(0)}_20209_2_0" not in opened
    assert listing.visits == {
        (eid(0), 2): {"cine": f"a/{eid(0)}_20209_2_0", "ecg": f"a/{eid(0)}_20205_2_0.XML"},
        (eid(1), 2): {"cine": f"a/{eid(1)}_20209_2_0.zip"},
    }
    assert "found twice, the first path is used: 1 scan" in listing.remarks
    assert "left out, cannot be read: 1 path" in listing.remarks


def test_the_synthetic_cohort_is_read_by_its_names(tmp_path):
    for name in ("sub-0001", "sub-0002"):
        put(tmp_path / "raw/cine", f"{name}_20209_2_0.zip")
        put(tmp_path / "raw/ecg", f"{name}_20205_2_0.xml")
        put(tmp_path / "raw/annotations", f"{name}_2.nii.gz")
    (tmp_path / "w").write_text("sub-0002\n")
    assert list_ukb(tmp_path, [tmp_path / "w"]).visits == {
        ("sub-0001", 2): {"cine": "raw/cine/sub-0001_20209_2_0.zip", "ecg": "raw/ecg/sub-0001_20205_2_0.xml"}
    }


def test_a_sheet_with_ids_is_not_written_where_git_would_take_it(tmp_path, capsys):
    folder, checkout = cohort(tmp_path / "data"), tmp_path / "checkout"
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True)
    asked = (folder, "--out", checkout / "deep/subjects.csv")
    code, _, err = run(capsys, *asked)
    assert (code, list(checkout.iterdir())) == (2, [checkout / ".git"])
    assert "in a git checkout that does not ignore it; add it to .gitignore" in err
    (checkout / ".gitignore").write_text("subjects*.csv\n")
    assert run(capsys, *asked)[0] == 0
    assert run(capsys, folder, "--out", checkout / "other.csv")[0] == 2


def test_this_repository_ignores_the_sheet_and_the_salt():
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("no checkout")
    for name in ("subjects.csv", "subjects_ukb.csv", "salt.txt"):
        assert subprocess.run(["git", "-C", str(root), "check-ignore", "--quiet", name]).returncode == 0, name


def test_nobody_complete_is_one_line(tmp_path, capsys):
    put(tmp_path / "data", f"{eid(0)}_20209_2_0.zip")
    code, _, err = run(capsys, tmp_path / "data", "--out", tmp_path / "s.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert "has both an ECG and a scan; left out, without an ECG: 1 visit" in err


def test_the_sheet_goes_into_a_cohort_of_pseudonyms(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(cohort(tmp_path / "data").parent)
    assert run(capsys, "data")[0] == 0
    (tmp_path / "salt.txt").write_text("a long secret, kept elsewhere")
    out, key = tmp_path / "s.parquet", tmp_path / "k.parquet"
    build_cohort(sheet=Path("subjects.csv"), out=out, key=key, settings=CohortSettings(salt_file="salt.txt"))
    assert len(read_table(out)) == 4
    assert all(Path(path).is_file() for column in ("ecg", "cine") for path in read_table(key)[column])
