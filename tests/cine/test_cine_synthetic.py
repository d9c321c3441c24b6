"""Images that say they are synthetic are read as such, never in the place of recorded ones, never as real."""

import numpy as np
import pandas as pd
import pytest
from coded import enhanced

from cof.artefacts.parquet import write_table
from cof.cine.reader import read_cine_source
from cof.cine.stage import stack_batch
from cof.cine.volume import read_cine, write_cine
from cof.config.data import CineSettings


def said_synthetic(datasets):
    for data in datasets:
        data.SyntheticData = "YES"
    return datasets


def derived(datasets):
    for data in datasets:
        data.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    return datasets


@pytest.mark.parametrize("say", [said_synthetic, derived])
@pytest.mark.parametrize("form", [list, lambda datasets: [enhanced(datasets)]], ids=["single", "enhanced"])
def test_the_header_tells(kit, scan, archived, say, form, tmp_path):
    datasets = say(kit.images(scan))
    for data in datasets:
        kit.encode(data)
    cine = read_cine_source(archived(form(datasets)), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.synthetic
    write_cine(tmp_path / "a.nii", cine)
    assert read_cine(tmp_path / "a.nii").synthetic


def test_other_images_are_not_synthetic(kit, scan, archived, tmp_path):
    datasets = kit.images(scan)
    for data in datasets[::2]:
        data.SyntheticData = "NO"
    cine = read_cine_source(archived(datasets), 0.1)
    assert not cine.synthetic
    write_cine(tmp_path / "a.nii", cine)
    assert not read_cine(tmp_path / "a.nii").synthetic
    assert "synthetic" not in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("say", [said_synthetic, derived])
def test_beside_recorded_images_they_are_left_out(kit, scan, archived, say):
    made = say(kit.images(scan, series="1.2.9.{}"))
    for data in made:  # a later acquisition would count
        kit.set_pixels(data, np.zeros((kit.rows, kit.columns), np.uint16))
        data.SeriesNumber = 900
    cine = read_cine_source(archived([*made, *kit.images(scan)]), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert not cine.synthetic
    assert f"{len(made)} synthetic images left out: the recorded ones are read" in cine.repairs


@pytest.mark.parametrize(("origin", "reasons"), [("real", ["cine_synthetic"]), ("simulated", []), ("", []), (None, [])])
def test_a_cohort_of_real_hearts_takes_none(kit, scan, archived, tmp_path, origin, reasons):
    archive = archived(said_synthetic(kit.images(scan)))
    files = {"ecg": "", "cine": str(archive), "anchor": "", "annotation": "", "ed_frame": 0, "labels_map": ""}
    sheet = pd.DataFrame({"subject": ["sub"]} | ({} if origin is None else {"origin": [origin]}))
    write_table(tmp_path / "sheet", sheet, {})
    write_table(tmp_path / "key", pd.DataFrame([{"subject": "sub", "participant": "raw", "visit": 2} | files]), {})
    stack_batch(
        sheet=tmp_path / "sheet",
        key=tmp_path / "key",
        out=tmp_path / "cine",
        annotations=tmp_path / "annotations",
        exclusions=tmp_path / "exclusions",
        settings=CineSettings(min_slices=5, min_frames=8),
    )
    assert list(pd.read_parquet(tmp_path / "exclusions")["reason"]) == reasons
    assert (tmp_path / "cine/sub.nii").is_file() == (not reasons)
