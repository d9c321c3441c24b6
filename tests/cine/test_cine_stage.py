import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cof.artefacts.parquet import write_table
from cof.cine.grid import read_grid
from cof.cine.stage import grid_batch, stack_batch
from cof.cine.volume import read_cine, read_labels, write_labels
from cof.config.data import CineSettings, GridSettings
from cof.errors import UsageError

SETTINGS = CineSettings(min_slices=5, min_frames=8)
KEY = ("subject", "participant", "visit", "ecg", "cine", "anchor", "annotation", "ed_frame", "labels_map")


class Batch:
    """One batch: subjects are added with their files, then stacked."""

    def __init__(self, root, scan, kit):
        self.root, self.scan, self.kit, self.rows = root, scan, kit, []

    def add(self, name, cine="", anchor="", annotation="", ed_frame=0, labels_map=""):
        files = {"cine": str(cine), "anchor": str(anchor), "annotation": str(annotation), "labels_map": labels_map}
        self.rows.append({"subject": name, "participant": "raw", "visit": 2, "ecg": "", "ed_frame": ed_frame} | files)

    def archive(self, name, scan=None):
        return self.kit.archive(self.root / f"raw/{name}.zip", self.kit.images(scan or self.scan))

    def volume(self, name, values, affine=None):
        path = self.root / f"raw/{name}.nii"
        path.parent.mkdir(exist_ok=True)
        moved = values.transpose(*range(values.ndim)[::-1])
        nib.save(nib.Nifti1Image(np.ascontiguousarray(moved), self.scan.affine if affine is None else affine), path)
        return path

    def stack(self, settings=SETTINGS):
        write_table(self.root / "key.parquet", pd.DataFrame(self.rows, columns=list(KEY)), {})
        write_table(self.root / "b000.parquet", pd.DataFrame({"subject": [row["subject"] for row in self.rows]}), {})
        stack_batch(
            sheet=self.root / "b000.parquet",
            key=self.root / "key.parquet",
            out=self.root / "cine/b000",
            annotations=self.root / "annotations/b000",
            exclusions=self.root / "exclusions/cine/b000.parquet",
            settings=settings,
        )
        rows = pd.read_parquet(self.root / "exclusions/cine/b000.parquet")
        return {(row.subject, row.stage): row.reason for row in rows.itertuples()}

    def cine(self, name):
        return read_cine(self.root / f"cine/b000/{name}.nii")


@pytest.fixture
def batch(tmp_path, scan, kit):
    return Batch(tmp_path, scan, kit)


def test_one_bad_subject_never_stops_the_batch(batch, kit):
    batch.add("good", batch.archive("good"))
    batch.add("gone", batch.root / "raw/none.zip")
    cut = batch.archive("cut")
    cut.write_bytes(cut.read_bytes()[:3000])
    batch.add("cut", cut)
    batch.add("few-slices", batch.archive("few-slices", kit.scan(slices=3)))
    batch.add("few-frames", batch.archive("few-frames", kit.scan(frames=5)))
    batch.add("no-such-ed", batch.archive("no-such-ed"), ed_frame=10)
    batch.add("also-good", batch.archive("also-good"))
    assert batch.stack() == {
        ("gone", "cine"): "cine_missing",
        ("cut", "cine"): "cine_unreadable",
        ("few-slices", "cine"): "cine_too_few_slices",
        ("few-frames", "cine"): "cine_too_few_frames",
        ("no-such-ed", "cine"): "cine_too_few_frames",
    }
    assert sorted(path.name for path in (batch.root / "cine/b000").glob("[!.]*")) == [
        "also-good.json", "also-good.nii", "good.json", "good.nii",
    ]  # fmt: skip


def test_messages_hold_neither_path_nor_participant(batch):
    identity = str(3 * 10**6 + 123456)
    batch.add("sub-abc-v2", batch.root / f"{identity}_20209_2_0.zip")
    batch.add("sub-abd-v2", batch.root / f"{identity}_20209_2_0.nii.gz")
    batch.stack()
    rows = pd.read_parquet(batch.root / "exclusions/cine/b000.parquet")
    assert len(rows) == 2
    assert not rows["message"].str.contains(f"{identity}|/|zip").any()


def test_an_empty_batch_has_empty_artefacts(batch):
    assert batch.stack() == {}
    assert list((batch.root / "cine/b000").glob("[!.]*")) == []
    assert list((batch.root / "annotations/b000").glob("[!.]*")) == []


def test_a_key_of_another_cohort_is_refused(batch):
    batch.add("known", batch.archive("known"))
    batch.stack()
    write_table(batch.root / "b000.parquet", pd.DataFrame({"subject": ["unknown"]}), {})
    with pytest.raises(UsageError, match="key"):
        stack_batch(
            sheet=batch.root / "b000.parquet",
            key=batch.root / "key.parquet",
            out=batch.root / "cine/b000",
            annotations=batch.root / "annotations/b000",
            exclusions=batch.root / "x.parquet",
            settings=SETTINGS,
        )


def test_cine_and_annotation_roll_together_to_ed(batch, scan):
    labels = np.zeros(scan.frames.shape, np.uint8)
    labels[3, :, 4:8, 4:8], labels[7, :, 5:7, 5:7] = 1, 1
    batch.add("sub", batch.archive("sub"), annotation=batch.volume("drawn", labels), ed_frame=3)
    assert batch.stack() == {}
    cine = batch.cine("sub")
    assert cine.rolled_by == 3
    np.testing.assert_array_equal(cine.frames, np.roll(scan.frames, -3, axis=0))
    rolled = read_labels(batch.root / "annotations/b000/sub.nii.gz")
    assert np.flatnonzero(rolled.any(axis=(1, 2, 3))).tolist() == [0, 4]
    assert json.loads((batch.root / "cine/b000/sub.json").read_text())["provenance"]["config_hash"]


def test_codes_of_another_convention_are_mapped_or_left_out(batch, scan):
    ours = np.zeros(scan.frames.shape, np.uint8)
    ours[3, :, 3:11, 3:11], ours[3, :, 5:9, 5:9], ours[3, :, 4:8, 11:13] = 2, 1, 3
    theirs = batch.volume("drawn", np.array([0, 3, 2, 1], np.uint8)[ours])
    batch.add("mapped", batch.archive("mapped"), annotation=theirs, ed_frame=3, labels_map="1:3,2:2,3:1")
    batch.add("as-it-is", batch.archive("as-it-is"), annotation=theirs, ed_frame=3)
    assert batch.stack() == {("as-it-is", "annotations"): "annotation_codes"}
    rolled = read_labels(batch.root / "annotations/b000/mapped.nii.gz")
    np.testing.assert_array_equal(rolled, np.roll(ours, -3, axis=0))
    assert len(batch.cine("as-it-is").frames) == 10


def test_a_faulty_annotation_leaves_the_cine_in(batch, scan):
    labels = np.full(scan.frames.shape, 9, np.uint8)
    batch.add("sub", batch.archive("sub"), annotation=batch.volume("drawn", labels))
    assert batch.stack() == {("sub", "annotations"): "annotation_unreadable"}
    assert len(batch.cine("sub").frames) == 10
    assert not (batch.root / "annotations/b000/sub.nii.gz").exists()


def test_a_lone_anchor_is_a_cine_of_one_frame(batch, scan, kit):
    batch.add("nifti", anchor=batch.volume("anchor", scan.frames[0]))
    batch.add("dicom", anchor=batch.archive("anchor", kit.scan(frames=1)))
    batch.add("few-slices", anchor=batch.volume("few", scan.frames[0, :4]))
    batch.add("moving", anchor=batch.volume("moving", scan.frames))
    assert batch.stack() == {
        ("few-slices", "cine"): "cine_too_few_slices",
        ("moving", "cine"): "anchor_mismatch",
    }
    for name in ("nifti", "dicom"):
        cine = batch.cine(name)
        np.testing.assert_array_equal(cine.frames, scan.frames[:1])
        assert np.isnan(cine.rr_ms)


def test_an_anchor_beside_a_cine_must_fit_and_is_said_to_be_unused(batch, scan):
    shifted = scan.affine.copy()
    shifted[0, 3] += 5
    batch.add("fits", batch.archive("fits"), anchor=batch.volume("fits", scan.frames[2]))
    batch.add("shifted", batch.archive("shifted"), anchor=batch.volume("shifted", scan.frames[2], shifted))
    batch.add("moving", batch.archive("moving"), anchor=batch.volume("moving", scan.frames))
    batch.add("cropped", batch.archive("cropped"), anchor=batch.volume("cropped", scan.frames[2, :, 1:]))
    refused = batch.stack()
    assert refused == {(name, "cine"): "anchor_mismatch" for name in ("shifted", "moving", "cropped")}
    fits = batch.cine("fits")
    np.testing.assert_array_equal(fits.frames, scan.frames)
    assert any("anchor is not used" in repair for repair in fits.repairs)


@pytest.mark.parametrize(("share", "kept"), [(0.1, True), (0.0, False)])
def test_missing_frames_are_repaired_up_to_the_share_of_the_settings(batch, kit, scan, share, kept):
    batch.add("sub", kit.archive(batch.root / "raw/sub.zip", kit.images(scan)[:-1]))
    reasons = batch.stack(CineSettings(min_slices=5, min_frames=8, max_missing=share))
    assert reasons == ({} if kept else {("sub", "cine"): "cine_too_few_frames"})


@pytest.fixture
def labelled(batch, scan):
    heart = np.zeros(scan.frames.shape, np.uint8)
    heart[:, 1:5, 5:11, 4:10], heart[:, 1:5, 6:10, 5:9] = 2, 1
    for name in ("sub-1", "sub-2", "sub-3"):
        batch.add(name, batch.archive(name))
    batch.add("sub-4", anchor=batch.volume("anchor", scan.frames[0]))
    assert batch.stack() == {}
    write_labels(batch.root / "labels/sub-1.nii.gz", heart, scan.affine)
    write_labels(batch.root / "labels/sub-2.nii.gz", np.where(heart == 1, 3, 0), scan.affine)
    write_labels(batch.root / "labels/sub-4.nii.gz", heart[:1], scan.affine)
    return batch


def grid(batch, out="grid"):
    grid_batch(
        cine=batch.root / "cine/b000",
        labels=batch.root / "labels",
        out=batch.root / out,
        exclusions=batch.root / "exclusions.parquet",
        settings=GridSettings(shape=(6, 8, 8), spacing_mm=(10.0, 3.0, 3.0), frames=12),
    )
    return {row.subject: row.reason for row in pd.read_parquet(batch.root / "exclusions.parquet").itertuples()}


def test_every_labelled_heart_gets_its_grid(labelled):
    assert grid(labelled) == {"sub-2": "heart_not_found"}  # sub-3 has no labels: excluded before, no further row
    assert sorted(path.name for path in (labelled.root / "grid").glob("*.nii")) == ["sub-1.nii", "sub-4.nii"]
    frames, placement, cine = read_grid(labelled.root / "grid/sub-1.nii")
    assert frames.shape == (12, 6, 8, 8)
    assert placement.native_shape == (6, 16, 14)
    assert cine.provenance["config_hash"]
    assert read_grid(labelled.root / "grid/sub-4.nii")[0].shape == (1, 6, 8, 8)


def test_the_same_input_gives_the_same_bytes(labelled):
    grid(labelled, "one")
    grid(labelled, "two")
    for path in (labelled.root / "one").iterdir():
        assert path.read_bytes() == (labelled.root / "two" / path.name).read_bytes()


@pytest.mark.parametrize("reverse", [False, True])
def test_an_annotation_tells_base_from_apex_where_the_header_does_not(batch, scan, reverse):
    labels = np.zeros(scan.frames.shape, np.uint8)
    for plane in range(scan.frames.shape[1]):
        labels[0, plane, 2 : 13 - plane, 2 : 11 - plane] = 1
    turn = np.s_[:, ::-1] if reverse else np.s_[:]
    unknown = np.diag([-1.7, -1.9, 10.0, 1.0])
    cine = batch.volume("cine", scan.frames[turn], unknown)
    batch.add("told", cine, annotation=batch.volume("labels", labels[turn], unknown))
    batch.add("untold", cine)
    assert batch.stack() == {}
    told, untold = batch.cine("told"), batch.cine("untold")
    np.testing.assert_array_equal(told.frames, scan.frames)
    np.testing.assert_array_equal(read_labels(batch.root / "annotations/b000/told.nii.gz"), labels)
    np.testing.assert_array_equal(untold.frames, scan.frames[turn])
    assert any("as the annotation shows" in repair for repair in told.repairs) == reverse
    assert any("check that the first is basal" in repair for repair in untold.repairs)
    # Each voxel of the annotation's own file is still where that file says.
    corner = untold.affine @ [3, 4, 5, 1]
    np.testing.assert_allclose(told.affine @ [3, 4, 0 if reverse else 5, 1], corner, atol=1e-4)


def test_what_was_mended_in_an_annotation_stands_in_the_sidecar(batch, scan):
    labels = np.zeros(scan.frames.shape, np.float32)
    labels[0, 1:5, 2:9, 2:9] = 1.0001
    cine = batch.volume("cine", scan.frames, scan.affine)
    batch.add("mended", cine, annotation=batch.volume("labels", labels, scan.affine))
    batch.add("untold", cine)
    assert batch.stack() == {}
    assert "annotation: labels differ by up to 0.0001 from whole numbers, rounded" in batch.cine("mended").repairs
    assert not any("annotation" in repair for repair in batch.cine("untold").repairs)
