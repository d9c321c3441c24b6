"""Messages of `cof twin` on files that are not what they should be, in words of what was typed."""

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cof.cine.volume import read_cine, read_labels
from cof.cli import main
from cof.config.data import OdditySettings, PhantomSettings
from cof.phantom.stage import make_cohort
from cof.twins.function import heart_function
from cof.twins.single import twin_from_files
from cof.twins.text import text_of

BENCH = Path(__file__).parents[2] / "weights/bench"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One person's ECG and scan."""
    root = tmp_path_factory.mktemp("raw")
    none = OdditySettings(repeated_series=0, missing_frame=0, inline_vf_series=0)
    settings = PhantomSettings(train=0, test=1, annotated=1, frames=8, slices=5, matrix=64, oddities=none)
    make_cohort(out=root / "phantom", settings=settings, seed=0, workers=1)
    (ecg,), (scan,) = ((root / "phantom/raw" / kind).glob("sub-*") for kind in ("ecg", "cine"))
    return ecg, scan


def said(capsys: pytest.CaptureFixture[str], out: Path, **options: Path | str) -> str:
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    with pytest.raises(SystemExit) as ended:
        main(["twin", "--weights", str(BENCH), "--out", str(out), *words])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cof: error: ")]
    assert not out.exists()
    return line


def test_an_ecg_and_a_scan_that_are_exchanged_are_told(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ecg, scan = raw
    line = said(capsys, tmp_path / "out", ecg=scan, scan=ecg)
    assert f"--ecg got a scan ({scan}), and --scan got an ECG ({ecg}): exchange them" in line
    assert f"--ecg got a scan: {scan}" in said(capsys, tmp_path / "out", ecg=scan, scan=scan)
    assert f"--scan got an ECG: {ecg}" in said(capsys, tmp_path / "out", ecg=ecg, scan=ecg)


def test_a_fault_names_the_file_that_was_typed(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ecg, scan = raw
    for name, content in (("ecg", ecg.read_bytes()[:2000]), ("scan", scan.read_bytes()[:2000])):
        broken = tmp_path / f"broken{(ecg if name == 'ecg' else scan).suffix}"
        broken.write_bytes(content)
        files = {"ecg": ecg, "scan": scan} | {name: broken}
        assert f"--{name} {broken}: " in said(capsys, tmp_path / "out", **files)


def test_a_later_stage_names_the_file_too(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ecg, scan = raw
    line = said(capsys, tmp_path / "out", ecg=ecg, scan=scan, **{"ed-frame": "99"})
    assert f"--scan {scan}: frame 99 is named as ED" in line


def test_an_unknown_model_lists_those_that_there_are(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ecg, scan = raw
    line = said(capsys, tmp_path / "out", ecg=ecg, scan=scan, model="coff")
    names = ", ".join(sorted(path.name for path in (BENCH / "models").iterdir()))
    assert f"{BENCH / 'models/coff'} is not a trained model; {BENCH / 'models'} has {names}" in line


@pytest.mark.parametrize(
    ("option", "typed", "words"),
    [
        ("age", "200", "--age: 200 is not above 0 and at most 120 years"),
        ("height", "1.68", "--height: 1.68 is not above 40 and at most 250 cm"),
        ("sex", "x", "--sex: 'x' is neither F nor M"),
        ("formats", "page,obj", "there is no format 'obj'; there are stl, vtp"),
    ],
)
def test_a_slip_of_the_keyboard_ends_before_any_work(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, typed: str, words: str
) -> None:
    ecg, scan = raw
    assert words in said(capsys, tmp_path / "out", ecg=ecg, scan=scan, **{option: typed})


def test_a_scan_that_cannot_carry_a_heart_is_one_line(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ecg, _ = raw
    grey = np.random.default_rng(0)
    for shape, words in (
        ((64, 64, 1), "1 slice; at least 5 are needed (cine.min_slices): give the whole short-axis stack"),
        ((64, 64, 2), "2 slices; at least 5 are needed"),
        ((64, 64, 6, 2), "2 frames; at least 8 are needed (cine.min_frames): give the whole cycle, or a single volume"),
        ((64, 64), "the NIfTI has 2 axes"),
    ):
        scan = tmp_path / "scan.nii.gz"
        image = grey.integers(0, 99, shape).astype(np.int16)
        nib.save(nib.Nifti1Image(image, np.diag([2.0, 2.0, 10.0, 1.0])), scan)
        assert f"--scan {scan}: {words}" in said(capsys, tmp_path / "out", ecg=ecg, scan=scan)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_ecg_that_cannot_carry_a_heart_is_one_line(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, scan = raw
    (tmp_path / "empty.xml").touch()
    line = said(capsys, tmp_path / "out", ecg=tmp_path / "empty.xml", scan=scan)
    assert "empty.xml: the file is empty" in line
    header = [f"three.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in ("I", "II", "III")]
    (tmp_path / "three.hea").write_text("\n".join(["three 3 500 5000", *header]))
    np.tile(np.sin(np.arange(5000) / 60) * 500, (3, 1)).T.astype("<i2").tofile(tmp_path / "three.dat")
    line = said(capsys, tmp_path / "out", ecg=tmp_path / "three.hea", scan=scan)
    assert "three.hea: the file has no lead V1, V2, V3, V4, V5, V6" in line


@pytest.mark.slow
def test_one_command_prints_the_numbers_and_writes_the_preview(
    raw: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ecg, scan = raw
    out = tmp_path / "heart"
    caplog.set_level(logging.INFO, "cof")
    words = [
        "--ecg",
        str(ecg),
        "--scan",
        str(scan),
        "--out",
        str(out),
        "--sex",
        "M",
        "--formats",
        "tables",
        "--preview",
    ]
    with pytest.raises(SystemExit) as ended:
        main(["twin", "--weights", str(BENCH), *words])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    summary = json.loads((out / "summary.json").read_text())
    assert printed.out.rstrip("\n") == text_of(summary)
    assert summary["patient"]["sex"] == "M"
    assert summary["patient"]["stated_by"]["sex"] == "option"
    assert summary["patient"]["stated_by"]["height_cm"] == "scan"
    edv = summary["indices"][0]
    assert edv["generated"] == summary["function"]["LV"]["edv_ml"]
    assert edv["per_m2"]["generated"] == pytest.approx(edv["generated"] / summary["patient"]["bsa_m2"], abs=0.02)
    scanned = heart_function(read_cine(out / "scan.nii"), read_labels(out / "scan.labels.nii.gz"))
    assert edv["scan"] == scanned["LV"]["edv_ml"]
    assert sorted(path.name for path in (out / "preview").iterdir()) == ["twin.gif", "twin.png"]
    assert (out / "tables/function.csv").is_file()
    told = [record.getMessage() for record in caplog.records if record.name == "cof.progress"]
    steps = [message.partition(":")[0] for message in told]
    order = ["ECG read", "scan stacked", "labels of the scan", "heart generated and labelled", "format preview"]
    assert [step for step in steps if step in order] == order
    assert not any("1 of 1 ECGs" in message for message in caplog.messages)


@pytest.mark.parametrize("doubtful", [False, True])
def test_doubtful_labels_are_said_in_the_place_of_a_function(tmp_path: Path, doubtful: bool) -> None:
    warning = {"check": "label_trust", "message": "labels doubtful, slices 1 and 9", "of": "labels of the scan"}
    summary = {
        "model": "cof",
        "function": {"LV": {"edv_ml": 150.0, "esv_ml": 60.0, "ef_pct": 60.0}},
        "labels": {"doubtful": doubtful},
        "warnings": [warning] if doubtful else [],
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    said = twin_from_files.says(None, {"out": tmp_path})
    assert ("LV EDV 150 mL, ESV 60 mL, EF 60 %" in said) is not doubtful
    assert ("labels doubtful, slices 1 and 9: LV function is not shown" in said) is doubtful
