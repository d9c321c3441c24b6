import io
import json
import zipfile
from collections import Counter, defaultdict

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from safetensors import safe_open

from cof.artefacts.folders import write_manifest
from cof.config.data import OdditySettings, PhantomSettings
from cof.phantom.anatomy import build_heart
from cof.phantom.dicom import INLINE_SERIES, SERIES, Oddities, draw_oddities, write_cine_zip
from cof.phantom.population import sample
from cof.phantom.stack import SLICE_DISTANCE_MM, plan_stack
from cof.phantom.stage import make_cohort

QUIET = OdditySettings(repeated_series=0, missing_frame=0, mixed_file_order=0, misspelt_manifest=0, inline_vf_series=0)
TINY = PhantomSettings(train=1, annotated=1, test=1, frames=8, slices=6, matrix=96, oddities=QUIET)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "phantom"
    make_cohort(out=out, settings=TINY, seed=7, workers=1)
    return out


def _files(folder):
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _series(path):
    """DICOM data sets of an archive by series UID, in the order of the file names."""
    found = defaultdict(list)
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".dcm"):
                data = pydicom.dcmread(io.BytesIO(archive.read(name)))
                assert name == f"{data.SOPInstanceUID}.dcm"
                found[data.SeriesInstanceUID].append(data)
    return found


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(cohort, tmp_path):
    make_cohort(out=tmp_path / "phantom", settings=TINY, seed=7, workers=2)
    first, second = _files(cohort), _files(tmp_path / "phantom")
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].read_bytes() == second[name].read_bytes(), name


def test_another_seed_gives_another_heart_and_replaces_the_folder(cohort, tmp_path):
    out = tmp_path / "phantom"
    out.mkdir()
    (out / "stale").write_text("old")
    write_manifest(out)
    make_cohort(out=out, settings=TINY, seed=8, workers=1)
    name = "truth/sub-0001_2.json"
    assert json.loads((out / name).read_text())["edv_ml"] != json.loads((cohort / name).read_text())["edv_ml"]
    assert not (out / "stale").exists()
    assert not out.with_name("phantom.part").exists()


def test_the_sheet_names_files_that_exist(cohort):
    sheet = pd.read_csv(cohort / "subjects.csv", dtype=str, keep_default_na=False)
    assert list(sheet) == ["subject", "visit", "ecg", "cine", "anchor", "annotation", "split"]
    assert list(sheet.subject) == ["sub-0001", "sub-0002"]
    assert list(sheet.split) == ["train", "test"]
    assert list(sheet.annotation != "") == [True, False]
    for column in ("ecg", "cine", "annotation"):
        for path in filter(None, sheet[column]):
            assert (cohort / path).is_file()
    assert len(_files(cohort / "raw")) == 5


def test_the_archive_is_a_cine(cohort):
    truth = json.loads((cohort / "truth/sub-0001_2.json").read_text())
    series = _series(cohort / "raw/cine/sub-0001_20209_2_0.zip")
    by_name = {files[0].SeriesDescription: files for files in series.values()}
    assert sorted(by_name) == [SERIES.format(k + 1) for k in range(6)]
    positions = []
    for k in range(6):
        files = sorted(by_name[SERIES.format(k + 1)], key=lambda data: data.InstanceNumber)
        assert len(files) == files[0].CardiacNumberOfImages == 8
        np.testing.assert_allclose([float(f.TriggerTime) for f in files], np.arange(8) * truth["rr_ms"] / 8, atol=1e-3)
        assert files[0].pixel_array.shape == (96, 96)
        assert list(files[0].PixelSpacing) == pytest.approx(truth["stack"]["spacing_mm"][1:], abs=1e-6)
        assert files[0].SpacingBetweenSlices == SLICE_DISTANCE_MM
        positions.append(np.array(files[0].ImagePositionPatient, float))
    np.testing.assert_allclose(np.linalg.norm(np.diff(positions, axis=0), axis=1), SLICE_DISTANCE_MM, atol=1e-5)
    # The labels lie in the same place as the images.
    affine = nib.load(cohort / "truth/sub-0001_2.labels.nii.gz").affine
    np.testing.assert_allclose(affine[:3, 3] * [-1, -1, 1], positions[0], atol=1e-3)
    np.testing.assert_allclose(affine[:3, 2] * [-1, -1, 1], positions[1] - positions[0], atol=1e-3)
    row = np.array(by_name[SERIES.format(1)][0].ImageOrientationPatient[:3], float)
    np.testing.assert_allclose(affine[:3, 0] * [-1, -1, 1], row * truth["stack"]["spacing_mm"][2], atol=1e-4)


def test_the_manifest_has_its_known_quirks(cohort):
    with zipfile.ZipFile(cohort / "raw/cine/sub-0001_20209_2_0.zip") as archive:
        lines = archive.read("manifest.csv").decode().split("\n")
    header = lines[0].split(",")
    assert header[6] == "series discription"
    # The unquoted date carries a comma, so that each row has one field too many.
    assert {line.count(",") for line in lines[1:]} == {len(header)}
    assert len(lines) == 1 + 6 * 8


def test_the_truth_of_a_test_subject(cohort):
    truth = json.loads((cohort / "truth/sub-0002_2.json").read_text())
    labels = np.asarray(nib.load(cohort / "truth/sub-0002_2.labels.nii.gz").dataobj)
    assert labels.shape == (96, 96, 6, 8)
    with safe_open(cohort / "truth/sub-0002_2.safetensors", "numpy") as file:
        field, geometry = file.get_tensor("displacement"), json.loads(file.metadata()["geometry"])
    assert field.dtype == np.float16
    assert field.shape[:3] == (8, 3, 6)
    assert geometry["native_shape"] == [6, 96, 96]
    assert all(o + n <= whole for o, n, whole in zip(geometry["origin"], field.shape[2:], geometry["native_shape"]))
    assert not (cohort / "truth/sub-0001_2.safetensors").exists()
    assert truth["lv_ml"][0] == pytest.approx(truth["edv_ml"])
    assert truth["esv_ml"] == pytest.approx(truth["edv_ml"] * (1 - truth["ef_pct"] / 100), rel=1e-4)
    assert np.argmin(truth["lv_ml"]) == truth["es_frame"]
    assert truth["provenance"]["config_hash"]


def test_annotations_show_ed_and_es_only(cohort):
    truth = json.loads((cohort / "truth/sub-0001_2.json").read_text())
    labels = np.asarray(nib.load(cohort / "raw/annotations/sub-0001_2.nii.gz").dataobj)
    assert set(np.flatnonzero(labels.any((0, 1, 2)))) == {0, truth["es_frame"]}
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_the_card_compares_with_what_is_published(cohort):
    card = json.loads((cohort / "card.json").read_text())
    row = card["reference"]["calibration"]["edv_ml"]
    assert abs(row["mean"] - row["published_mean"]) < 6
    assert 0 < card["couplings"]["r2_ef_given_ecg"] < 0.5
    assert card["cohort"]["n"] == 2
    assert "nothing about real patients" in (cohort / "card.md").read_text()


class Archive:
    """A tiny archive with chosen oddities."""

    def __init__(self, path, oddities):
        latents = sample("odd", 0)
        stack = plan_stack(build_heart(latents, np.random.default_rng(0)), TINY, np.random.default_rng(0))
        rng = np.random.default_rng(2)
        self.frames = rng.integers(0, 900, (8, 6, 96, 96)).astype(np.uint16)
        self.labels = np.zeros(self.frames.shape, np.uint8)
        self.labels[:, :, 30:50, 40:60] = 1
        write_cine_zip(path, latents, stack, self.frames, self.labels, oddities, np.random.default_rng(1))
        self.path, self.series = path, _series(path)


def test_a_repeated_series_has_the_good_scan_last(tmp_path):
    archive = Archive(tmp_path / "a.zip", Oddities(repeated_slice=2))
    twice = sorted(uid for uid, files in archive.series.items() if files[0].SeriesDescription == SERIES.format(3))
    assert len(twice) == 2
    bad, good = (sorted(archive.series[uid], key=lambda data: data.TriggerTime) for uid in twice)
    assert all(np.array_equal(file.pixel_array, archive.frames[t, 2]) for t, file in enumerate(good))
    assert not any(np.array_equal(file.pixel_array, archive.frames[t, 2]) for t, file in enumerate(bad))


def test_a_missing_frame_is_listed_but_not_there(tmp_path):
    archive = Archive(tmp_path / "a.zip", Oddities(missing=(4, 3)))
    counts = Counter(files[0].SeriesDescription for files in archive.series.values() for _ in files)
    assert counts[SERIES.format(5)] == 7
    times = sorted(float(data.TriggerTime) for data in _of(archive, SERIES.format(5)))
    rr = times[1] * 8
    assert not np.isclose(times, 3 * rr / 8).any()
    with zipfile.ZipFile(archive.path) as opened:
        listed = {line.split(",")[0] for line in opened.read("manifest.csv").decode().split("\n")[1:]}
        assert len(listed - set(opened.namelist())) == 1


def _of(archive, description):
    return next(files for files in archive.series.values() if files[0].SeriesDescription == description)


def test_mixed_file_order_is_undone_by_trigger_time_alone(tmp_path):
    archive = Archive(tmp_path / "a.zip", Oddities(mixed_file_order=True))
    files = _of(archive, SERIES.format(1))
    times = [float(data.TriggerTime) for data in files]
    assert times != sorted(times)
    ordered = sorted(files, key=lambda data: data.TriggerTime)
    assert all(np.array_equal(file.pixel_array, archive.frames[t, 0]) for t, file in enumerate(ordered))


def test_misspelt_manifest(tmp_path):
    with zipfile.ZipFile(Archive(tmp_path / "a.zip", Oddities(misspelt_manifest=True)).path) as archive:
        assert "manifest.cvs" in archive.namelist()
        assert "manifest.csv" not in archive.namelist()


def test_inline_analysis_is_one_series_with_overlays(tmp_path):
    archive = Archive(tmp_path / "a.zip", Oddities(inline_vf=True))
    files = sorted(_of(archive, INLINE_SERIES), key=lambda data: data.InstanceNumber)
    assert len(files) == 48
    z, t = divmod(files[19].InstanceNumber - 1, 8)
    assert np.array_equal(files[19].pixel_array, archive.frames[t, z])
    contour = files[19].overlay_array(0x6000).astype(bool)
    assert contour.sum() == 4 * 20 - 4
    assert not (contour & (archive.labels[t, z] == 0)).any()


def test_oddities_come_at_their_rates():
    rng = np.random.default_rng(0)
    drawn = [draw_oddities(OdditySettings(), 8, 20, rng) for _ in range(2000)]
    assert np.mean([one.repeated_slice is not None for one in drawn]) == pytest.approx(0.1, abs=0.03)
    assert np.mean([one.missing is not None for one in drawn]) == pytest.approx(0.1, abs=0.03)
    assert np.mean([one.misspelt_manifest for one in drawn]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([one.inline_vf for one in drawn]) == pytest.approx(0.1, abs=0.03)
    assert all(one.missing[1] > 0 for one in drawn if one.missing)
    assert draw_oddities(QUIET, 8, 20, rng) == Oddities()
