"""DICOM exports of a heart: readers of others, and our own, find the same voxels at the same places and times."""

import re
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.orientations import io_orientation, ornt_transform
from small_heart import COLUMNS, FRAMES, ROWS, RR_MS, SLICES, SPACING_MM, small_heart, untimed

from checkers import said_by
from cof.cine.dicom import read_dicom
from cof.errors import UsageError
from cof.privacy import check_paths
from cof.twins.exports import dicom, seg
from cof.twins.exports.heart import SYNTHETIC, Heart

# What dciodvfy says of a file that tells no date, as ours do; everything else is a fault.
NO_DATE = {
    f"Warning - </{name}> - Missing attribute or value that would be needed to build DICOMDIR"
    for name in ("StudyDate(0008,0020)", "StudyTime(0008,0030)")
}


@pytest.fixture(scope="module", params=[0, -900], ids=["unsigned", "signed"])
def heart(request: pytest.FixtureRequest) -> Heart:
    return small_heart(request.param)


@pytest.fixture(scope="module")
def folder(heart: Heart, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exports")
    for name, module in (("dicom", dicom), ("seg", seg)):
        (root / name).mkdir()
        assert module.write(heart, root / name) == sorted((root / name).iterdir())
    return root


def onto(image: nib.Nifti1Image, affine: np.ndarray) -> nib.Nifti1Image:
    """The same image with the order and directions of axes of another."""
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), io_orientation(affine)))


def test_our_reader_reads_the_series_back_as_synthetic(heart: Heart, folder: Path) -> None:
    read = read_dicom(folder / "dicom", max_missing=0)
    np.testing.assert_array_equal(read.frames, heart.cine.frames)
    np.testing.assert_allclose(read.affine, heart.affine, atol=1e-6)
    np.testing.assert_allclose(read.frame_times_ms, heart.times_ms, atol=1e-2)
    assert read.rr_ms == pytest.approx(RR_MS, abs=1e-2)
    assert read.synthetic
    assert read.repairs == ()


def test_a_scan_without_orientation_is_no_mirror_image_and_is_read_back_from_the_base(
    heart: Heart, tmp_path: Path
) -> None:
    """Columns to the right, rows down, slices towards the observer at the apex: a left-handed order of the three."""
    plain = np.diag([*SPACING_MM[::-1], 1.0])
    unknown = replace(heart, cine=replace(heart.cine, affine=plain, oriented=False))
    np.testing.assert_array_equal(unknown.affine[:3, :3], np.diag([SPACING_MM[2], SPACING_MM[1], -SPACING_MM[0]]))
    assert np.linalg.det(unknown.affine[:3, :3]) < 0
    dicom.write(unknown, tmp_path)
    read = read_dicom(tmp_path, max_missing=0)
    np.testing.assert_array_equal(read.frames, heart.cine.frames)
    np.testing.assert_allclose(read.affine, unknown.affine, atol=1e-6)
    assert read.repairs == ()
    known = replace(heart, cine=replace(heart.cine, affine=plain))
    np.testing.assert_array_equal(known.affine, plain)


def test_dcm2niix_makes_the_same_cine_of_the_series(heart: Heart, folder: Path, tmp_path: Path) -> None:
    said_by("dcm2niix", "-z", "n", "-f", "cine", "-o", tmp_path, folder / "dicom")
    (path,) = tmp_path.glob("*.nii")
    image = onto(nib.load(path), heart.affine)
    np.testing.assert_allclose(image.affine, heart.affine, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(3, 2, 1, 0), heart.cine.frames)


def test_dciodvfy_finds_no_fault(folder: Path) -> None:
    paths = [*sorted((folder / "dicom").iterdir())[:: FRAMES + 1], *(folder / "seg").iterdir()]
    for path in paths:
        said = set(said_by("dciodvfy", "-new", path).splitlines())
        assert said <= NO_DATE | {"MRImage", "Segmentation"}, path.name


def test_images_and_segmentations_are_of_one_patient_and_study(folder: Path) -> None:
    assert said_by("dcentvfy", *sorted(folder.rglob("*.dcm"))).strip() == ""


@pytest.mark.parametrize("frame", range(FRAMES))
def test_dcmqi_finds_the_labels_in_the_segmentations(heart: Heart, folder: Path, tmp_path: Path, frame: int) -> None:
    path = folder / "seg" / f"frame{frame + 1:02d}.dcm"
    words = ("--inputDICOM", path, "--outputDirectory", tmp_path, "--outputType", "nifti", "--mergeSegments")
    said_by("segimage2itkimage", *words)
    (made,) = tmp_path.glob("*.nii.gz")
    image = onto(nib.load(made), heart.affine)
    np.testing.assert_allclose(image.affine, heart.affine, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), heart.labels[frame])


@pytest.mark.parametrize("frame", range(FRAMES))
def test_segmentations_tell_structures_and_refer_to_the_images_of_their_frame(
    heart: Heart, folder: Path, frame: int
) -> None:
    made = hd.seg.segread(folder / "seg" / f"frame{frame + 1:02d}.dcm")
    volume = made.get_volume(combine_segments=True)
    # highdicom puts slices in the order of its own normal, from the apex on.
    np.testing.assert_array_equal(volume.array, heart.labels[frame][::-1])
    codes = {segment.SegmentLabel: segment.SegmentedPropertyTypeCodeSequence[0] for segment in made.SegmentSequence}
    assert {name: (code.CodeValue, code.CodingSchemeDesignator) for name, code in codes.items()} == {
        "LV": ("87878005", "SCT"), "myocardium": ("49848007", "SCT"), "RV": ("53085002", "SCT"),
    }  # fmt: skip
    images = [pydicom.dcmread(path) for path in sorted((folder / "dicom").glob(f"*_frame{frame + 1:02d}.dcm"))]
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        image.SOPInstanceUID for image in images
    }
    assert made.SyntheticData == "YES"
    assert SYNTHETIC in made.SeriesDescription


def test_a_frame_without_labels_has_an_empty_segmentation(heart: Heart) -> None:
    labels = heart.labels.copy()
    labels[1] = 0
    made = seg.segmentations(replace(heart, labels=labels))[1]
    assert made.NumberOfFrames == 3 * SLICES
    assert not made.pixel_array.any()


def test_every_image_says_what_it_is_and_where(heart: Heart, folder: Path) -> None:
    paths = sorted((folder / "dicom").iterdir())
    assert len(paths) == FRAMES * SLICES
    for number, path in enumerate(paths):
        image, (plane, frame) = pydicom.dcmread(path), divmod(number, FRAMES)
        assert (image.SyntheticData, list(image.ImageType)[:2]) == ("YES", ["DERIVED", "SECONDARY"])
        assert SYNTHETIC in image.SeriesDescription
        assert (image.InstanceNumber, image.TemporalPositionIdentifier) == (number + 1, frame + 1)
        assert (image.NumberOfTemporalPositions, image.CardiacNumberOfImages) == (FRAMES, FRAMES)
        assert float(image.TriggerTime) == pytest.approx(heart.times_ms[frame])
        assert (image.NominalInterval, image.HeartRate) == (901, 67)
        position = (heart.affine @ [0, 0, plane, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(np.array(image.ImagePositionPatient, float), position, atol=1e-9)
        axes = heart.affine[:3, :2] / SPACING_MM[:0:-1] * [[-1], [-1], [1]]
        np.testing.assert_allclose(np.array(image.ImageOrientationPatient, float), axes.T.ravel(), atol=1e-9)
        assert [float(x) for x in image.PixelSpacing] == pytest.approx(SPACING_MM[1:])
        assert float(image.SliceThickness) == float(image.SpacingBetweenSlices) == pytest.approx(SPACING_MM[0])
        assert (image.Rows, image.Columns) == (ROWS, COLUMNS)


def test_files_tell_no_time_of_day_and_nobody(folder: Path) -> None:
    uids = set()
    for path in folder.rglob("*.dcm"):
        image = pydicom.dcmread(path)
        for element in image.iterall():
            if element.VR in ("DA", "TM", "DT"):
                assert element.value in ("", seg.NO_DATE.strftime("%Y%m%d"), "000000"), element
        assert image.PatientName == "SYNTHETIC^HEART"
        assert image.ImageComments.endswith("“others”")
        assert re.fullmatch("SYNTHETIC-[A-P]{12}", image.PatientID)
        assert (image.PatientBirthDate, image.PatientSex, image.AccessionNumber) == ("", "", "")
        assert image.SOPInstanceUID not in uids
        uids.add(image.SOPInstanceUID)
        ours = [element.value for element in image.iterall() if element.VR == "UI"]
        assert all(re.fullmatch(r"2\.25\.[1-9]\d{30,38}", uid) for uid in ours if not uid.startswith("1.2.840.10008."))


@pytest.mark.parametrize("module", [dicom, seg])
def test_the_same_heart_has_the_same_bytes_and_another_one_other_uids(module, heart: Heart, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        module.write(heart, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    frames = heart.cine.frames.copy()
    frames[0, 0, 0, 0] += 1
    other = replace(heart, cine=replace(heart.cine, frames=frames))
    ours, theirs = dicom.cine_datasets(heart)[1][1], dicom.cine_datasets(other)[1][1]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert ours[name].value != theirs[name].value


def test_a_cycle_of_unknown_duration_has_an_order_and_no_time(heart: Heart, tmp_path: Path) -> None:
    dicom.write(untimed(heart), tmp_path)
    image = pydicom.dcmread(tmp_path / "slice01_frame02.dcm")
    assert not {"TriggerTime", "NominalInterval", "HeartRate", "TemporalResolution"} & set(image.dir())
    read = read_dicom(tmp_path, max_missing=0)
    np.testing.assert_array_equal(read.frames, heart.cine.frames)
    assert any("no plausible trigger times" in repair for repair in read.repairs)


def test_axes_that_are_not_at_right_angles_are_refused(heart: Heart) -> None:
    affine = heart.affine.copy()
    affine[:3, 0] += 0.01 * affine[:3, 1]
    with pytest.raises(UsageError, match="right angles"):
        dicom.cine_datasets(replace(heart, cine=replace(heart.cine, affine=affine)))


IDENTITY = str(2 * 10**6 + 345678)  # shaped like a participant id, so never written out


def test_privacy_finds_what_is_planted_and_nothing_in_uids_and_pixels(
    heart: Heart, folder: Path, tmp_path: Path
) -> None:
    assert list(check_paths([folder])) == []
    image = pydicom.dcmread(folder / "dicom" / "slice01_frame01.dcm")
    pixels = f"x{IDENTITY}x\0".encode()
    image.PixelData = pixels + image.PixelData[len(pixels) :]
    image.save_as(tmp_path / "pixels.dcm", enforce_file_format=True)
    assert list(check_paths([tmp_path])) == []
    for tag, value in (
        ("PatientID", IDENTITY),
        ("StudyID", f"v{IDENTITY}_2"),
        ("SeriesDescription", f"SAX {IDENTITY}"),
    ):
        planted = pydicom.dcmread(folder / "dicom" / "slice01_frame01.dcm")
        setattr(planted, tag, value)
        planted.save_as(tmp_path / "planted.dcm", enforce_file_format=True)
        assert [place.split(",")[0].rpartition("/")[2] for place in check_paths([tmp_path])] == ["planted.dcm"], tag
    segmented = pydicom.dcmread(folder / "seg" / "frame01.dcm")
    segmented.SegmentSequence[2].SegmentLabel = IDENTITY
    segmented.save_as(tmp_path / "planted.dcm", enforce_file_format=True)
    assert len(list(check_paths([tmp_path]))) == 1
    behind = pydicom.dcmread(folder / "dicom" / "slice01_frame01.dcm")
    behind.DataSetTrailingPadding = IDENTITY.encode() + b"\0"
    behind.save_as(tmp_path / "planted.dcm", enforce_file_format=True)
    assert len(list(check_paths([tmp_path]))) == 1
