"""Which images of a source become its frames, and in which order, in several forms in which scanners write."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from coded import enhanced_fully, run_length
from pydicom.dataset import Dataset

from cof.cine.ed import find_ed
from cof.cine.reader import read_cine_source
from cof.errors import CofError, Reason

SLICES, FRAMES = 3, 8
OTHER = 2500  # added to the pixels of what must not be read
NAME = "CINE_SAX_b{}"


def one_series_a_slice(datasets: list[Dataset]) -> list[Dataset]:
    return datasets


def one_series(datasets: list[Dataset]) -> list[Dataset]:
    """All slices in one series, numbered through where the images have numbers."""
    several = len({data.SeriesInstanceUID for data in datasets}) > 1
    for number, data in enumerate(datasets, 1):
        data.SeriesInstanceUID = f"1.2.{data.SeriesInstanceUID.split('.')[2]}"
        data.SeriesDescription = data.SeriesDescription.rsplit("_b", 1)[0]
        if "InstanceNumber" in data and several:
            data.InstanceNumber = number
    return datasets


def one_file(datasets: list[Dataset]) -> list[Dataset]:
    """One enhanced file a series of all slices, its frames in disorder."""
    files = []
    for series in dict.fromkeys(data.SeriesInstanceUID.split(".")[2] for data in datasets):
        mine = [data for data in datasets if data.SeriesInstanceUID.split(".")[2] == series]
        random.Random(1).shuffle(mine)
        whole = enhanced_fully(mine)
        whole.SeriesInstanceUID, whole.SOPInstanceUID = f"1.2.{series}", f"1.2.{series}.1"
        whole.SeriesDescription = mine[0].SeriesDescription.rsplit("_b", 1)[0]
        files.append(whole)
    return files


FORMS = [one_series_a_slice, one_series, one_file]
CLASSIC = FORMS[:2]


class Source:
    """Images of one scan, and of others beside it, in one of the forms."""

    def __init__(self, kit, archived) -> None:
        self.kit, self.scan, self.archived = kit, kit.scan(SLICES, FRAMES), archived

    def images(self, change: Callable | None = None, other: bool = False, series: int = 3) -> list[Dataset]:
        """The scan's images, or others of the same places; `change(data, t, z)` changes each."""
        datasets = self.kit.images(self.scan, NAME, f"1.2.{series}.{{}}")
        for k, data in enumerate(datasets):
            self.kit.encode(data)
            if other:
                pixels = np.frombuffer(data.PixelData, "<u2").reshape(data.Rows, data.Columns)
                self.kit.set_pixels(data, pixels + OTHER)
                data.SOPInstanceUID += ".9"
            if change:
                change(data, k % FRAMES, k // FRAMES)
        return datasets

    def read(self, datasets: list[Dataset], max_missing: float = 0.1):
        return read_cine_source(self.archived(datasets), max_missing)

    def reads_the_scan(self, datasets: list[Dataset]):
        cine = self.read(datasets)
        np.testing.assert_array_equal(cine.frames, self.scan.frames)
        return cine

    def refuses(self, datasets: list[Dataset], max_missing: float = 0.1) -> CofError:
        with pytest.raises(CofError) as caught:
            self.read(datasets, max_missing)
        return caught.value


@pytest.fixture
def source(kit, archived) -> Source:
    return Source(kit, archived)


# Which frames: phase maps, tags, stills


def ge_phase(data):
    data.add_new(0x00430010, "LO", "GEMS_PARM_01")
    data.add_new(0x0043102F, "SS", 1)


def of_type(*words):
    return lambda data: setattr(data, "ImageType", ["ORIGINAL", "PRIMARY", *words])


def of_component(word):
    return lambda data: setattr(data, "ComplexImageComponent", word)


PHASES = {
    "siemens": of_type("P", "RETRO", "DIS2D"),
    "philips": of_type("PHASE MAP", "P", "FFE"),
    "velocity": of_type("VELOCITY MAP", "P", "PCA"),
    "velocity-alone": of_type("VELOCITY", "NONE"),
    "real": of_type("R_FFE", "R", "FFE"),
    "imaginary": of_type("I_FFE", "I", "FFE"),
    "component": of_component("PHASE"),
    "real-component": of_component("REAL"),
    "imaginary-component": of_component("IMAGINARY"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mark", PHASES.values(), ids=PHASES)
@pytest.mark.parametrize("same_series", [True, False])
def test_phase_maps_beside_magnitude_images_are_left_out_and_said(source, form, mark, same_series):
    phases = source.images(lambda data, t, z: mark(data), other=True, series=3 if same_series else 4)
    magnitudes = source.images(lambda data, t, z: of_type("M", "RETRO")(data))
    cine = source.reads_the_scan(form([*phases, *magnitudes]))
    assert cine.rr_ms == source.kit.rr_ms
    assert cine.repairs == ("24 phase, velocity, real or imaginary images left out: magnitude images are read",)


def test_general_electrics_own_element_tells_phase_maps(source):
    phases = source.images(lambda data, t, z: ge_phase(data), other=True)
    source.reads_the_scan(one_series([*phases, *source.images()]))


@pytest.mark.parametrize("form", FORMS)
def test_phase_maps_alone_are_no_cine(source, form):
    error = source.refuses(form(source.images(lambda data, t, z: of_type("P", "ND")(data))))
    assert error.reason is Reason.CINE_NO_SHORT_AXIS
    assert "magnitude" in str(error)


@pytest.mark.parametrize(
    "words", [("M", "ND"), ("M_FFE", "M", "FFE"), ("M_PCA", "M", "PCA"), ("OTHER",), ("CARDIAC", "NONE")]
)
def test_magnitude_images_stay_whatever_the_vendor_calls_them(source, words):
    assert source.reads_the_scan(source.images(lambda data, t, z: of_type(*words)(data))).repairs == ()


TAGS = {
    "description": ("SeriesDescription", "SAX_tagging"),
    "short": ("SeriesDescription", "SAX_TAG"),
    "tagged": ("SeriesDescription", "cine tagged SAX"),
    "spamm": ("SeriesDescription", "CSPAMM_sax"),
    "grid": ("SeriesDescription", "gre_grid_SAX"),
    "dense": ("SeriesDescription", "DENSE SAX"),
    "protocol": ("ProtocolName", "sax_GridTag"),
    "sequence": ("SequenceName", "*fl2d1_tag"),
    "flavour": ("ImageType", ["ORIGINAL", "PRIMARY", "M", "TAGGED"]),
}


@pytest.mark.parametrize("form", CLASSIC)
@pytest.mark.parametrize(("element", "value"), TAGS.values(), ids=TAGS)
def test_tagged_series_beside_a_cine_are_left_out_and_said(source, form, element, value):
    def tag(data, t, z):
        data.SeriesNumber, data.SeriesTime = 99, "235959"  # later, too
        setattr(data, element, value)

    tagged = source.images(tag, other=True, series=4)
    cine = source.reads_the_scan(form([*source.images(), *tagged]))
    assert cine.repairs == ("24 images of tagged series left out",)


def test_an_enhanced_file_says_that_it_is_tagged(source):
    tagged = one_file(source.images(other=True, series=4))
    modifier, tags = Dataset(), Dataset()
    tags.Tagging = "GRID"
    modifier.MRModifierSequence = [tags]
    for group in tagged[0].SharedFunctionalGroupsSequence:
        group.MRModifierSequence = [tags]
    source.reads_the_scan([*tagged, *one_file(source.images())])


def test_a_tagged_series_alone_is_no_cine(source):
    error = source.refuses(source.images(lambda data, t, z: setattr(data, "SeriesDescription", "SAX_tagging")))
    assert error.reason is Reason.CINE_NO_SHORT_AXIS
    assert "tag" in str(error)


@pytest.mark.parametrize("name", ["CINE_SAX_stage2", "SAX vintage", "SAX_regridded", "Condensed SAX"])
def test_words_that_only_look_like_tags_leave_a_cine_alone(source, name):
    assert (
        source.reads_the_scan(source.images(lambda data, t, z: setattr(data, "SeriesDescription", name))).repairs == ()
    )


@pytest.mark.parametrize("name", ["SAX_LGE_PSIR", "T1map MOLLI SAX", "perfusion sax", "SAX"])
def test_stills_between_the_slices_are_left_out_and_said(source, name):
    stills = [data for data in source.images(other=True, series=5) if data.InstanceNumber == 1]
    for data in stills:
        data.SeriesInstanceUID, data.SeriesDescription = "1.2.5", name
        normal = np.cross(*np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3)))
        data.ImagePositionPatient = [
            f"{value:.5f}" for value in np.array(data.ImagePositionPatient, float) + 4 * normal
        ]
    cine = source.reads_the_scan(one_series(source.images()) + stills)
    assert len(cine.repairs) == 1
    assert cine.repairs[0].startswith("3 images of series")


def test_a_cine_that_is_left_out_leaves_no_anchor(source):
    tagged = source.images(lambda data, t, z: setattr(data, "SeriesDescription", "SAX_tagging"), other=True, series=4)
    stills = [data for data in source.images() if data.InstanceNumber == 1]
    error = source.refuses([*tagged, *stills])
    assert error.reason is Reason.CINE_TOO_FEW_FRAMES
    assert "tagged" in str(error)


def test_single_images_are_an_anchor_though_the_scanner_counted_a_cycle(source):
    def count(data, t, z):
        data.CardiacNumberOfImages = FRAMES

    stills = [data for data in source.images(count) if data.InstanceNumber == 1]
    assert source.read(stills).frames.shape[0] == 1


# Which frames: acquisitions


def at(data, number=None, time=None, content=None, series_time=None):
    """When a dataset was acquired; dates are those of one day."""
    data.AcquisitionDate = data.SeriesDate = data.ContentDate = "20200101"
    if number is not None:
        data.AcquisitionNumber = number
    for name, value in (("AcquisitionTime", time), ("ContentTime", content), ("SeriesTime", series_time)):
        if value is not None:
            setattr(data, name, value)


TWICE = {
    "number": lambda data, later: at(data, number=10 + 89 * later),
    "number-before-UID-order": lambda data, later: at(data, number=9 + later),
    "time": lambda data, later: at(data, time=f"1{later}0000.5"),
    "content time": lambda data, later: at(data, content=f"1{later}0000"),
}


@pytest.mark.parametrize("form", CLASSIC)
@pytest.mark.parametrize("tell", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("delay_ms", [0, 3, 45])
@pytest.mark.parametrize("slices", [{2}, {0, 1, 2}], ids=["one", "all"])
def test_of_a_slice_acquired_twice_in_one_series_the_later_counts(source, form, tell, delay_ms, slices):
    def earlier(data, t, z):
        tell(data, 0)
        data.TriggerTime = f"{float(data.TriggerTime) + delay_ms:.6g}"
        data.InstanceNumber = FRAMES * (SLICES + z) + t + 1

    def later(data, t, z):
        tell(data, 1)
        data.InstanceNumber = FRAMES * z + t + 1

    first = [data for k, data in enumerate(source.images(earlier, other=True)) if k // FRAMES in slices]
    second = source.images(later)
    if form is one_series:
        for data in [*first, *second]:
            data.SeriesInstanceUID, data.SeriesDescription = "1.2.3", "CINE_SAX"
    cine = source.reads_the_scan([*first, *second])
    assert cine.rr_ms == source.kit.rr_ms
    assert len(cine.repairs) == 1
    assert "acquired 2 times, the latest complete one by " in cine.repairs[0]
    assert f"{FRAMES} images of the others left out" in cine.repairs[0]


@pytest.mark.parametrize("tell", ["number", "time"])
def test_of_a_slice_acquired_twice_in_one_enhanced_file_the_later_counts(source, tell):
    first = source.images(lambda data, t, z: TWICE[tell](data, 0), other=True)
    second = source.images(lambda data, t, z: TWICE[tell](data, 1))
    cine = source.reads_the_scan(one_file([*second, *first]))
    assert "acquired 2 times" in cine.repairs[0]


@pytest.mark.parametrize("delay_ms", [0, 3, 45])
@pytest.mark.parametrize("timed", ["trigger", "position", "nothing"])
def test_instance_numbers_alone_tell_two_acquisitions_apart(source, timed, delay_ms):
    def moment(data, t, z):
        if timed != "trigger":
            del data.TriggerTime
        if timed == "position":
            data.TemporalPositionIdentifier = t + 1
        data.SeriesInstanceUID, data.SeriesDescription = "1.2.3", "CINE_SAX"

    def earlier(data, t, z):
        data.TriggerTime = f"{float(data.TriggerTime) + delay_ms:.6g}"
        moment(data, t, z)
        data.InstanceNumber = FRAMES * z + t + 1

    def later(data, t, z):
        moment(data, t, z)
        data.InstanceNumber = FRAMES * (SLICES + z) + t + 1

    cine = source.reads_the_scan([*source.images(later), *source.images(earlier, other=True)])
    assert "the latest complete one by instance number" in cine.repairs[0]


def test_unlike_images_of_one_moment_that_nothing_tells_apart_are_refused(source):
    error = source.refuses([*source.images(), *source.images(other=True)])
    assert error.reason is Reason.CINE_UNREADABLE
    assert "2 different images have one moment" in str(error)


LATER = {
    "acquisition time": lambda data, later: at(data, time=f"10{10 + later}00", series_time=f"11{10 - later}00"),
    "series time": lambda data, later: at(data, series_time=f"0{8 + later}5959"),
    "content time": lambda data, later: at(data, content=f"10590{later}.25"),
    "series number": lambda data, later: setattr(data, "SeriesNumber", 9 + later),
    "acquisition number": lambda data, later: at(data, number=9 + later),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("by", "tell"), LATER.items(), ids=LATER)
@pytest.mark.parametrize(("early", "late"), [(9, 10), (10, 9), (3, 4)])
def test_of_two_series_the_later_counts_whatever_their_uids(source, form, by, tell, early, late):
    first = form(source.images(lambda data, t, z: tell(data, 0), other=True, series=early))
    second = form(source.images(lambda data, t, z: tell(data, 1), series=late))
    cine = source.reads_the_scan([*second, *first])
    assert cine.repairs == (
        f"slices 1, 2, 3: acquired 2 times, the latest complete one by {by} is used, "
        "8 images of the others left out each",
    )


def test_an_acquisition_after_midnight_is_the_later(source):
    def day(date, time):
        def change(data, t, z):
            data.AcquisitionDate, data.AcquisitionTime = date, time

        return change

    first = source.images(day("20200101", "235500"), other=True, series=9)
    source.reads_the_scan([*first, *source.images(day("20200102", "000500"), series=8)])


@pytest.mark.parametrize("frames", [3, 6])
def test_a_later_acquisition_that_was_broken_off_does_not_count(source, frames):
    broken = source.images(lambda data, t, z: TWICE["time"](data, 1), other=True, series=9)
    broken = [data for data in broken if data.InstanceNumber <= frames]
    cine = source.reads_the_scan([*broken, *source.images(lambda data, t, z: TWICE["time"](data, 0))])
    assert "the only complete one is used" in cine.repairs[0]


def test_where_nothing_tells_the_later_series_that_is_said(source):
    cine = source.reads_the_scan([*source.images(series=10), *source.images(other=True, series=9)])
    assert "nothing tells which is the latest" in cine.repairs[0]


@pytest.mark.parametrize("uid", ["1.9", "{z}", "{t}"])
def test_an_instance_uid_that_repeats_with_other_pixels_keeps_all_images(source, uid):
    def repeat(data, t, z):
        data.SOPInstanceUID = "1.9." + uid.format(z=z + 1, t=t + 1)

    assert source.reads_the_scan(source.images(repeat)).repairs == ()


def test_the_same_file_twice_is_one_image(source):
    cine = source.reads_the_scan([*source.images(), *source.images()])
    assert cine.repairs[0] == "slice 1: 8 duplicates left out"


def test_frames_in_series_of_their_own_are_one_cine(source):
    def alone(data, t, z):
        data.SeriesInstanceUID = f"1.2.{z}.{t}"

    source.reads_the_scan(source.images(alone))


def test_numbers_of_acquisitions_that_count_frames_make_no_acquisitions(source):
    assert source.reads_the_scan(source.images(lambda data, t, z: at(data, number=t + 1))).repairs == ()
    assert source.reads_the_scan(source.images(lambda data, t, z: at(data, number=t // 4 + 1))).repairs == ()


@pytest.mark.parametrize("gone", [("TriggerTime", "InstanceNumber"), ("InstanceNumber",)])
def test_a_cine_whose_frames_nothing_tells_apart_is_never_one_frame(source, gone):
    def drop(data, t, z):
        for name in gone:
            delattr(data, name)
        data.SOPInstanceUID = "1.9"
        if gone == ("InstanceNumber",):
            data.TriggerTime = "0"

    assert source.refuses(source.images(drop)).reason is Reason.CINE_UNREADABLE


# Which order


SHUFFLED = random.Random(5).sample(range(FRAMES), FRAMES)


def by_trigger(data, t, z):
    pass


def by_position(data, t, z):
    del data.TriggerTime
    data.TemporalPositionIdentifier = t + 1


def by_position_beside_zero_triggers(data, t, z):
    data.TriggerTime, data.TemporalPositionIdentifier = "0", t + 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tell", [by_trigger, by_position, by_position_beside_zero_triggers])
@pytest.mark.parametrize("number", ["random", "one"])
def test_frames_follow_time_whatever_their_instance_numbers(source, form, tell, number):
    def change(data, t, z):
        tell(data, t, z)

    datasets = form(source.images(change))
    if form is not one_file:
        for k, data in enumerate(datasets):
            data.InstanceNumber = SHUFFLED[k % FRAMES] + FRAMES * (k // FRAMES) if number == "random" else 1
    source.reads_the_scan(datasets)


@pytest.mark.parametrize("pointer", [0x00209128, 0x00209153, 0x00209241])
def test_dimensions_of_an_enhanced_file_tell_the_order(source, pointer):
    frames = source.images()
    order = random.Random(2).sample(range(len(frames)), len(frames))
    (whole,) = [enhanced_fully([frames[k] for k in order])]
    slice_dimension, time_dimension = Dataset(), Dataset()
    slice_dimension.DimensionIndexPointer, time_dimension.DimensionIndexPointer = 0x00209057, pointer
    whole.DimensionIndexSequence = [slice_dimension, time_dimension]
    for k, frame in zip(order, whole.PerFrameFunctionalGroupsSequence):
        del frame.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime
        frame.FrameContentSequence[0].DimensionIndexValues = [k // FRAMES + 1, k % FRAMES + 1]
    source.reads_the_scan([whole])


def test_enhanced_files_of_one_frame_of_all_slices_are_in_order(source):
    frames = source.images()
    for data in frames:
        del data.TriggerTime
    files = []
    for t in range(FRAMES):
        whole = enhanced_fully(frames[t::FRAMES])
        whole.InstanceNumber, whole.SOPInstanceUID, whole.SeriesInstanceUID = t + 1, f"1.7.{t}", "1.7"
        whole.SeriesDescription = "SAX"
        files.append(whole)
    source.reads_the_scan(files)


@pytest.mark.parametrize("element", ["AcquisitionTime", "ContentTime"])
def test_times_of_recording_order_frames_for_want_of_better_and_that_is_said(source, element):
    def change(data, t, z):
        data.TriggerTime, data.InstanceNumber = "0", 1
        setattr(data, element, f"1000{t:02d}.5")

    cine = source.reads_the_scan(one_series_a_slice(source.images(change)))
    assert any("since nothing more reliable gives an order" in repair for repair in cine.repairs)


@pytest.mark.parametrize("begin", [lambda z: 10_000 * (z + 1), lambda z: 35_000, lambda z: 7000 * z, lambda z: 250 * z])
def test_trigger_times_that_count_from_elsewhere_tell_order_alone(source, begin):
    def change(data, t, z):
        data.TriggerTime = f"{float(data.TriggerTime) + begin(z):.8g}"

    cine = source.reads_the_scan(source.images(change))
    assert np.isnan(cine.delay_ms)
    assert cine.rr_ms == source.kit.rr_ms
    assert find_ed(cine, None, None)[1] == "image"
    assert "not counted from the R peak" in cine.repairs[0]


def test_frames_of_several_beats_are_refused(source):
    def change(data, t, z):
        data.NominalInterval = 450

    error = source.refuses(source.images(change))
    assert error.reason is Reason.CINE_UNREADABLE
    assert "more than one beat" in str(error)


def test_prospective_gating_is_said(source):
    def change(data, t, z):
        data.NominalInterval = 1200

    cine = source.reads_the_scan(source.images(change))
    assert cine.rr_ms == source.kit.rr_ms
    assert "the frames last 900 ms of the scanner's RR interval of 1200 ms" in cine.repairs[0]


def test_the_heart_rate_gives_the_interval_where_nothing_else_does(source):
    def change(data, t, z):
        del data.TriggerTime, data.NominalInterval
        data.HeartRate = 75

    assert source.reads_the_scan(source.images(change)).rr_ms == 800.0


PHASE_FRAMES = 25


def phased(kit, counts, duration_ms, interval=True):
    """Images whose pixels are their phase in thousandths; slices have so many frames over their cycle."""
    datasets = []
    for z in range(SLICES):
        count = counts.get(z, PHASE_FRAMES)
        images = kit.images(kit.scan(SLICES, count), NAME)
        for t, data in enumerate(images[z * count : (z + 1) * count]):
            kit.set_pixels(data, np.full((kit.rows, kit.columns), 100 + round(1000 * t / count)))
            data.TriggerTime = f"{t * duration_ms(count) / count:.6g}"
            if interval:
                data.NominalInterval = round(duration_ms(count))
            datasets.append(data)
    return datasets


@pytest.mark.parametrize("count", [20, 23, 27])
@pytest.mark.parametrize("duration_ms", [lambda n: 1000.0, lambda n: 40.0 * n], ids=["same cycle", "same frame"])
@pytest.mark.parametrize("trigger", [0.0, 20.0, 5000.0, None])
def test_a_slice_that_covers_its_cycle_in_other_frames_is_resampled_in_time(kit, archived, count, duration_ms, trigger):
    datasets = phased(kit, {1: count}, duration_ms)
    if trigger is None and duration_ms(25) == duration_ms(24):
        pytest.skip("nothing tells the cycle")
    for data in datasets:
        if trigger is None:
            del data.TriggerTime
        else:
            data.TriggerTime = f"{float(data.TriggerTime) + trigger:.6g}"
    cine = read_cine_source(archived(datasets), 0.1)
    assert cine.frames.shape[0] == PHASE_FRAMES
    phases = (cine.frames[:, :, 0, 0] - 100) / 1000
    np.testing.assert_allclose(phases[:, 0], np.arange(25) / 25, atol=1e-3)
    apart = np.abs(phases[:, 1] - phases[:, 0])
    assert np.minimum(apart, 1 - apart).max() <= 0.5 / min(count, 25) + 1e-3
    # All but the seam between the last frame and the first are exact.
    assert np.sort(apart)[-3] <= 2e-3 if trigger in (0.0, 5000.0, None) else True
    assert f"slice 2: its {count} frames cover the cycle, resampled in time to 25" in cine.repairs


def test_frames_that_are_lost_between_others_are_still_repeated(kit, archived):
    datasets = phased(kit, {}, lambda n: 1000.0)
    del datasets[25 + 7], datasets[25 + 12]
    cine = read_cine_source(archived(datasets), 0.1)
    expected = np.arange(25) / 25
    expected[[7, 13]] = expected[[6, 12]]
    np.testing.assert_allclose((cine.frames[:, 1, 0, 0] - 100) / 1000, expected, atol=1e-3)
    assert cine.repairs == tuple(f"slice 2: frame {k} is missing, the one before is repeated" for k in (8, 14))


def test_a_frame_lost_in_every_slice_leaves_the_others_in_phase(source):
    datasets = source.images()
    lost = {(z, 1 + z) for z in range(SLICES)}
    kept = [data for k, data in enumerate(datasets) if (k // FRAMES, k % FRAMES) not in lost]
    cine = source.read(kept, 0.13)
    expected = source.scan.frames.copy()
    for z, t in lost:
        expected[t, z] = expected[t - 1, z]
    np.testing.assert_array_equal(cine.frames, expected)
    assert len(cine.repairs) == SLICES


def test_slices_of_unlike_rr_intervals_are_in_phase_as_they_are(source):
    def change(data, t, z):
        data.TriggerTime = f"{float(data.TriggerTime) * (0.9 + 0.1 * z):.6g}"
        data.NominalInterval = round(1000 * (0.9 + 0.1 * z))

    cine = source.reads_the_scan(source.images(change))
    assert cine.repairs == ()
    assert cine.rr_ms == pytest.approx(900.0, abs=1)


def test_frames_whose_number_is_that_of_several_cycles_by_the_scanner_are_refused(source):
    def change(data, t, z):
        del data.TriggerTime
        data.CardiacNumberOfImages = 4

    error = source.refuses(source.images(change))
    assert error.reason is Reason.CINE_UNREADABLE
    assert "CardiacNumberOfImages" in str(error)


# Where frames lie


def comma(text: str) -> str:
    return text.replace(".", ",")


@pytest.mark.parametrize("coded", [False, True], ids=["plain", "run-length"])
@pytest.mark.parametrize("slices", [{1}, {0, 1, 2}], ids=["one", "all"])
@pytest.mark.parametrize("name", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "TriggerTime"])
def test_decimal_commas_are_read_as_points_and_said(source, kit, tmp_path, name, slices, coded):
    folder = tmp_path / "cine"
    folder.mkdir()
    for k, data in enumerate(source.images()):
        data.TriggerTime = f"{float(data.TriggerTime):07.2f}"
        content = kit.encode(run_length(data) if coded else data)
        if k // FRAMES in slices:
            value = data[name].value
            text = "\\".join(map(str, value)) if name != "TriggerTime" else str(data.TriggerTime)
            assert text.encode() in content
            content = content.replace(text.encode(), comma(text).encode())
        (folder / f"{k}.dcm").write_bytes(content)
    cine = read_cine_source(folder, 0.1)
    np.testing.assert_array_equal(cine.frames, source.scan.frames)
    np.testing.assert_allclose(cine.affine, source.scan.affine, atol=1e-4)
    assert cine.rr_ms == pytest.approx(source.kit.rr_ms, abs=0.1)
    assert cine.repairs == (f"{name} of {FRAMES * len(slices)} images has decimal commas, read as points",)


@pytest.mark.parametrize("text", [b"1,9,1,7", b"1,95.1,75", b"1,9\\1,7\\2"])
def test_commas_that_leave_doubt_are_refused_by_name(source, kit, tmp_path, text):
    for k, data in enumerate(source.images()):
        data.PixelSpacing = ["1.95", "1.75"]
        content = kit.encode(data)
        assert b"1.95\\1.75 " in content
        (tmp_path / f"{k}.dcm").write_bytes(content.replace(b"1.95\\1.75 ", text.ljust(10)))
    with pytest.raises(CofError, match="PixelSpacing") as caught:
        read_cine_source(tmp_path, 0.1)
    assert caught.value.reason in (Reason.CINE_UNREADABLE, Reason.CINE_GEOMETRY)


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_a_missing_place_is_named(source, name):
    error = source.refuses(source.images(lambda data, t, z: delattr(data, name)))
    assert error.reason is Reason.CINE_GEOMETRY
    assert name in str(error)


@pytest.mark.parametrize("length", [0.5, 1.02, 1.8])
def test_directions_that_are_not_of_unit_length_are_taken_as_directions(source, length):
    def stretch(data, t, z):
        data.ImageOrientationPatient = [f"{length * float(value):.8f}" for value in data.ImageOrientationPatient]

    cine = source.reads_the_scan(source.images(stretch))
    np.testing.assert_allclose(cine.affine, source.scan.affine, atol=1e-4)
    assert cine.repairs == ("ImageOrientationPatient of 24 images has not unit length: only its directions are used",)


@pytest.mark.parametrize("form", CLASSIC)
def test_of_two_stacks_that_lie_between_each_other_the_later_counts(kit, archived, form):
    source = Source(kit, archived)
    source.scan = kit.scan(4, FRAMES)

    def earlier(data, t, z):
        at(data, time="100000")
        normal = np.cross(*np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3)))
        data.ImagePositionPatient = [f"{v:.5f}" for v in np.array(data.ImagePositionPatient, float) + 4 * normal]

    def no_number(data, t, z):
        data.SeriesDescription = "CINE_SAX"

    first = source.images(lambda data, t, z: (earlier(data, t, z), no_number(data, t, z)), other=True, series=9)
    second = source.images(lambda data, t, z: (at(data, time="110000"), no_number(data, t, z)), series=8)
    cine = source.reads_the_scan(form([*first, *second]))
    assert "two stacks" in cine.repairs[0]


def test_images_of_other_planes_are_all_counted(source):
    beside = []
    for k, direction in enumerate((["1", "0", "0", "0", "1", "0"], ["0", "1", "0", "0", "0", "1"])):
        others = source.images(lambda data, t, z: setattr(data, "SOPInstanceUID", "1.5"), other=True, series=7 + k)
        for data in others[:FRAMES]:
            data.ImageOrientationPatient, data.SeriesDescription = direction, ""
        beside += others[:FRAMES]
    cine = source.reads_the_scan([*source.images(lambda data, t, z: setattr(data, "SeriesDescription", "")), *beside])
    assert cine.repairs == ("16 images in other planes left out",)
