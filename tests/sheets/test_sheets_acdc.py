"""Patients of ACDC, of which phantoms take the place."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import acdc
from cof import cli
from cof.artefacts.parquet import read_table
from cof.cine.annotations import read_annotation
from cof.cine.nifti import read_nifti
from cof.cine.stage import grid_batch, stack_batch
from cof.cine.volume import read_cine, read_labels
from cof.cohort import build_cohort, select_batch
from cof.config.data import CineSettings, CohortSettings, EcgSettings, GridSettings, QualityLimits
from cof.ecg.stage import beats_batch, parse_batch
from cof.errors import UsageError
from cof.heart.structures import STRUCTURES
from cof.quality.stage import measure_batch
from cof.sheets.acdc import choose_validation, list_patients, write_acdc

GROUPS = {"patient001": "DCM", "patient002": "DCM", "patient003": "NOR", "patient101": "NOR"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return acdc.make(tmp_path_factory.mktemp("acdc"), GROUPS, cines=True)


@pytest.fixture
def folder(raw: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(raw, tmp_path / "ACDC"))


def cells(sheet: Path) -> dict[str, dict[str, str]]:
    with sheet.open(newline="") as file:
        return {row["subject"]: row for row in csv.DictReader(file)}


def refused(folder: Path, out: Path, **options: bool) -> str:
    with pytest.raises(UsageError) as caught:
        write_acdc(folder, out, **options)
    return str(caught.value)


def test_pairs_have_phase_group_split_and_no_ecg(folder: Path, tmp_path: Path) -> None:
    before = sorted(folder.rglob("*"))
    said = write_acdc(folder, tmp_path / "here/subjects.csv")
    assert sorted(folder.rglob("*")) == before  # nothing is written into it
    rows = cells(tmp_path / "here/subjects.csv")
    assert {name: row["group"] for name, row in rows.items()} == GROUPS
    assert all(row["ecg"] == "" and row["origin"] == "real" and row["visit"] == "1" for row in rows.values())
    for name, row in rows.items():
        info = dict(line.split(": ") for line in (folder / name / "Info.cfg").read_text().splitlines())
        assert float(row["es_phase"]) == pytest.approx((int(info["ES"]) - int(info["ED"])) / 8, abs=1e-4)
    lowest = min(["patient001", "patient002"], key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert [name for name in ("patient001", "patient002") if rows[name]["split"] == "validation"] == [lowest]
    assert "4 pairs of ED and ES, without an ECG: 2 NOR (normal), 2 DCM (dilated); 2 train, 2 validation" in said
    assert "4 patients of ACDC's 100 training patients" in said
    assert "CC BY-NC-SA 4.0" in said
    assert "10.1109/TMI.2018.2837502" in said


def test_images_keep_spacing_and_values_and_labels_become_ours(folder: Path, tmp_path: Path) -> None:
    write_acdc(folder, tmp_path / "subjects.csv")
    place = folder / "patient001"
    es = sorted(place.glob("*_gt.nii.gz"))[1]
    images = [nib.load(place / "patient001_frame01.nii.gz"), nib.load(es.with_name(es.name.replace("_gt", "")))]
    pair = read_nifti(tmp_path / "subjects/patient001.nii.gz", 0.4)
    for frame, image in zip(pair.frames, images):
        np.testing.assert_array_equal(frame, np.asarray(image.dataobj).transpose())
    assert pair.spacing_mm == pytest.approx(images[0].header.get_zooms()[::-1])
    assert not pair.oriented  # ACDC's headers tell no orientation
    drawn = read_annotation(tmp_path / "subjects/patient001_labels.nii.gz", pair)
    theirs = np.asarray(nib.load(es).dataobj).transpose()
    for code, name in ((1, "RV"), (2, "myocardium"), (3, "LV")):
        np.testing.assert_array_equal(drawn[1] == STRUCTURES[name], theirs == code)


def test_the_same_folder_gives_the_same_bytes_and_the_two_forms_the_same_pairs(folder: Path, tmp_path: Path) -> None:
    write_acdc(folder, tmp_path / "a/subjects.csv")
    (tmp_path / "database").mkdir()
    moved = folder.rename(tmp_path / "database/training")
    for cine in moved.rglob("*_4d.nii.gz"):
        cine.unlink()
    for packed in list(moved.rglob("*.nii.gz")):  # some copies are not compressed
        nib.save(nib.load(packed), packed.with_suffix(""))
        packed.unlink()
    write_acdc(tmp_path / "database", tmp_path / "b/subjects.csv")
    for path in (tmp_path / "a").rglob("*"):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.is_dir() or path.read_bytes() == other.read_bytes(), path


def test_whole_cines_are_taken_as_they_are(folder: Path, tmp_path: Path) -> None:
    write_acdc(folder, tmp_path / "subjects.csv", cines=True)
    rows = cells(tmp_path / "subjects.csv")
    assert rows["patient001"]["cine"] == "ACDC/patient001/patient001_4d.nii.gz"
    assert rows["patient001"]["ed_frame"] == "0"
    assert "es_phase" not in rows["patient001"]
    labels = read_labels(tmp_path / rows["patient001"]["annotation"])
    assert len(labels) == 8
    assert int(labels.any(axis=(1, 2, 3)).sum()) == 2


def test_the_patients_of_testing_are_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "database/testing").mkdir(parents=True)
    folder.rename(tmp_path / "database/training")
    shutil.move(tmp_path / "database/training/patient101", tmp_path / "database/testing")
    said = write_acdc(tmp_path / "database", tmp_path / "subjects.csv")
    assert list(cells(tmp_path / "subjects.csv")) == ["patient001", "patient002", "patient003"]
    assert "testing/ were not used" in said


def test_patients_that_lack_something_are_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "patient001/Info.cfg").unlink()
    next((folder / "patient002").glob("*01_gt*")).unlink()
    drawn = next((folder / "patient003").glob("*01_gt*"))
    drawn.write_bytes(drawn.read_bytes()[:200])
    said = write_acdc(folder, tmp_path / "subjects.csv")
    assert list(cells(tmp_path / "subjects.csv")) == ["patient101"]
    assert "left out, no Info.cfg: 1 patient (patient001)" in said
    assert "left out, an image or a label file of ED or ES is missing: 1 patient (patient002)" in said
    assert "1 patient (patient003)" in said


def test_a_label_of_another_convention_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*_gt.nii.gz"):
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        values[values == 3] = 7
        nib.save(nib.Nifti1Image(values, None, image.header), path)
    assert "a label file has the label 7" in refused(folder, tmp_path / "subjects.csv")
    assert not (tmp_path / "subjects.csv").exists()
    assert not (tmp_path / "subjects").exists()


def test_nothing_of_others_is_replaced_and_nothing_written_into_the_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "subjects.csv"
    assert "only read" in refused(folder, folder / "subjects.csv")
    (tmp_path / "empty").mkdir()
    assert "no folder such as patient001" in refused(tmp_path / "empty", out)
    (tmp_path / "subjects").mkdir()
    (tmp_path / "subjects/thesis.txt").write_text("mine")
    assert "thesis.txt" in refused(folder, out, overwrite=True)
    (tmp_path / "subjects/thesis.txt").unlink()
    write_acdc(folder, out)
    assert "--overwrite" in refused(folder, out)
    write_acdc(folder, out, overwrite=True)
    (tmp_path / "subjects/thesis.txt").write_text("mine")
    assert "thesis.txt" in refused(folder, out, overwrite=True)


def test_of_groups_of_twenty_the_four_lowest_validate() -> None:
    from cof.sheets.acdc import GROUPS as ALL
    from cof.sheets.acdc import Patient

    names = [f"patient{number:03d}" for number in range(1, 101)]
    nothing = (Path(), Path())
    patients = [
        Patient(name, list(ALL)[place // 20], 1, 10, 30, nothing, nothing, None) for place, name in enumerate(names)
    ]
    chosen = choose_validation(patients)
    assert len(chosen) == 20
    for first in range(0, 100, 20):
        ranked = sorted((hashlib.sha256(name.encode()).hexdigest(), name) for name in names[first : first + 20])
        assert {name for _, name in ranked[:4]} == chosen & set(names[first : first + 20])


def test_the_command_says_what_it_wrote(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sheet", "acdc", str(folder), "--out", str(tmp_path / "acdc.csv")])
    assert ended.value.code in (0, None)
    assert "acdc.csv: 4 pairs" in capsys.readouterr().out


def test_a_pair_passes_every_stage_before_training_without_an_ecg(folder: Path, tmp_path: Path) -> None:
    write_acdc(folder, tmp_path / "acdc.csv")
    root, key = tmp_path / "results", tmp_path / "results/key.parquet"
    split = build_cohort(sheet=tmp_path / "acdc.csv", out=root / "subjects.parquet", key=key, settings=CohortSettings())
    assert split.pairs == 4
    assert "4 have only ED and ES" in str(split)
    table = read_table(root / "subjects.parquet").set_index("subject")
    assert table["group"].to_dict() == {f"{name}-v1": group for name, group in GROUPS.items()}
    batch = root / "b000.parquet"
    select_batch(subjects=root / "subjects.parquet", batch="b000", only=(), out=batch)

    def nobody(stage: str) -> Path:
        return root / f"exclusions-{stage}.parquet"

    parse_batch(sheet=batch, key=key, out=root / "ecg", exclusions=nobody("ecg"), settings=EcgSettings())
    from cof.config.data import BeatSettings

    beats_batch(ecg=root / "ecg", out=root / "beats", exclusions=nobody("beats"), settings=BeatSettings())
    stack_batch(
        sheet=batch, key=key, out=root / "cine", annotations=root / "labels", exclusions=nobody("cine"),
        settings=CineSettings(),
    )  # fmt: skip
    measure_batch(
        ecg=root / "ecg", beats=root / "beats", cine=root / "cine", labels=root / "labels", out=root / "quality",
        exclusions=nobody("quality"), settings=QualityLimits(), checked=root / "checked",
    )  # fmt: skip
    settings = GridSettings(shape=(6, 32, 32), spacing_mm=(10.0, 5.0, 5.0), frames=10)
    grid_batch(
        cine=root / "cine", labels=root / "labels", out=root / "grid", exclusions=nobody("grid"), settings=settings
    )
    for stage in ("ecg", "beats", "cine", "quality", "grid"):
        assert read_table(nobody(stage)).empty, stage
    for stage in ("cine", "grid"):
        for name in table.index:
            pair = read_cine(root / stage / f"{name}.nii")
            assert pair.kind == "pair"
            assert pair.frames.shape[0] == 2
            assert pair.es_phase == table.loc[name, "es_phase"]
            assert np.isnan(pair.rr_ms)
            recorded = json.loads((root / stage / f"{name}.json").read_text())
            assert recorded["rr_ms"] is None
            assert recorded["frame_times_ms"] == [0.0, None]
    measured = read_table(root / "quality").set_index("subject")
    # What needs a cycle or an ECG is unknown, and the rest is measured.
    unknown = ["closure", "ghost", "rate_mismatch_bpm", "ecg_quality", "beat_correlation"]
    assert measured[unknown].isna().all(axis=None)
    assert measured[["dropout", "blur", "base_cut", "apex_cut"]].notna().all(axis=None)
    checked = read_table(root / "checked").set_index("subject")
    assert checked["lv_ef_pct"].between(5, 88).all()
    assert checked["open_curve"].isna().all()


def test_a_pair_whose_frames_are_exchanged_is_left_out(folder: Path, tmp_path: Path) -> None:
    write_acdc(folder, tmp_path / "acdc.csv")
    for name in ("patient001.nii.gz", "patient001_labels.nii.gz"):
        image = nib.load(tmp_path / "acdc" / name)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., ::-1], None, image.header), tmp_path / "acdc" / name)
    long = nib.load(tmp_path / "acdc/patient002.nii.gz")
    three = np.asarray(long.dataobj)[..., [0, 1, 1]]
    nib.save(nib.Nifti1Image(three, None, long.header), tmp_path / "acdc/patient002.nii.gz")
    key = tmp_path / "key.parquet"
    build_cohort(sheet=tmp_path / "acdc.csv", out=tmp_path / "subjects", key=key, settings=CohortSettings())
    stack_batch(
        sheet=tmp_path / "subjects", key=key, out=tmp_path / "cine", annotations=tmp_path / "drawn",
        exclusions=tmp_path / "gone", settings=CineSettings(),
    )  # fmt: skip
    gone = read_table(tmp_path / "gone").set_index("subject")
    assert gone["reason"].to_dict() == {"patient001-v1": "pair_mismatch", "patient002-v1": "pair_mismatch"}
    assert "at ES" in gone.loc["patient001-v1", "message"]
    assert "3 frames" in gone.loc["patient002-v1", "message"]


def test_list_patients_wants_whole_numbers(folder: Path) -> None:
    info = folder / "patient001/Info.cfg"
    info.write_text(info.read_text().replace("ES: ", "ES: about "))
    patients, faults = list_patients(folder)
    assert [patient.name for patient in patients] == ["patient002", "patient003", "patient101"]
    assert faults == {"Info.cfg lacks a whole number for ED, ES or NbFrame": ["patient001"]}
