"""Subjects by patterns of paths: small trees whose sheet is known."""

import csv
import itertools
import os
import shlex
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cof import cli
from cof.artefacts.parquet import read_table
from cof.cohort import build_cohort
from cof.config.data import CohortSettings
from cof.errors import UsageError
from cof.sheets.patterns import Pattern, list_by_patterns
from cof.sheets.table import write_sheet

IDENTITY = str(2 * 10**6 + 345678)  # shaped like a participant id


def tree(root: Path, *files: str) -> Path:
    """Files with a byte each; what ends in `/` is an empty folder."""
    for name in files:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"x")
    return root


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sheet", *map(str, arguments)])
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def rows(sheet: Path) -> list[dict[str, str]]:
    with sheet.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sheet_of_mixed_kinds_of_scans_goes_into_the_cohort(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(
        tmp_path / "data",
        *("p1/ecg_2.xml", "p1/sax_2/a.dcm", "p1/sax_2/b.dcm", "p1/ecg_03.xml", "p1/sax_03.zip"),
        *("p2/ecg_2.hea", "p2/ecg_2.dat", "p2/sax_2.nii.gz", "p2/drawn_2.nii.gz"),
    )
    patterns = ("--ecg", "{subject}/ecg_{visit}.*", "--scan", "{subject}/sax_{visit}*")
    code, out, err = run(capsys, "data", *patterns, "--annotation", "{subject}/drawn_{visit}.nii.gz")
    assert code == 0, err
    assert "several files for one cell" in out  # .hea and .dat fit the ECG's pattern
    assert "(data" not in out
    assert [row["ecg"] for row in rows(tmp_path / "subjects.csv")] == ["data/p1/ecg_2.xml", "data/p1/ecg_03.xml"]

    patterns = ("--ecg", "{subject}/ecg_{visit}.xml", "--ecg", "{subject}/*_{visit}.hea", *patterns[2:])
    more = ("--annotation", "{subject}/drawn_{visit}.nii.gz", "--labels-map", "3:1, 2:2,1:3", "--overwrite")
    code, out, err = run(capsys, "data", *patterns, *more)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "subjects.csv: 2 subjects, 3 visits with ECG and scan, 1 of them with annotations",
        'next: snakemake --cores 2 --config "cohort={sheet: subjects.csv}" -n all',
    ]
    empty = {"annotation": "", "labels_map": ""}
    assert rows(tmp_path / "subjects.csv") == [
        {"subject": "p1", "visit": "2", "ecg": "data/p1/ecg_2.xml", "cine": "data/p1/sax_2"} | empty,
        {"subject": "p1", "visit": "3", "ecg": "data/p1/ecg_03.xml", "cine": "data/p1/sax_03.zip"} | empty,
        {"subject": "p2", "visit": "2", "ecg": "data/p2/ecg_2.hea", "cine": "data/p2/sax_2.nii.gz",
         "annotation": "data/p2/drawn_2.nii.gz", "labels_map": "1:3,2:2,3:1"},
    ]  # fmt: skip
    assert stat.S_IMODE((tmp_path / "subjects.csv").stat().st_mode) == 0o600

    key = tmp_path / "key.parquet"
    build_cohort(sheet=Path("subjects.csv"), out=tmp_path / "s.parquet", key=key, settings=CohortSettings())
    cells = read_table(key).set_index("subject")
    assert list(cells.index) == ["p1-v2", "p1-v3", "p2-v2"]
    assert all(Path(path).exists() for column in ("ecg", "cine") for path in cells[column])


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{subject}.xml", "a_b.xml", ("a_b", 1)),
        ("{subject}.xml", "sub/a.xml", None),
        ("{subject}_{visit}.xml", "a_1_2.xml", ("a_1", 2)),
        ("{subject}_{visit}.xml", "a_1234.xml", None),
        ("v{visit}/{subject}.nii.gz", "v03/x.nii.gz", ("x", 3)),
        ("{subject}/{subject}_sax", "p1/p1_sax", ("p1", 1)),
        ("{subject}/{subject}_sax", "p1/p2_sax", None),
        ("**/{subject}.zip", "p1.zip", ("p1", 1)),
        ("**/{subject}.zip", "a/b/p1.zip", ("p1", 1)),
        ("raw/**/s-{subject}/sax", "raw/a/b/s-1/sax", ("1", 1)),
        ("{subject}/**", "p1/a/b", ("p1", 1)),
        ("{subject}/s?x_*.zip", "p1/sax_final.zip", ("p1", 1)),
        ("{subject}/s?x_*.zip", "p1/saax_final.zip", None),
        ("./{subject}/a(1)[x]+.zip", "p1/a(1)[x]+.zip", ("p1", 1)),
        ("{subject}_*.zip", "p1_sax.zip", ("p1", 1)),
        ("*-{subject}.zip", "x-p1.zip", ("p1", 1)),
        ("{subject}{visit}.zip", "p12.zip", ("p", 12)),
        ("{subject}/sax_{visit}*", "p1/sax_03.zip", ("p1", 3)),
    ],
)
def test_what_a_pattern_reads(pattern, path, found):
    assert Pattern(pattern, "--scan").match(path) == found


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{subject}_*.zip", "p_1_sax.zip"),
        ("{subject}*.zip", "p1.zip"),
        ("*{subject}.zip", "xp1.zip"),
        ("**/{subject}/**/x", "a/b/x"),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_never_guessed(pattern, path):
    with pytest.raises(ValueError, match=path[:1]):
        Pattern(pattern, "--scan").match(path)


PARTS = st.sampled_from(["a", "b", "ab", "a_1", "b_12"])
PATTERNS = st.lists(
    st.sampled_from(["**", "*", "{subject}", "a*", "{subject}_{visit}", "?", "a"]), min_size=1, max_size=4
)


@given(PATTERNS, st.lists(PARTS, min_size=1, max_size=4))
def test_whatever_fits_lies_in_folders_that_are_entered(parts, path):
    text = "/".join(parts)
    if "{subject}" not in text:
        return
    pattern = Pattern(text, "--scan")
    try:
        fits = pattern.match("/".join(path)) is not None
    except ValueError:
        fits = True
    if fits:
        assert all(pattern.enters("/".join(path[:depth])) for depth in range(1, len(path)))


def test_folders_in_which_nothing_can_fit_are_not_read(tmp_path):
    folder = tree(tmp_path, "p1/ecg.xml", "p1/sax/a.dcm", "p1/other/deep/x", "p2/sax/b.dcm")
    read = []

    def watch(event, arguments):
        if event == "os.scandir" and str(arguments[0]).startswith(str(tmp_path)):
            read.append(Path(arguments[0]).relative_to(tmp_path).as_posix())

    sys.addaudithook(watch)
    listing = list_by_patterns(folder, {"ecg": ["{subject}/ecg.xml"], "cine": ["{subject}/sax"]})
    assert sorted(read) == [".", "p1", "p2"]
    assert listing.visits == {("p1", 1): {"ecg": "p1/ecg.xml", "cine": "p1/sax"}, ("p2", 1): {"cine": "p2/sax"}}


def test_what_is_left_out_is_counted_and_the_first_are_named(tmp_path, capsys):
    folder = tree(tmp_path / "data", "e/ok.xml", "s/ok.zip", *(f"s/alone{n}.zip" for n in range(5)), "e/bare.xml")
    tree(folder, "e/two.xml", "s/two.zip", "more/s/two.zip", "e/none.xml", "a/drawn.nii")
    (tree(folder, "s/none.zip") / "s/none.zip").write_bytes(b"")
    os.symlink("nowhere", folder / "s/link.zip")
    patterns = ("--ecg", "e/{subject}.xml", "--scan", "**/s/{subject}.zip", "--annotation", "a/{subject}.nii")
    code, out, err = run(capsys, folder, *patterns, "--out", tmp_path / "sheet.csv")
    assert (code, err) == (0, "")
    assert [row["subject"] for row in rows(tmp_path / "sheet.csv")] == ["ok"]
    assert out.splitlines()[:-1] == [
        f"{tmp_path}/sheet.csv: 1 subject, 1 visit with ECG and scan",
        "left out, without an ECG: 5 visits (alone0-v1, alone1-v1, alone2-v1, ...)",
        "left out, without a scan: 2 visits (bare-v1, none-v1)",
        "left out, with an annotation only: 1 visit (drawn-v1)",
        "left out, several files for one cell: 1 visit (more/s/two.zip and s/two.zip)",
        "left out, empty (0 bytes): 1 file (s/none.zip)",
        "left out, cannot be read: 1 path (s/link.zip)",
        "a cell holds one path, of a DICOM folder or of the .hea file of a WFDB record; make the pattern narrower",
    ]


def test_anchors_stand_for_cines_and_carry_no_annotation(tmp_path):
    folder = tree(
        tmp_path / "d", "a.xml", "a.anchor.nii", "b.xml", "b.anchor.nii", "b.drawn.nii", "c.xml", "c.cine.nii"
    )
    tree(folder, "c.anchor.nii")
    patterns = {"ecg": ["{subject}.xml"], "cine": ["{subject}.cine.nii"], "anchor": ["{subject}.anchor.nii"]}
    listing = list_by_patterns(folder, patterns | {"annotation": ["{subject}.drawn.nii"]})
    said = write_sheet(listing, folder, tmp_path / "d/s.csv")
    assert "left out, with an annotation and without its cine: 1 visit (b-v1)" in said
    empty = {"visit": "1", "anchor": "", "cine": ""}
    assert rows(tmp_path / "d/s.csv") == [
        empty | {"subject": "a", "ecg": "a.xml", "anchor": "a.anchor.nii"},
        empty | {"subject": "c", "ecg": "c.xml", "cine": "c.cine.nii", "anchor": "c.anchor.nii"},
    ]


def test_a_file_may_fit_several_patterns_if_all_read_it_alike(tmp_path):
    folder = tree(tmp_path / "d", "p1/e.xml", "p1/s.zip", "p2/e.hea", "p2/e.dat", "p2/s.zip", "p3/p4/e.xml", "p3/s.zip")
    ecgs = ["{subject}/*.xml", "{subject}/*.hea", "*/e.{subject}ml", "{subject}/e.*ml", "{subject}/*/e.xml"]
    listing = list_by_patterns(folder, {"ecg": ecgs[:2] + ecgs[3:], "cine": ["{subject}/s.zip"]})
    assert {visit[0]: files["ecg"] for visit, files in listing.visits.items()} == {
        "p1": "p1/e.xml", "p2": "p2/e.hea", "p3": "p3/p4/e.xml",
    }  # fmt: skip
    assert listing.remarks == ()
    listing = list_by_patterns(folder, {"ecg": ecgs, "cine": ["{subject}/s.zip"]})
    assert "ecg" not in listing.visits["p1", 1]
    assert "can be read in more than one way: 1 path (p1/e.xml)" in listing.remarks[0]


def test_hidden_files_are_no_subjects_and_links_are_followed_once(tmp_path):
    folder = tree(tmp_path / "d", "p1/e.xml", "p1/s.zip", ".p2/e.xml", "__MACOSX/e.xml", "p1/.s.zip")
    tree(tmp_path / "elsewhere", "p3/e.xml", "p3/s.zip")
    os.symlink("../elsewhere/p3", folder / "p3")
    for loop, target in (("p1/up", ".."), ("a/x", "../b"), ("b/y", "../a")):
        (folder / loop).parent.mkdir(exist_ok=True)
        os.symlink(target, folder / loop)
    found = list_by_patterns(folder, {"ecg": ["**/{subject}/e.xml"], "cine": ["**/{subject}/s.zip"]}).visits
    assert found == {(p, 1): {"ecg": f"{p}/e.xml", "cine": f"{p}/s.zip"} for p in ("p1", "p3")}


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (
            ("--ecg", "{id}.xml", "--scan", "{subject}.zip"),
            "--ecg: '{id}' is unknown; allowed are {subject} and {visit}",
        ),
        (("--ecg", "x.xml", "--scan", "{subject}.zip"), "--ecg: 'x.xml' has no {subject}"),
        (("--ecg", "../{subject}.xml", "--scan", "{subject}.zip"), "--ecg: '../{subject}.xml' must be relative"),
        (("--ecg", "/d/{subject}.xml", "--scan", "{subject}.zip"), "must be relative to FOLDER"),
        (
            ("--ecg", "{subject}_{visit}.xml", "--scan", "{subject}.zip"),
            "--scan: no {visit}, which other patterns have",
        ),
        (("--ecg", "{subject}.xml"), "give a pattern for the scans by --scan, or for anchors by --anchor"),
        (
            ("--ecg", "{subject}.xml", "--scan", "{subject}.zip", "--labels-map", "1-3"),
            "'1-3' is no pair",
        ),
        (("--ecg", "{subject}.xml", "--scan", "{subject}.nii"), "has both an ECG and a scan; left out, without a scan"),
    ],
)
def test_what_was_typed_wrong_is_one_line(tmp_path, capsys, patterns, said):
    folder = tree(tmp_path / "d", "a.xml", "a.zip")
    code, out, err = run(capsys, folder, *patterns, "--out", tmp_path / "s.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "s.csv").exists()


def test_a_path_that_is_no_folder_is_named(tmp_path, capsys):
    patterns = ("--ecg", "{subject}.xml", "--scan", "{subject}.zip")
    (tmp_path / "file").touch()
    assert (
        f"{tmp_path}/none is missing; give the folder that holds the files"
        in run(capsys, tmp_path / "none", *patterns)[2]
    )
    assert (
        f"{tmp_path}/file is a file; give the folder that holds the files"
        in run(capsys, *patterns, tmp_path / "file")[2]
    )


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    folder, sheet = tree(tmp_path / "d", "a.xml", "a.zip"), tmp_path / "s.csv"
    sheet.write_text("mine")
    asked = (folder, "--ecg", "{subject}.xml", "--scan", "{subject}.zip", "--out")
    code, _, err = run(capsys, *asked, sheet)
    assert (code, sheet.read_text()) == (2, "mine")
    assert f"{sheet} exists; --overwrite replaces it" in err
    code, _, err = run(capsys, *asked, sheet, "--overwrite")
    assert (code, sheet.read_text()) == (2, "mine")
    assert f"{sheet} is not a subject sheet, and --overwrite replaces only sheets" in err
    sheet.write_text("subject,visit,ecg,cine\nsub-0001,2,,old.zip\n")
    assert run(capsys, *asked, sheet, "--overwrite")[0] == 0
    assert len(rows(sheet)) == 1
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    assert "is a folder; name the sheet in it" in run(capsys, *asked, tmp_path, "--overwrite")[2]
    assert list(tmp_path.glob(".*")) == []
    code, _, err = run(capsys, *asked, sheet / "below.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written" in err


@pytest.mark.parametrize("place", ["s.csv", "d/s.csv", "d/deep/s.csv", "other/place/s.csv"])
def test_paths_lead_from_the_sheet_to_the_files(tmp_path, place):
    folder = tree(tmp_path / "d", "x/a.xml", "x/a, b.zip", "deep/")
    (folder / "x/a, b.zip").rename(folder / "x/a.zip")
    sheet = tmp_path / place
    write_sheet(list_by_patterns(folder, {"ecg": ["x/{subject}.xml"], "cine": ["x/{subject}.zip"]}), folder, sheet)
    row = rows(sheet)[0]
    assert not Path(row["ecg"]).is_absolute()
    assert (sheet.parent / row["ecg"]).samefile(folder / "x/a.xml")
    assert (sheet.parent / row["cine"]).samefile(folder / "x/a.zip")


@pytest.mark.parametrize(("inside", "refused"), [("p1", False), (IDENTITY, True), (f"p1/{IDENTITY}", True)])
def test_ids_in_names_or_paths_are_not_written_where_git_would_take_them(tmp_path, inside, refused):
    folder = tree(tmp_path / "d", f"{inside}/e.xml", f"{inside}/s.zip")
    (tmp_path / ".git").mkdir()
    end = "/*" if "/" in inside else ""
    listing = list_by_patterns(folder, {"ecg": [f"{{subject}}{end}/e.xml"], "cine": [f"{{subject}}{end}/s.zip"]})
    if refused:
        with pytest.raises(UsageError, match="would hold participants' ids in a git checkout"):
            write_sheet(listing, folder, tmp_path / "s.csv")
    else:
        write_sheet(listing, folder, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").exists() != refused


def test_names_that_csv_must_quote_come_back(tmp_path):
    folder = tree(tmp_path, *(f"{name}.{kind}" for name in ('a, "b"', "c;d", "ä") for kind in ("xml", "zip")))
    write_sheet(
        list_by_patterns(folder, {"ecg": ["{subject}.xml"], "cine": ["{subject}.zip"]}), folder, folder / "s.csv"
    )
    settings = CohortSettings(salt_file=str(tmp_path / "salt"))
    (tmp_path / "salt").write_text("a long secret, kept elsewhere")
    build_cohort(sheet=folder / "s.csv", out=tmp_path / "o.parquet", key=tmp_path / "k.parquet", settings=settings)
    key = read_table(tmp_path / "k.parquet")
    assert sorted(key["participant"]) == ['a, "b"', "c;d", "ä"]
    assert all(Path(path).is_file() for path in key["cine"])


def test_names_that_a_sheet_cannot_hold_are_refused(tmp_path):
    for number, name in enumerate(("a ", os.fsdecode(b"\xff"))):
        folder = tree(tmp_path / str(number), f"{name}/e.xml", f"{name}/s.zip")
        listing = list_by_patterns(folder, {"ecg": ["{subject}/e.xml"], "cine": ["{subject}/s.zip"]})
        with pytest.raises(UsageError, match="rename the file"):
            write_sheet(listing, folder, tmp_path / "s.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_names_shaped_like_ids_are_not_printed_and_ask_for_a_salt(tmp_path, capsys):
    folder = tree(tmp_path / "d", f"{IDENTITY}.xml", f"{IDENTITY}.zip", f"{int(IDENTITY) + 1}.zip")
    asked = (folder, "--ecg", "{subject}.xml", "--scan", "{subject}.zip", "--out", tmp_path / "s.csv")
    code, out, err = run(capsys, *asked)
    assert (code, err) == (0, "")
    assert IDENTITY[:6] not in out
    assert "head -c 32 /dev/urandom | base64 > salt.txt" in out
    assert "salt_file: salt.txt" in out


def test_the_commands_of_the_docs_do_what_they_say(tmp_path, capsys, monkeypatch):
    """All but those of the worked example, which the workflow's tests type, and ACDC's, typed in its own tests."""
    docs = (Path(__file__).parents[2] / "docs/start/your-data.md").read_text().replace("\\\n", " ")
    docs = docs[docs.index("## A cohort to train on") :]
    commands = [shlex.split(line)[2:] for line in docs.splitlines() if line.startswith("cof sheet ")]
    commands = [command for command in commands if command[0] != "acdc"]
    assert len(commands) == 4
    monkeypatch.chdir(tmp_path)
    tree(Path("data"), "p1/ecg_2.xml", "p1/sax_2/a.dcm", "p2/ecg_3.xml", "p2/sax_3.nii.gz")
    raw = tree(Path("results/phantom/raw"), "annotations/sub-0001_2.nii.gz")
    for name in ("sub-0001", "sub-0002"):
        tree(raw, f"ecg/{name}_20205_2_0.xml", f"cine/{name}_20209_2_0.zip")
    tree(Path("project"), f"Bulk/Heart MRI/Short axis/23/{IDENTITY}_20209_2_0.zip")
    tree(Path("project"), f"Bulk/Electrocardiogram/Resting/23/{IDENTITY}_20205_2_0.xml")
    Path("withdrawals.csv").write_text("eid\n")
    found = []
    for command in commands:
        Path("subjects.csv").unlink(missing_ok=True)
        code, _, err = run(capsys, *("project" if part == "/mnt/project" else part for part in command))
        assert code == 0, err
        found.append([(row["subject"], row["visit"], row.get("annotation", "")) for row in rows(Path("subjects.csv"))])
    drawn = "results/phantom/raw/annotations/sub-0001_2.nii.gz"
    assert found == [
        [("p1", "2", ""), ("p2", "3", "")],
        [(IDENTITY, "2", "")],
        [("sub-0001", "2", ""), ("sub-0002", "2", "")],
        [("sub-0001", "2", drawn), ("sub-0002", "2", "")],
    ]


def test_the_order_of_rows_hangs_on_names_alone(tmp_path):
    folder = tree(tmp_path, *(f"{n}_{v}.{kind}" for n, v, kind in itertools.product("cab", (10, 2), ("xml", "zip"))))
    write_sheet(
        list_by_patterns(folder, {"ecg": ["{subject}_{visit}.xml"], "cine": ["{subject}_{visit}.zip"]}),
        folder,
        tmp_path / "s.csv",
    )
    assert [(row["subject"], row["visit"]) for row in rows(tmp_path / "s.csv")] == [
        (name, visit) for name in "abc" for visit in ("2", "10")
    ]
