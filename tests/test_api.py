"""Hearts from Python: what `import cof` costs, what a heart holds and says, and how it is saved."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import cof
from cof import api
from cof.artefacts.folders import MANIFEST, write_manifest
from cof.cine.grid import Placement
from cof.cine.volume import Cine, uniform_times
from cof.errors import CofError, Reason, UsageError
from cof.models.base import Generated
from cof.twins.artefacts import FILES, write_twin
from cof.twins.generation import Twin

SHAPE = (4, 3, 8, 6)
SPACING = (10.0, 2.0, 1.5)
VOXELS = (40, 30, 20, 30)  # of the LV, frame by frame
VOXEL_ML = 0.03
ID = str(3_141_592)  # the shape of a participant's id
LV = {"edv_ml": 1.2, "esv_ml": 0.6, "sv_ml": 0.6, "ef_pct": 50.0}
RV = {"edv_ml": 0.0, "esv_ml": 0.0, "sv_ml": 0.0, "ef_pct": None}


def write_heart(folder: Path, moved: bool = True, **arguments: Any) -> None:
    """A heart as `cof twin` leaves it, whose LV fills so many voxels of every frame."""
    frames = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    labels = np.zeros((SHAPE[0], int(np.prod(SHAPE[1:]))), np.uint8)
    for frame, count in enumerate(VOXELS):
        labels[frame, :count] = 1
    affine = np.diag([*SPACING[::-1], 1.0])
    displacement = torch.full((4, 3, 3, 4, 3), 1.5) if moved else None
    canonical = torch.zeros(4, 3, 8, 6)
    made = Generated(displacement) if moved else Generated(None, canonical)
    native = Cine(frames, affine, uniform_times(4, 800.0), 800.0)
    folder.mkdir()
    placement = Placement((0, 0, 0), (1, 1, 1), SHAPE[1:], SPACING, SHAPE[1:], SPACING, (0, 1), (True,) * SHAPE[1])
    twin = Twin(native, canonical, displacement, made, placement)
    write_twin(folder, "twin", twin, labels.reshape(SHAPE), {"version": "x"})
    lv_ml = [count * VOXEL_ML for count in VOXELS]
    volumes = pd.DataFrame({"frame": range(4), "time_ms": [0.0, 200.0, 400.0, 600.0], "lv_ml": lv_ml, "rv_ml": 0.0})
    volumes.to_csv(folder / "volumes.csv", index=False)
    summary = {
        "model": "cof",
        "function": {"LV": LV, "RV": RV, "rr_ms": 800.0},
        "ecg": {"repairs": ["lead V1 <flat> bridged"]},
        "scan": {"repairs": []},
        "trained_on": {"labeller": {"notice": "labels by a network trained on simulated hearts"}},
        "warnings": [{"of": "labels of the scan", "message": f"EDV of {ID} mL"}],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    write_manifest(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_heart(tmp_path / "twin")
    return tmp_path / "twin"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_to_import_the_package_loads_nothing_heavy() -> None:
    code = "import sys, cof; print(*(m for m in sys.modules if m.startswith(('cof.', 'numpy', 'torch', 'typer'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_waiting_threads_do_not_spin_unless_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import cof, os; print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected]


def test_the_command_line_does_not_pay_for_python() -> None:
    code = "import sys, cof.cli; print(*{'cof.api', 'torch', 'pandas', 'nibabel'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_the_package_offers() -> None:
    assert cof.twin is api.twin
    assert cof.Heart is api.Heart
    assert {"Heart", "twin", "__version__"} <= set(dir(cof))
    with pytest.raises(AttributeError, match="no attribute 'twine'"):
        cof.twine  # noqa: B018


def test_a_heart_holds_what_is_in_its_folder(folder: Path) -> None:
    heart = cof.Heart.read(str(folder))
    np.testing.assert_array_equal(heart.frames, np.arange(np.prod(SHAPE)).reshape(SHAPE))
    np.testing.assert_array_equal((heart.labels == 1).sum((1, 2, 3)), VOXELS)
    assert heart.displacement is not None
    assert heart.displacement.shape == (4, 3, 3, 4, 3)
    assert (heart.displacement == 1.5).all()
    assert heart.displacement.dtype == np.float32
    np.testing.assert_array_equal(heart.affine, np.diag([*SPACING[::-1], 1.0]))
    assert heart.spacing_mm == SPACING
    np.testing.assert_array_equal(heart.times_ms, [0, 200, 400, 600])
    assert (heart.rr_ms, heart.heart_rate_bpm) == (800.0, 75.0)
    np.testing.assert_allclose(heart.volumes["lv_ml"], np.array(VOXELS) * np.prod(heart.spacing_mm) / 1000)
    assert heart.function == {"LV": LV, "RV": RV}
    assert heart.repairs == ["ECG: lead V1 <flat> bridged"]


def test_a_heart_of_images_has_no_displacement(tmp_path: Path) -> None:
    write_heart(tmp_path / "images", moved=False)
    assert cof.Heart.read(tmp_path / "images").displacement is None


def test_no_array_can_be_changed(folder: Path) -> None:
    heart = cof.Heart.read(folder)
    for array in (heart.frames, heart.labels, heart.displacement, heart.affine, heart.times_ms):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_what_is_saved_is_what_was_made_even_when_its_folder_is_gone(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    heart = cof.Heart.read(folder)
    for path in folder.iterdir():
        path.unlink()
    heart.save(tmp_path / "a/b")
    assert contents(tmp_path / "a/b") == before
    assert set(before) == {*FILES, MANIFEST}
    assert cof.Heart.read(tmp_path / "a/b").summary == heart.summary


def test_nothing_is_written_over_without_being_asked_and_nothing_foreign_ever(folder: Path, tmp_path: Path) -> None:
    heart, out = cof.Heart.read(folder), tmp_path / "out"
    heart.save(out)
    with pytest.raises(UsageError, match=r"exists: .* overwrite=True"):
        heart.save(out)
    heart.save(out, overwrite=True)
    (out / "thesis.doc").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.doc"):
        heart.save(out, overwrite=True)
    assert (out / "thesis.doc").read_text() == "mine"


def test_a_foreign_file_is_no_part_of_a_heart(folder: Path, tmp_path: Path) -> None:
    (folder / "thesis.doc").write_text("mine")
    cof.Heart.read(folder).save(tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {*FILES, MANIFEST}


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UsageError, match=f"missing {name}$"):
        cof.Heart.read(folder)


def test_a_heart_says_what_has_to_be_said_and_no_id(folder: Path) -> None:
    heart = cof.Heart.read(folder)
    html, text = heart._repr_html_(), repr(heart)
    for said in (html, text):
        assert "research software, not for diagnosis" in said
        assert "labels by a network trained on simulated hearts" in said
        assert "75 bpm" in said
        assert "50 %" in said
        assert ID not in said
    assert "<tr><th>EDV</th><td>1 mL</td><td>0 mL</td></tr>" in html
    assert "<tr><th>EF</th><td>50 %</td><td>not defined</td></tr>" in html
    assert "<li>ECG: lead V1 &lt;flat&gt; bridged</li><li>labels of the scan: EDV of &lt;id&gt; mL</li>" in html
    assert "repairs: 1, warnings: 1" in text
    assert len(text.splitlines()) == 1
    assert "ECG: lead V1 <flat> bridged" in str(heart)
    assert ID not in str(heart)


def test_a_twin_is_made_by_the_command_lines_own_function_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def make(**arguments: Any) -> None:
        given.update(arguments)
        write_heart(arguments["out"])

    monkeypatch.setattr(api, "twin_from_files", make)
    monkeypatch.setenv("HOME", str(tmp_path))
    heart = cof.twin(ecg="ecg.xml", scan=Path("scan"), weights="~/run", model="static", ed_frame=3, sex="F", seed=7)
    assert heart.rr_ms == 800
    assert not given.pop("out").parent.exists()
    paths = {"ecg": Path("ecg.xml"), "scan": Path("scan"), "weights": tmp_path / "run"}
    unknown = {"age": None, "height": None, "weight": None}
    assert given == paths | unknown | {"model": "static", "ed_frame": 3, "anchor_phase": None, "sex": "F", "seed": 7}


def test_missing_weights_say_where_there_are_some(tmp_path: Path) -> None:
    ecg, scan = tmp_path / "ecg", tmp_path / "scan"
    ecg.touch(), scan.touch()
    for weights in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="weights/bench or weights/real in a checkout") as error:
            cof.twin(ecg=ecg, scan=scan, weights=weights)
        assert len(str(error.value).splitlines()) == 1


def test_errors_name_no_participant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such ECG") as usage:
        cof.twin(ecg=f"{ID}.xml", scan=tmp_path, weights=tmp_path)
    assert ID not in str(usage.value)

    def refuse(**arguments: Any) -> None:
        raise CofError(Reason.ECG_UNREADABLE, f"--ecg {ID}.xml: broken")

    monkeypatch.setattr(api, "twin_from_files", refuse)
    with pytest.raises(CofError, match="broken") as fault:
        cof.twin(ecg=f"{ID}.xml", scan=tmp_path, weights=tmp_path)
    assert ID not in str(fault.value)
    assert fault.value.reason is Reason.ECG_UNREADABLE
