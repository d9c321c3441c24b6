"""The scripts of `examples/`: each is short, does what it says, and is right."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import cof
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine, uniform_times, write_cine, write_labels
from cof.heart.structures import STRUCTURES
from unseen import BENCH, REPOSITORY, Unseen, run_example

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


def test_each_is_short_says_how_it_is_called_and_is_tried_here() -> None:
    assert len(EXAMPLES) == 3
    tried = "".join((REPOSITORY / "tests" / name).read_text() for name in ("conftest.py", "test_examples.py"))
    for path in EXAMPLES:
        text = path.read_text()
        assert len(text.splitlines()) <= 25, path.name
        assert f"python examples/{path.name} " in text.split('"""')[1]
        assert f'run_example("{path.name}"' in tried


@pytest.mark.parametrize("document", ["README.md", "docs/start/one-heart.md"])
def test_documents_show_what_there_is(document: str) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / document).read_text(), re.S)
    used = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Attribute | ast.Call)]
    shown = {node.attr for node in used if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "heart"}
    assert shown <= {*dir(cof.Heart), *(field.name for field in dataclasses.fields(cof.Heart))}
    called = {
        keyword.arg for node in used if isinstance(node, ast.Call) and ast.unparse(node.func) == "cof.twin"
        for keyword in node.keywords
    }  # fmt: skip
    assert {"ecg", "scan", "weights"} <= called <= set(inspect.signature(cof.twin).parameters)


@pytest.mark.slow
def test_one_heart(one_heart: tuple[Path, str], unseen: Unseen) -> None:
    folder, said = one_heart
    heart = cof.Heart.read(folder)
    lv_ml = unseen.known["label_lv_ml"]
    exact = 100 * (1 - min(lv_ml) / lv_ml[0])
    found = re.search(r"EDV (\d+) mL, ESV (\d+) mL, EF ([\d.]+) %, (\d+) bpm", said)
    assert found is not None
    assert float(found[3]) == pytest.approx(exact, abs=5)
    assert float(found[1]) == pytest.approx(lv_ml[0], rel=0.1)
    assert float(found[4]) == pytest.approx(60_000 / unseen.known["rr_ms"], abs=1)
    smallest = re.search(r"25 frames of 10 slices; the LV is smallest (\d+) ms", said)
    assert smallest is not None
    assert float(smallest[1]) == pytest.approx(unseen.known["t_es_ms"], abs=80)
    assert "labels by a network trained on simulated hearts" in said.splitlines()
    assert heart.frames.shape == (25, 10, 144, 144)
    assert heart.summary["scan"]["rolled_by"] == 0


@pytest.mark.slow
def test_two_volumes(unseen: Unseen, tmp_path: Path) -> None:
    """End diastole is warped onto end systole: the images agree better, within the heart, too."""
    scan = read_cine_source(unseen.scan, 0.0)
    es = unseen.known["es_frame"]
    for name, frame in (("ed", 0), ("es", es)):
        nib.save(nib.Nifti1Image(scan.frames[frame].transpose(2, 1, 0), scan.affine), tmp_path / f"{name}.nii.gz")
    fixed, moving, out = tmp_path / "es.nii.gz", tmp_path / "ed.nii.gz", tmp_path / "registered"
    said = run_example("register_two_volumes.py", fixed, moving, BENCH, out)
    told = re.search(r"correlation ([\d.]+) before, ([\d.]+) after", said)
    assert told is not None
    assert float(told[2]) > float(told[1]) + 0.1
    warped = np.asarray(nib.load(out / "warped.nii.gz").dataobj).transpose(2, 1, 0)
    labels = np.asarray(nib.load(unseen.labels).dataobj).transpose(3, 2, 1, 0)
    heart = (labels[0] > 0) | (labels[es] > 0)
    before, after = (np.corrcoef(scan.frames[es][heart], image[heart])[0, 1] for image in (scan.frames[0], warped))
    assert after > before + 0.1


def test_a_folder_of_twins(tmp_path: Path) -> None:
    """A twin that is the real heart, and one whose LV is in every later frame half of it, in a known place."""
    shape, affine = (3, 2, 8, 8), np.diag([2.0, 2.0, 10.0, 1.0])
    real = np.zeros(shape, np.uint8)
    real[0, :, :4], real[1:, :, :2] = STRUCTURES["LV"], STRUCTURES["LV"]
    real[..., 6:, :4], real[..., 6:, 4:] = STRUCTURES["myocardium"], STRUCTURES["RV"]
    half = real.copy()
    half[1:, :, 1] = 0
    for name, made in (("sub-0001-v2", real), ("sub-0002-v2", half)):
        image = Cine(real.astype(np.int16), affine, uniform_times(3, 900.0), 900.0)
        write_cine(tmp_path / "twins" / f"{name}.nii", image)
        write_labels(tmp_path / "twins" / f"{name}.labels.nii.gz", made, affine)
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", real, affine)
    said = run_example("evaluate_twins.py", tmp_path / "twins", tmp_path / "labels")
    rows = {line.split()[0]: [float(value) for value in line.split()[1:]] for line in said.splitlines()[2:]}
    heads = ["Dice LV", "Dice myocardium", "Dice RV", "EF", "real EF"]
    assert said.splitlines()[0].split() == " ".join(heads).split()
    assert rows["sub-0001-v2"] == [1, 1, 1, 50, 50]
    assert rows["sub-0002-v2"] == [0.667, 1, 1, 75, 50]
