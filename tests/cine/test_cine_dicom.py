import copy
import random
import re

import numpy as np
import pytest
from pydicom.uid import RLELossless

from cof.cine import elements
from cof.cine.reader import read_cine_source
from cof.errors import CofError, Reason


def refused(path, max_missing=0.1) -> Reason:
    with pytest.raises(CofError) as caught:
        read_cine_source(path, max_missing)
    return caught.value.reason


def renamed(datasets, name, series=None):
    for data in datasets:
        data.SeriesDescription = name
        if series is not None:
            data.SeriesInstanceUID = series
            data.SOPInstanceUID = f"{series}.{data.SOPInstanceUID}"
    return datasets


def of_slice(datasets, number):
    return [data for data in datasets if data.SeriesDescription.endswith(f"_b{number}")]


def test_an_oblique_stack_comes_back_exactly(kit, scan, archived):
    datasets = kit.images(scan)
    random.Random(0).shuffle(datasets)
    cine = read_cine_source(archived(datasets, {"manifest.cvs": b"filename,patientid\n"}), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    np.testing.assert_allclose(cine.affine, scan.affine, atol=1e-5)
    np.testing.assert_allclose(cine.spacing_mm, kit.spacing_mm, atol=1e-5)
    np.testing.assert_allclose(cine.frame_times_ms, np.arange(kit.frames) * 90.0)
    assert cine.rr_ms == kit.rr_ms
    assert cine.repairs == ()
    assert cine.series[0] == "CINE_segmented_SAX_b1"


def test_a_folder_is_as_good_as_an_archive(kit, scan, tmp_path):
    for index, data in enumerate(kit.images(scan)):
        file = tmp_path / f"cine/{index % 3}/{index}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(kit.encode(data))
    np.testing.assert_array_equal(read_cine_source(tmp_path / "cine", 0.1).frames, scan.frames)


def test_slices_are_numbered_as_integers(kit, archived):
    scan = kit.scan(slices=12)
    np.testing.assert_array_equal(read_cine_source(archived(kit.images(scan)), 0.1).frames, scan.frames)


def test_trigger_time_goes_before_instance_number(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        data.InstanceNumber = kit.frames + 1 - data.InstanceNumber
    np.testing.assert_array_equal(read_cine_source(archived(datasets), 0.1).frames, scan.frames)


def test_without_trigger_times_instance_numbers_count(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        del data.TriggerTime
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.rr_ms == 1000.0  # the nominal interval
    assert len(cine.repairs) == 1
    assert re.search("instance numbers; no other element confirms", cine.repairs[0])


def test_instance_numbers_that_another_time_confirms_leave_no_doubt(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        del data.TriggerTime
        data.ContentTime = f"1000{data.InstanceNumber:02d}.5"
    assert read_cine_source(archived(datasets), 0.1).repairs == ()


def test_without_any_order_of_time_the_archive_is_unreadable(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        del data.TriggerTime, data.InstanceNumber
    assert refused(archived(datasets)) is Reason.CINE_UNREADABLE


def test_without_any_interval_rr_is_assumed_and_said(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        del data.TriggerTime, data.NominalInterval
    cine = read_cine_source(archived(datasets), 0.1)
    assert cine.rr_ms == 1000.0
    assert any("RR" in repair for repair in cine.repairs)


@pytest.mark.parametrize(("lost", "stands_in"), [(0, 9), (4, 3), (9, 8)])
@pytest.mark.parametrize("with_trigger", [True, False])
def test_a_missing_frame_is_replaced_by_the_one_before(kit, scan, archived, lost, stands_in, with_trigger):
    datasets = kit.images(scan)
    datasets.remove(of_slice(datasets, 3)[lost])
    if not with_trigger:
        for data in datasets:
            del data.TriggerTime
    cine = read_cine_source(archived(datasets), 0.1)
    expected = scan.frames.copy()
    expected[lost, 2] = expected[stands_in, 2]
    np.testing.assert_array_equal(cine.frames, expected)
    said = f"slice 3: frame {lost + 1} is missing, the one before is repeated"
    if lost == 9:  # of a shorter slice nothing is missing
        said = "slice 3: its frames end 1 before those of the others, at frame 9 of 10; the last one is repeated"
    assert said in cine.repairs
    assert len(cine.repairs) == 1 + (not with_trigger)


def test_a_missing_frame_is_found_when_every_slice_has_its_own_rate_and_offset(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        rate = 1 + 0.02 * int(data.SeriesDescription[-1])
        data.TriggerTime = str(round(rate * (float(data.TriggerTime) + 45), 3))  # the first frame half a frame late
    datasets.remove(of_slice(datasets, 5)[0])
    expected = scan.frames.copy()
    expected[0, 4] = expected[9, 4]
    np.testing.assert_array_equal(read_cine_source(archived(datasets), 0.1).frames, expected)


def test_too_many_missing_frames_are_refused(kit, scan, archived):
    datasets = kit.images(scan)
    for data in of_slice(datasets, 3)[2:4]:
        datasets.remove(data)
    path = archived(datasets)
    assert refused(path) is Reason.CINE_TOO_FEW_FRAMES
    assert len(read_cine_source(path, 0.2).repairs) == 2


def test_of_repeated_series_the_last_counts(kit, scan, archived):
    datasets = kit.images(scan)
    first_take = copy.deepcopy(of_slice(datasets, 2))
    for data in first_take:
        kit.set_pixels(data, np.full((kit.rows, kit.columns), 7))
        data.SeriesInstanceUID, data.SOPInstanceUID = "1.2.0.2", data.SOPInstanceUID.replace("1.2.3", "1.2.0")
    cine = read_cine_source(archived([*first_take, *datasets]), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.repairs == (
        "slice 2: acquired 2 times, nothing tells which is the latest: the one with the highest series UID and numbers "
        "is used, 10 images of the others left out",
    )


def test_a_broken_off_repetition_does_not_count(kit, scan, archived):
    datasets = kit.images(scan)
    broken_off = copy.deepcopy(of_slice(datasets, 2)[:3])
    for data in broken_off:
        kit.set_pixels(data, np.full((kit.rows, kit.columns), 7))
        data.SeriesInstanceUID, data.SOPInstanceUID = "1.2.9.2", data.SOPInstanceUID.replace("1.2.3", "1.2.9")
    np.testing.assert_array_equal(read_cine_source(archived([*broken_off, *datasets]), 0.1).frames, scan.frames)


def test_results_and_long_axes_are_left_out(kit, scan, archived):
    datasets = kit.images(scan)
    inline = renamed(kit.images(scan, series="1.2.8.{}"), "CINE_segmented_SAX_InlineVF")
    long_axis = renamed(kit.images(kit.scan(slices=3), series="1.2.7.{}"), "CINE_segmented_LAX_4Ch")
    cine = read_cine_source(archived([*inline, *datasets, *long_axis]), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.repairs == ()


def test_an_archive_of_long_axes_has_no_short_axis(kit, scan, archived):
    assert refused(archived(renamed(kit.images(scan), "CINE_segmented_LAX_2Ch"))) is Reason.CINE_NO_SHORT_AXIS


def test_an_archive_without_dicom_has_no_short_axis(archived):
    assert refused(archived([], {"contours/1.txt": b"1 2\n", "manifest.csv": b""})) is Reason.CINE_NO_SHORT_AXIS


@pytest.mark.parametrize("reverse", [False, True])
def test_without_numbers_the_lie_of_the_heart_tells_base_from_apex(kit, scan, archived, reverse):
    datasets = kit.images(scan, name=None, series="1.2.3")  # one nameless series, as General Electric has them
    for number, data in enumerate(datasets, 1):
        data.InstanceNumber = number
    if reverse:  # rows upside down turn the normal of the images around
        for data in datasets:
            x, y = np.split(np.array(data.ImageOrientationPatient, float), 2)
            far = np.array(data.ImagePositionPatient, float) + y * kit.spacing_mm[1] * (kit.rows - 1)
            data.ImagePositionPatient = [f"{value:.6f}" for value in far]
            data.ImageOrientationPatient = [f"{value:.9f}" for value in (*x, *-y)]
            pixels = np.frombuffer(data.PixelData, "<u2").reshape(data.Rows, data.Columns)
            kit.set_pixels(data, pixels[::-1])
    cine = read_cine_source(archived(datasets), 0.1)
    expected = scan.frames[:, :, ::-1] if reverse else scan.frames
    np.testing.assert_array_equal(cine.frames, expected)
    np.testing.assert_allclose(cine.affine[:3, 2], scan.affine[:3, 2], atol=1e-4)


def test_images_of_other_planes_are_left_out_and_counted(kit, scan, archived):
    scouts = kit.images(kit.scan(slices=2, frames=1), name=None, series="1.9.{}")
    for data in scouts:
        data.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    cine = read_cine_source(archived([*kit.images(scan, name=None), *scouts]), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.repairs == ("2 images in other planes left out",)


def test_a_slice_of_another_matrix_goes_to_where_its_position_says(kit, scan, archived):
    datasets = kit.images(scan)
    for data in of_slice(datasets, 4):  # two columns more on the left, three rows fewer on top
        pixels = np.frombuffer(data.PixelData, "<u2").reshape(kit.rows, kit.columns)
        kit.set_pixels(data, np.pad(pixels, ((0, 0), (2, 0)))[3:])
        x, y = np.split(np.array(data.ImageOrientationPatient, float), 2)
        position = np.array(data.ImagePositionPatient, float)
        moved = position - 2 * x * kit.spacing_mm[2] + 3 * y * kit.spacing_mm[1]
        data.ImagePositionPatient = [f"{value:.6f}" for value in moved]
    cine = read_cine_source(archived(datasets), 0.1)
    expected = scan.frames.copy()
    expected[:, 3, :3] = 0
    np.testing.assert_array_equal(cine.frames, expected)
    np.testing.assert_allclose(cine.affine, scan.affine, atol=1e-4)
    assert cine.repairs == ("slices 4 cropped or padded to the matrix of the others",)


def test_a_gap_between_slices_is_refused(kit, scan, archived):
    datasets = [data for data in kit.images(scan) if not data.SeriesDescription.endswith("_b3")]
    assert refused(archived(datasets)) is Reason.CINE_GEOMETRY


def change_spacing(data):
    data.PixelSpacing = ["nan", "nan"]


def change_size(data):
    data.PixelSpacing = ["25", "25"]


def change_position(data):
    data.ImagePositionPatient = ["inf", "0", "0"]


def change_orientation(data):
    data.ImageOrientationPatient = ["1", "0", "0", "1", "0", "0"]


def drop_position(data):
    del data.ImagePositionPatient


@pytest.mark.parametrize(
    "change",
    [change_spacing, change_size, change_position, change_orientation, drop_position],
)
def test_impossible_geometry_is_refused(kit, scan, archived, change):
    datasets = kit.images(scan)
    for data in datasets:
        change(data)
    assert refused(archived(datasets)) is Reason.CINE_GEOMETRY


def test_a_single_slice_is_no_stack(kit, archived):
    assert refused(archived(kit.images(kit.scan(slices=1)))) is Reason.CINE_TOO_FEW_SLICES


def test_compressed_images_are_decoded(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        kit.encode(data)
        data.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read_cine_source(archived(datasets), 0.1).frames, scan.frames)


def test_a_rescaled_image_is_in_rescaled_units(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        data.RescaleSlope, data.RescaleIntercept = "2", "-1000"
    np.testing.assert_array_equal(read_cine_source(archived(datasets), 0.1).frames, 2 * scan.frames - 1000)


def test_unsigned_intensities_beyond_int16_are_stretched_and_said(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        data.BitsStored, data.HighBit = 16, 15
        kit.set_pixels(data, np.frombuffer(data.PixelData, "<u2").reshape(kit.rows, kit.columns) * 15)
    cine = read_cine_source(archived(datasets), 0.1)
    expected = scan.frames * (30_000 / scan.frames.max())
    np.testing.assert_allclose(cine.frames, expected, atol=0.51)
    assert "to fit 16 bits" in cine.repairs[-1]


def test_an_image_cut_short_is_a_missing_frame(kit, scan, archived):
    datasets = kit.images(scan)
    lost = of_slice(datasets, 2)[5]
    datasets.remove(lost)
    cine = read_cine_source(archived(datasets, {"x.dcm": kit.encode(lost)[:-50], "y.dcm": b"no image"}), 0.1)
    np.testing.assert_array_equal(cine.frames[5, 1], scan.frames[4, 1])
    assert cine.repairs[0] == "2 unreadable files left out"


def test_black_images_are_refused(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        kit.set_pixels(data, np.zeros((kit.rows, kit.columns)))
    assert refused(archived(datasets)) is Reason.CINE_NOT_FINITE


def test_a_black_slice_is_said(kit, scan, archived):
    datasets = kit.images(scan)
    for data in of_slice(datasets, 6):
        kit.set_pixels(data, np.zeros((kit.rows, kit.columns)))
    assert read_cine_source(archived(datasets), 0.1).repairs == ("slice 6 is black",)


def test_no_message_or_repair_names_the_patient(kit, scan, archived):
    datasets = kit.images(scan)
    identity = str(123 * 10**4 + 4567)
    for data in datasets:
        data.PatientID = identity
        data.SeriesDescription = f"SAX {identity}"
    cine = read_cine_source(archived(datasets), 0.1)
    assert identity not in repr((cine.series, cine.repairs))


def test_one_mixed_series_is_split_by_position(kit, scan, archived):
    mixed = renamed(kit.images(scan), "CINE_segmented_SAX", "1.2.3")
    for number, data in enumerate(mixed, 1):
        data.InstanceNumber = number
    cine = read_cine_source(archived(mixed), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.series == ("CINE_segmented_SAX",)


@pytest.mark.parametrize(
    "manifest", [None, b"", b"\xff\xfe\x00" * 50, b"filename,patientid\nno-such-file.dcm,1\n", b"b" * 10**6]
)
def test_the_manifest_cannot_mislead(kit, scan, archived, manifest):
    others = {} if manifest is None else {"manifest.csv": manifest}
    np.testing.assert_array_equal(read_cine_source(archived(kit.images(scan), others), 0.1).frames, scan.frames)


def test_numbers_with_a_hole_are_said_where_positions_have_none(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        number = int(data.SeriesDescription.rsplit("_b", 1)[1])
        data.SeriesDescription = f"CINE_segmented_SAX_b{number + (number > 2)}"
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.repairs == ("slices are numbered 1, 2, 4, 5, 6, 7",)


def test_where_numbers_contradict_positions_these_count(kit, scan, archived):
    datasets = kit.images(scan)
    swapped = {2: 4, 4: 2}
    for data in datasets:
        number = int(data.SeriesDescription.rsplit("_b", 1)[1])
        data.SeriesDescription = f"CINE_segmented_SAX_b{swapped.get(number, number)}"
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.repairs == ("the numbers of the slices contradict their positions: the positions are used",)


def test_surplus_frames_and_doubles_are_left_out(kit, scan, archived):
    datasets = kit.images(scan)
    late = copy.deepcopy(of_slice(datasets, 3)[-1])
    late.InstanceNumber, late.TriggerTime, late.SOPInstanceUID = kit.frames + 1, str(kit.rr_ms), "1.9.1"
    double = copy.deepcopy(of_slice(datasets, 5)[4])
    double.SOPInstanceUID = "1.9.2"
    cine = read_cine_source(archived([*datasets, late, double]), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.repairs == ("slice 5: 1 duplicates left out", "slice 3: 1 surplus frames left out")


def test_a_stray_image_of_another_place_is_a_missing_frame(kit, scan, archived):
    datasets = kit.images(scan)
    stray = of_slice(datasets, 2)[6]
    stray.ImagePositionPatient = of_slice(datasets, 5)[6].ImagePositionPatient
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames[6, 1], scan.frames[5, 1])
    assert cine.repairs[0] == "slice 2: 1 images at another place left out"


def test_a_slice_of_another_spacing_is_resampled_to_where_it_lies(kit, archived):
    # Intensities linear in space come out the same on any grid.
    scan = kit.scan()
    t, z, y, x = np.meshgrid(*map(np.arange, scan.frames.shape), indexing="ij")
    linear = 300 * z + 40 * t + 60 * y + 30 * x
    datasets = kit.images(type(scan)(linear.astype(np.int16), scan.affine))
    for data in of_slice(datasets, 4):  # twice the resolution, with the same first voxel
        frame = int(data.InstanceNumber) - 1
        fine = np.add.outer(30 * np.arange(2 * kit.rows), 15 * np.arange(2 * kit.columns)) + 900 + 40 * frame
        kit.set_pixels(data, fine)
        data.PixelSpacing = [f"{kit.spacing_mm[1] / 2:.6f}", f"{kit.spacing_mm[2] / 2:.6f}"]
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_allclose(cine.frames, linear, atol=1)
    assert cine.repairs == ("slices 4 resampled to the matrix of the others",)


def test_a_slice_turned_in_its_plane_is_turned_back(kit, scan, archived):
    datasets = kit.images(scan)
    for data in of_slice(datasets, 2):  # rows become columns
        pixels = np.frombuffer(data.PixelData, "<u2").reshape(kit.rows, kit.columns)
        x, y = np.split(np.array(data.ImageOrientationPatient, float), 2)
        far = np.array(data.ImagePositionPatient, float) + x * kit.spacing_mm[2] * (kit.columns - 1)
        data.ImagePositionPatient = [f"{value:.6f}" for value in far]
        data.ImageOrientationPatient = [f"{value:.9f}" for value in (*y, *-x)]
        data.PixelSpacing = [f"{kit.spacing_mm[2]:.6f}", f"{kit.spacing_mm[1]:.6f}"]
        kit.set_pixels(data, pixels[:, ::-1].T)
    cine = read_cine_source(archived(datasets), 0.1)
    inner = (..., slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(cine.frames[inner], scan.frames[inner], atol=1)


@pytest.mark.parametrize(
    ("tag", "value"),
    [("Rows", 65535), ("Columns", 65535), ("Rows", 0), ("NumberOfFrames", "2147483647"), ("BitsAllocated", 64)],
)
def test_absurd_dimensions_are_unreadable(kit, archived, tag, value):
    datasets = kit.images(kit.scan(slices=2, frames=2))
    for data in datasets:
        setattr(data, tag, value)
    assert refused(archived(datasets)) is Reason.CINE_UNREADABLE


@pytest.mark.parametrize("spacing", [["0", "0"], ["-1.9", "1.7"], ["inf", "inf"], ["1.9"]])
def test_impossible_spacings_are_refused(kit, archived, spacing):
    datasets = kit.images(kit.scan(slices=2, frames=2))
    for data in datasets:
        data.PixelSpacing = spacing
    assert refused(archived(datasets)) is Reason.CINE_GEOMETRY


def test_the_walk_reads_what_pydicom_reads(kit, scan):
    data = kit.images(scan)[7]
    data.ReferencedImageSequence = [copy.deepcopy(data)]
    data["ReferencedImageSequence"].is_undefined_length = True
    content = kit.encode(data)
    walked, parsed = elements._walk(content), elements._by_pydicom(content)
    pixels = walked.pop("PixelData")
    assert pixels == parsed.dataset.PixelData
    padding = b" \0"
    assert {name: value.rstrip(padding) for name, value in walked.items() if value not in (b"\0\0",)} == {
        name: value.rstrip(padding) for name, value in parsed.values.items() if value not in (b"\0\0",)
    }
