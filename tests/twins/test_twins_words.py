"""Messages of `cof twin` on files that are not what they should be, in words of what was typed."""

import json
from pathlib import Path

import pytest

from cof.cli import main
from cof.config.data import OdditySettings, PhantomSettings
from cof.phantom.stage import make_cohort
from cof.twins.single import twin_from_files

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
