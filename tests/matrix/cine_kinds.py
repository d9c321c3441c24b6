"""Kinds of DICOM cines. Each function changes a scan and returns what must become of it."""

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle

import numpy as np
from cines import (
    DICOM,
    EVERY,
    FRAME_MS,
    FRAMES,
    MULTI,
    RR_MS,
    SINGLE,
    SIZE,
    SLICES,
    SPACING_MM,
    Right,
    Scan,
    phases,
    picture,
    truth,
    up_to_factor,
    up_to_offset,
)
from coded import LOSSLESS, compressed, images_of, run_length
from ecg_files import dicom_file, group
from kinds import EITHER, REFUSAL, Kinds, Outcome, Refusal
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from cof.cine.ed import find_ed
from cof.cine.volume import Cine
from cof.ecg.record import LEADS
from cof.errors import Reason

KINDS = Kinds()
_RNG = np.random.default_rng


def _read(frames: np.ndarray | None = None, **more) -> Outcome:
    return Outcome(Right(truth() if frames is None else frames, **more))


def _refused(words: str, *reasons: Reason) -> Outcome:
    return Outcome(refusal=Refusal(words, reasons))


def _permuted(frame: int, plane: int) -> int:
    """A number from 0 that tells nothing of time, another order in each slice."""
    return int(_RNG(plane).permutation(FRAMES)[frame])


def _shuffled(scan: Scan) -> None:
    scan.shots = [scan.shots[index] for index in _RNG(0).permutation(len(scan.shots))]


# As it should be


@KINDS.add("files as the scanner writes them", EVERY)
def as_written(scan):
    return _read(repair="")


@KINDS.add("a manifest, a text and a DICOM file without an image beside", DICOM)
def other_files(scan):
    scan.more = {"manifest.csv": b"filename,date\nlies.dcm,2001\n", "README.txt": b"not an image"}
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.77", "SR"
    scan.more["report.dcm"] = scan._encoded(report)
    return _read()


# Stored bits


@KINDS.add("an overlay in the unused high bits of 12", DICOM)
def overlay_bits(scan):
    for shot in scan.shots:
        shot.store(picture(shot.frame, shot.plane), dirt=0x8000 if shot.frame % 2 else 0xF000)
    return _read()


@KINDS.add("10 bits stored, dirt above", ("siemens", "enhanced"))
def ten_bits(scan):
    half = truth() // 2
    for shot in scan.shots:
        shot.store(half[shot.frame, shot.plane], stored=10, dirt=0xA400)
    return _read(half)


@KINDS.add("8 bits allocated", ("siemens", "ge", "enhanced"))
def eight_bits(scan):
    eighth = truth() // 8
    for shot in scan.shots:
        shot.store(eighth[shot.frame, shot.plane], allocated=8, stored=8)
    return _read(eighth)


@KINDS.add("signed 12 bits, the sign not extended", DICOM)
def signed_twelve(scan):
    lower = truth() - 700
    for shot in scan.shots:
        shot.store(lower[shot.frame, shot.plane], signed=True)
    return _read(lower)


@KINDS.add("signed 12 bits, dirt above", ("ge", "enhanced-slices"))
def signed_twelve_dirty(scan):
    lower = truth() - 700
    for shot in scan.shots:
        shot.store(lower[shot.frame, shot.plane], signed=True, dirt=0x5000)
    return _read(lower)


@KINDS.add("unsigned 16 bits above 32,767", ("siemens", "enhanced"), repairs=True)
def sixteen_bits(scan):
    bright = truth() * 40
    for shot in scan.shots:
        shot.store(bright[shot.frame, shot.plane], stored=16)
    return _read(bright, same=up_to_factor, repair="multiplied")


@KINDS.add("12 bits that end at bit 15, dirt below", DICOM, EITHER)
def high_bit(scan):
    for shot in scan.shots:
        shot.store(picture(shot.frame, shot.plane), high=15, dirt=0x0005)
    return Outcome(Right(truth()), Refusal("high ?bit", (Reason.CINE_UNREADABLE,)))


@KINDS.add("MONOCHROME1: small values are bright", DICOM, repairs=True)
def monochrome_one(scan):
    for shot in scan.shots:
        shot.store(4095 - picture(shot.frame, shot.plane))
        shot.data.PhotometricInterpretation = "MONOCHROME1"
    return _read(same=up_to_offset, repair="invert|MONOCHROME1")


_MARGIN = np.zeros((SIZE, SIZE), bool)
_MARGIN[-3:] = _MARGIN[5:, -2:] = True


def _padded(scan: Scan, value: int, bits: int, signed: bool, limit: int | None = None, slope: int = 1) -> Outcome:
    """A margin of padding about every image."""
    for shot in scan.shots:
        image = images_of(shot.data)[0].astype(int)
        image[_MARGIN] = value
        if limit is not None:
            image[-1] = limit
        shot.store(image, stored=bits, signed=signed)
        shot.data.PixelPaddingValue = value
        shot.data["PixelPaddingValue"].VR = "SS" if signed else "US"
        if limit is not None:
            shot.data.PixelPaddingRangeLimit = limit
            shot.data["PixelPaddingRangeLimit"].VR = "SS" if signed else "US"
        if slope != 1:
            shot.data.RescaleSlope, shot.data.RescaleIntercept = str(slope), "0"

    def same(read: np.ndarray, frames: np.ndarray) -> None:
        _check_padding(read, frames)
        assert np.array_equal(read[..., ~_MARGIN], frames[..., ~_MARGIN])

    return _read(truth() * slope, same=same, repair="padding")


def _check_padding(read: np.ndarray, frames: np.ndarray) -> None:
    tissue = frames[..., ~_MARGIN]
    assert read[..., _MARGIN].min() >= min(0, tissue.min()), f"padding is {read[..., _MARGIN].min()}"
    assert read[..., _MARGIN].max() <= np.median(tissue), f"padding is {read[..., _MARGIN].max()}"


@KINDS.add("a margin of padding, -2000", DICOM, repairs=True)
def padding(scan):
    return _padded(scan, -2000, 16, True)


@KINDS.add("a margin of padding, the brightest value", ("siemens", "enhanced"), repairs=True)
def padding_bright(scan):
    return _padded(scan, 4095, 12, False)


@KINDS.add("a margin of padding, a range of values", ("ge",), repairs=True)
def padding_range(scan):
    return _padded(scan, -2000, 16, True, limit=-1990)


@KINDS.add("a margin of padding in rescaled images", ("siemens", "philips"), repairs=True)
def padding_rescaled(scan):
    return _padded(scan, -2000, 16, True, slope=2)


@KINDS.add("slope 2 and intercept -10", EVERY)
def rescaled(scan):
    for shot in scan.shots:
        shot.data.RescaleSlope, shot.data.RescaleIntercept = "2", "-10"
    return _read(truth() * 2 - 10)


def _compress(scan: Scan, syntax: str, encode: Callable[[np.ndarray], bytes]) -> None:
    scan.coding = lambda data: compressed(data, UID(syntax), encode)


@KINDS.add("lossless JPEG", ("siemens", "enhanced"))
def jpeg_lossless(scan):
    _compress(scan, JPEGLosslessSV1, LOSSLESS[JPEGLosslessSV1])
    return _read()


@KINDS.add("JPEG-LS", ("siemens", "enhanced"))
def jpeg_ls(scan):
    _compress(scan, JPEGLSLossless, LOSSLESS[JPEGLSLossless])
    return _read()


@KINDS.add("JPEG 2000 without loss", ("philips", "enhanced"))
def jpeg_2000(scan):
    _compress(scan, JPEG2000Lossless, LOSSLESS[JPEG2000Lossless])
    return _read()


@KINDS.add("JPEG 2000 of signed 16 bits", ("ge",))
def jpeg_2000_signed(scan):
    lower = truth() - 700
    for shot in scan.shots:
        shot.store(lower[shot.frame, shot.plane], stored=16, signed=True)
    _compress(scan, JPEG2000Lossless, lambda image: LOSSLESS[JPEG2000Lossless](image.view(np.int16)))
    return _read(lower)


@KINDS.add("run-length coding of images with an overlay in high bits", ("siemens", "philips", "enhanced"))
def rle_dirty(scan):
    overlay_bits(scan)
    scan.coding = run_length
    return _read()


@KINDS.add("run-length coding of signed 12 bits", ("siemens", "enhanced"))
def rle_signed(scan):
    outcome = signed_twelve(scan)
    scan.coding = run_length
    return outcome


@KINDS.add("big-endian files", ("siemens", "enhanced"))
def big_endian(scan):
    def coding(data: Dataset) -> Dataset:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        return data

    scan.coding = coding
    return _read()


@KINDS.add("files whose elements do not tell their type, 12 bits with dirt above", ("siemens", "enhanced"))
def implicit(scan):
    def coding(data: Dataset) -> Dataset:
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        return data

    overlay_bits(scan)
    scan.coding = coding
    return _read()


# Which frames


def _phase_maps(scan: Scan, **changes) -> None:
    """Beside every image its phase map, of the same time and place."""
    for shot in list(scan.shots):
        noise = _RNG(shot.plane * FRAMES + shot.frame).integers(0, 4096, (SIZE, SIZE))
        other = shot.copy()
        other.store(noise, stored=shot.data.BitsStored, signed=bool(shot.data.PixelRepresentation))
        kind = list(shot.data.ImageType)
        other.data.ImageType = ["P_FFE" if v == "M_FFE" else "P" if v == "M" else v for v in kind]
        other.data.InstanceNumber += FRAMES * SLICES
        for name, value in changes.items():
            setattr(other.data, name, value)
        scan.shots.append(other)


@KINDS.add("phase maps beside magnitude images in one series", ("siemens", "philips", *MULTI), repairs=True)
def phase_maps(scan):
    _phase_maps(scan)
    return _read(repair="phase")


@KINDS.add("phase maps, written before the magnitude images", ("siemens", "philips", *MULTI), repairs=True)
def phase_maps_first(scan):
    _phase_maps(scan)
    count = FRAMES * SLICES
    scan.shots = scan.shots[count:] + scan.shots[:count]
    for shot in scan.shots:
        shot.data.InstanceNumber = 2 * count - shot.data.InstanceNumber
    return _read(repair="phase")


@KINDS.add("phase maps in a series of their own, of the same name", ("siemens", "philips", "enhanced"), repairs=True)
def phase_series(scan):
    _phase_maps(scan, SeriesInstanceUID="1.2.3.900", SeriesNumber=900, SeriesTime="110000", AcquisitionTime="110000")
    return _read(repair="phase")


@KINDS.add("phase maps that GE marks by a private element alone", ("ge",), EITHER, repairs=True)
def phase_private(scan):
    _phase_maps(scan)
    for shot in scan.shots:
        block = shot.data.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x2F, "SS", int(shot.data.InstanceNumber > FRAMES * SLICES))
    return Outcome(Right(truth(), repair="phase"), Refusal("phase|twice|duplicate", (Reason.CINE_UNREADABLE,)))


@KINDS.add("a later tagged series of the same slices beside", EVERY, repairs=True)
def tagged(scan):
    for shot in scan.take(1):
        shot.data.SeriesDescription = "SAX_tagging_grid"
        shot.data.SeriesInstanceUID += ".7"
        scan.shots.append(shot)
    return _read(repair="tag")


@KINDS.add("a later still image of every slice beside (late enhancement)", DICOM, repairs=True)
def stills(scan):
    for shot in scan.take(1):
        if shot.frame == 0:
            shot.data.SeriesDescription = "PSIR_SAX"
            shot.data.SeriesInstanceUID += ".7"
            scan.shots.append(shot)
    return _read(repair="series|acquisition|left out")


@KINDS.add("scouts of other planes beside, without a name", SINGLE, repairs=True)
def scouts(scan):
    for shot in scan.shots:
        del shot.data.SeriesDescription
    planes = ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])
    for shot, plane in zip(scan.take(1), planes):
        del shot.data.SeriesDescription
        shot.data.ImageOrientationPatient = plane
        shot.data.SeriesInstanceUID = "1.2.3.800"
        scan.shots.append(shot)
    return _read(repair="left out")


@KINDS.add("a later perfusion series of three of the slices beside, of twice the frames", DICOM, repairs=True)
def perfusion(scan):
    for number, planes in ((1, (1, 2, 3)), (2, (1, 2, 3))):
        for shot in scan.take(number):
            if shot.plane in planes:
                data = shot.data
                data.SeriesDescription, data.SeriesInstanceUID = "SAX_perfusion_rest", f"1.2.3.9{shot.plane}"
                data.SeriesNumber = 500
                data.InstanceNumber += (number - 1) * FRAMES * SLICES
                data.TriggerTime = f"{(number - 1) * RR_MS + shot.frame * FRAME_MS:g}"
                scan.shots.append(shot)
    return _read(repair="perfusion|series|acqui|left out")


@KINDS.add("copies of the cine on film beside, later, of 8 bits", SINGLE, repairs=True)
def film(scan):
    for shot in scan.take(1):
        shot.data.ImageType, shot.data.SeriesDescription = ["DERIVED", "SECONDARY"], "SAX film"
        shot.data.SeriesInstanceUID += ".9"
        shot.store(picture(shot.frame, shot.plane, 1) // 8, allocated=8, stored=8)
        scan.shots.append(shot)
    return _read(repair="50 derived images")


@KINDS.add("derived images and no original ones", DICOM)
def derived(scan):
    for shot in scan.shots:
        shot.data.ImageType = ["DERIVED", "PRIMARY", *list(shot.data.ImageType)[2:]]
    return _read(repair="")


@KINDS.add("a later ungated cine in real time beside", DICOM, repairs=True)
def real_time(scan):
    for shot in scan.take(1):
        data = shot.data
        data.SeriesDescription, data.TriggerTime = "SAX_realtime", f"{40 * shot.frame}"
        data.SeriesInstanceUID += ".6"
        scan.shots.append(shot)
    return _read(repair="by name")


@KINDS.add("a series name in which 'relaxed' stands", DICOM)
def relaxed(scan):
    for shot in scan.shots:
        shot.data.SeriesDescription = "cine relaxed breathing"
    return _read(repair="")


@KINDS.add("a long-axis cine beside", DICOM)
def long_axis(scan):
    for shot in scan.take(1):
        if shot.plane == 0:
            shot.data.SeriesDescription, shot.data.SeriesInstanceUID = "cine_LAX_4ch", "1.2.3.700"
            shot.data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
            scan.shots.append(shot)
    return _read()


@KINDS.add("a coloured picture of the screen beside", SINGLE)
def screenshot(scan):
    shot = scan.take(1)[0]
    data = shot.data
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "TriggerTime"):
        delattr(data, name)
    data.SOPClassUID, data.ImageType = "1.2.840.10008.5.1.4.1.1.7", ["DERIVED", "SECONDARY"]
    data.SeriesInstanceUID, data.SeriesDescription = "1.2.3.600", "SAX results"
    data.SamplesPerPixel, data.PlanarConfiguration, data.PhotometricInterpretation = 3, 0, "RGB"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = bytes(3 * SIZE * SIZE)
    scan.shots.append(shot)
    return _read(repair="left out|position|^$")


@KINDS.add("slices numbered in the names of their series (_b1 is the most basal)", ("siemens", "enhanced-slices"))
def numbered(scan):
    for shot in scan.shots:
        shot.data.SeriesDescription = f"CINE_segmented_SAX_b{shot.plane + 1}"
        shot.data.SeriesInstanceUID = f"1.2.3.{SLICES - shot.plane}"
    return _read(repair="")


def _again(scan: Scan, delay_ms: float, numbered: bool) -> Outcome:
    """Every slice twice in its series: the later acquisition counts."""
    first = {(shot.frame, shot.plane): shot.data for shot in scan.shots}
    for shot in scan.take(1):
        earlier = first[shot.frame, shot.plane]
        shot.data.SeriesInstanceUID, shot.data.SeriesNumber = earlier.SeriesInstanceUID, earlier.SeriesNumber
        shot.data.SeriesTime = earlier.SeriesTime
        shot.data.InstanceNumber += FRAMES * SLICES
        shot.data.TriggerTime = f"{shot.frame * FRAME_MS + delay_ms:g}"
        if numbered:
            shot.data.AcquisitionNumber = earlier.AcquisitionNumber + 100
        else:
            shot.data.AcquisitionNumber = earlier.AcquisitionNumber
            shot.data.AcquisitionTime = earlier.AcquisitionTime
        scan.shots.append(shot)
    return _read(truth(1), repair="acqui|twice|duplicate")


@KINDS.add("every slice acquired twice in one series, at the same trigger times", EVERY, repairs=True)
def twice(scan):
    return _again(scan, 0, numbered=True)


@KINDS.add("every slice acquired twice in one series, trigger times 3 ms apart", DICOM, repairs=True)
def twice_apart(scan):
    return _again(scan, 3, numbered=True)


@KINDS.add("every slice twice in one series, told apart by instance number alone", SINGLE, EITHER, repairs=True)
def twice_unnumbered(scan):
    outcome = _again(scan, 0, numbered=False)
    return Outcome(outcome.check, Refusal("twice|acqui|duplicat|order", (Reason.CINE_UNREADABLE, Reason.CINE_GEOMETRY)))


def _slice_again(scan: Scan, delay_ms: float, frames: int) -> None:
    """Slice 3 again in its own series, with as many frames."""
    _again(scan, delay_ms, numbered=True)
    scan.shots = [shot for shot in scan.shots if shot.take == 0 or (shot.plane == 2 and shot.frame < frames)]


@KINDS.add("one slice acquired twice in its series", DICOM, repairs=True)
def slice_twice(scan):
    _slice_again(scan, 0, FRAMES)
    frames = truth()
    frames[:, 2] = truth(1)[:, 2]
    return _read(frames, repair="slice 3.*acqui|twice|duplicate")


@KINDS.add("one slice acquired twice in its series, trigger times 3 ms apart", DICOM, repairs=True)
def slice_twice_apart(scan):
    _slice_again(scan, 3, FRAMES)
    frames = truth()
    frames[:, 2] = truth(1)[:, 2]
    return _read(frames, repair="slice 3.*acqui|twice|duplicate")


@KINDS.add("one slice acquired again in its series, broken off after 6 of 10 frames", DICOM, repairs=True)
def slice_twice_broken_off(scan):
    _slice_again(scan, 0, 6)
    return _read(repair="slice 3.*acqui|incomplete")


@KINDS.add("every frame has an AcquisitionNumber and a time of its own", DICOM)
def number_per_frame(scan):
    for shot in scan.shots:
        shot.data.AcquisitionNumber = shot.frame + 1
        seconds = 20 * shot.plane + shot.frame
        shot.data.AcquisitionTime = shot.data.ContentTime = f"10{seconds // 60:02d}{seconds % 60:02d}.5"
    return _read()


@KINDS.add("the same images in a second series, exported again", DICOM)
def exported_again(scan):
    for shot in [shot.copy() for shot in scan.shots]:
        shot.data.SeriesInstanceUID += ".5"
        scan.shots.append(shot)
    return _read(repair="series|acqui|cop|same|twice|duplicate|^$")


@KINDS.add("the upper and the lower half of the stack in two series", ("ge", "philips", "enhanced"))
def halves(scan):
    for shot in scan.shots:
        shot.data.SeriesInstanceUID = f"1.2.88.{1 + (shot.plane > 2)}"
        shot.data.SeriesNumber = 1 + (shot.plane > 2)
    return _read()


def _later(scan: Scan, planes=range(SLICES), frames=range(FRAMES), uids=("1.2.99.{}.9", "1.2.99.{}.10")) -> None:
    """A second series of some slices and frames; `uids` name first and second series of a slice."""
    first, second = uids
    for shot in scan.shots:
        shot.data.SeriesInstanceUID = first.format(shot.plane + 1 if "siemens" in shot.data.Manufacturer.lower() else 0)
    for shot in scan.take(1):
        if shot.plane in planes and shot.frame in frames:
            by_slice = "siemens" in shot.data.Manufacturer.lower()
            shot.data.SeriesInstanceUID = second.format(shot.plane + 1 if by_slice else 0)
            scan.shots.append(shot)


@KINDS.add("two acquisitions, the later with the smaller text of its UID (.10 after .9)", EVERY, repairs=True)
def later_series(scan):
    _later(scan)
    return _read(truth(1), repair="series|acqui")


@KINDS.add("two acquisitions, the later with the smaller UID, written first", DICOM, repairs=True)
def later_series_first(scan):
    _later(scan, uids=("1.2.99.{}.20", "1.2.99.{}.10"))
    scan.shots.reverse()
    return _read(truth(1), repair="series|acqui")


@KINDS.add("two acquisitions, the later after midnight", ("siemens", "ge", "enhanced"), repairs=True)
def midnight(scan):
    _later(scan, uids=("1.2.99.{}.20", "1.2.99.{}.10"))
    for shot in scan.shots:
        data = shot.data
        if shot.take == 0:
            data.AcquisitionTime = data.SeriesTime = data.ContentTime = f"2350{shot.plane:02d}"
        else:
            data.AcquisitionTime = data.SeriesTime = data.ContentTime = f"0010{shot.plane:02d}"
            data.AcquisitionDate = data.SeriesDate = data.ContentDate = "20200104"
    return _read(truth(1), repair="series|acqui")


@KINDS.add("two acquisitions without dates and times: the number of the series tells", DICOM, repairs=True)
def undated(scan):
    _later(scan, uids=("1.2.99.{}.20", "1.2.99.{}.10"))
    for shot in scan.shots:
        for name in ("Acquisition", "Series", "Content"):
            delattr(shot.data, f"{name}Date")
            delattr(shot.data, f"{name}Time")
    return _read(truth(1), repair="series|acqui")


@KINDS.add("one slice acquired again in a later series", ("siemens", "enhanced-slices"), repairs=True)
def slice_again(scan):
    _later(scan, planes=(2,))
    frames = truth()
    frames[:, 2] = truth(1)[:, 2]
    return _read(frames, repair="series|acqui")


@KINDS.add("a later acquisition that broke off after 6 of 10 frames", DICOM, repairs=True)
def broken_off(scan):
    _later(scan, frames=range(6))
    return _read(repair="series|acqui|incomplete")


@KINDS.add("a later acquisition that broke off after 2 of 5 slices", ("ge", "philips", "enhanced"), repairs=True)
def slices_broken_off(scan):
    """The later slices are whole, and of the same heart: either stack is right, no slice may come from elsewhere."""
    _later(scan, planes=range(2))
    mixed = truth()
    mixed[:, :2] = truth(1)[:, :2]

    def same(read: np.ndarray, frames: np.ndarray) -> None:
        assert np.array_equal(read, frames) or np.array_equal(read, mixed)

    return _read(same=same, repair="series|acqui|incomplete")


@KINDS.add("the SOPInstanceUID of a slice's images repeats, with other pixels", (*SINGLE, "philips"))
def repeated_uid(scan):
    for shot in scan.shots:
        shot.data.SOPInstanceUID = f"1.2.9.{shot.plane + 1}"
    return _read()


@KINDS.add("two by two frames share a SOPInstanceUID, with other pixels", SINGLE)
def paired_uid(scan):
    for shot in scan.shots:
        shot.data.SOPInstanceUID = f"1.2.9.{shot.plane + 1}.{shot.frame // 2}"
    return _read()


@KINDS.add("all files share a SOPInstanceUID", DICOM)
def one_uid(scan):
    for shot in scan.shots:
        shot.data.SOPInstanceUID = "1.2.9.1"
    return _read()


@KINDS.add("every file is there twice", DICOM)
def copies(scan):
    files = scan.files()
    scan.more = {f"copy/{name}": content for name, content in files.items()}
    return _read(repair="cop|twice|same|duplicate|^$")


@KINDS.add("slices of another matrix beside the usual ones: one slice two pixels wider", SINGLE, repairs=True)
def wider_slice(scan):
    for shot in scan.shots:
        if shot.plane == 3:
            shot.store(np.pad(picture(shot.frame, 3), ((0, 2), (0, 2))), stored=shot.data.BitsStored)
    return _read(repair="matrix")


# Which order


def _without_trigger(scan: Scan) -> None:
    for shot in scan.shots:
        del shot.data.TriggerTime


@KINDS.add("random instance numbers; trigger times tell the order", SINGLE)
def random_instances(scan):
    for shot in scan.shots:
        shot.data.InstanceNumber = 1 + _permuted(shot.frame, shot.plane)
    return _read()


@KINDS.add("instances counted backwards; trigger times tell the order", SINGLE)
def backwards(scan):
    for shot in scan.shots:
        shot.data.InstanceNumber = FRAMES * SLICES - shot.data.InstanceNumber
    return _read()


@KINDS.add("no instance numbers; trigger times tell the order", SINGLE)
def no_instances(scan):
    for shot in scan.shots:
        del shot.data.InstanceNumber
    return _read()


@KINDS.add("no RR interval stated; trigger times tell it", DICOM)
def no_interval(scan):
    for shot in scan.shots:
        del shot.data.NominalInterval
    return _read()


@KINDS.add("frames shuffled, no trigger; the share of the cardiac phase tells the order", MULTI)
def phase_share(scan):
    _without_trigger(scan)
    _shuffled(scan)
    for shot in scan.shots:
        shot.data.NominalPercentageOfCardiacPhase = 100 * shot.frame / FRAMES
        if "TemporalPositionIdentifier" in shot.data:
            del shot.data.TemporalPositionIdentifier
    return _read(rr_ms=None)


@KINDS.add("frames shuffled; trigger times tell the order", MULTI)
def shuffled(scan):
    _shuffled(scan)
    return _read()


@KINDS.add("random instance numbers and no trigger; the temporal position tells the order", EVERY)
def temporal_position(scan):
    _without_trigger(scan)
    _shuffled(scan)
    for shot in scan.shots:
        shot.data.InstanceNumber = 1 + _permuted(shot.frame, shot.plane)
        shot.data.TemporalPositionIdentifier = shot.frame + 1
    return _read(rr_ms=None)


@KINDS.add("trigger 0 everywhere; the temporal position tells the order", EVERY)
def zero_trigger_position(scan):
    _shuffled(scan)
    for shot in scan.shots:
        shot.data.TriggerTime, shot.data.InstanceNumber = "0", 1
        shot.data.TemporalPositionIdentifier = shot.frame + 1
    return _read(rr_ms=None)


@KINDS.add("trigger 0 everywhere; instance numbers tell the order", (*SINGLE, "philips"))
def zero_trigger_instance(scan):
    for shot in scan.shots:
        shot.data.TriggerTime = "0"
        if "TemporalPositionIdentifier" in shot.data:
            del shot.data.TemporalPositionIdentifier
    return _read(rr_ms=None)


@KINDS.add(
    "trigger times rounded so that frames share them; instance numbers tell the order",
    SINGLE,
)
def rounded_trigger(scan):
    for shot in scan.shots:
        shot.data.TriggerTime = f"{shot.frame // 2 * 2 * FRAME_MS:g}"
    return _read(rr_ms=None)


@KINDS.add("frames share trigger times in pairs, and nothing tells rounding from a second acquisition", SINGLE, REFUSAL)
def pairs_untold(scan):
    rounded_trigger(scan)
    for shot in scan.shots:
        del shot.data.CardiacNumberOfImages
    return _refused("rounded trigger times.*several acquisitions", Reason.CINE_UNREADABLE)


@KINDS.add("a number of acquisition that alternates from frame to frame of one beat", DICOM)
def number_in_turns(scan):
    for shot in scan.shots:
        shot.data.AcquisitionNumber = shot.frame % 2 + 1
    return _read(repair="")


def _by_time(scan: Scan, name: str) -> Outcome:
    for shot in scan.shots:
        shot.data.InstanceNumber = 1
        seconds = 30 * shot.plane + shot.frame * FRAME_MS / 1000
        setattr(
            shot.data,
            name,
            f"1000{seconds:09.6f}" if seconds < 60 else f"10{int(seconds // 60):02d}{seconds % 60:09.6f}",
        )
        for other in ("TriggerTime", "TemporalPositionIdentifier"):
            if other in shot.data:
                delattr(shot.data, other)
    return _read(rr_ms=None)


@KINDS.add("no trigger, instance 1 everywhere; the acquisition time tells the order", SINGLE)
def acquisition_time(scan):
    return _by_time(scan, "AcquisitionTime")


@KINDS.add("trigger 0 and instance 1 everywhere; the acquisition time tells the order", (*SINGLE, "philips"))
def zero_trigger_time(scan):
    outcome = _by_time(scan, "AcquisitionTime")
    for shot in scan.shots:
        shot.data.TriggerTime = "0"
    return outcome


@KINDS.add("trigger 0 and instance 1 everywhere, and nothing else", (*SINGLE, "philips"), REFUSAL)
def no_order(scan):
    for shot in scan.shots:
        shot.data.TriggerTime, shot.data.InstanceNumber = "0", 1
        if "TemporalPositionIdentifier" in shot.data:
            del shot.data.TemporalPositionIdentifier
    return _refused("order", Reason.CINE_UNREADABLE)


@KINDS.add("trigger times counted from the scan's start", EVERY, repairs=True)
def scan_clock(scan):
    _shuffled(scan)
    for shot in scan.shots:
        shot.data.TriggerTime = f"{35_000 + 11_300 * shot.plane + shot.frame * FRAME_MS:g}"
    right = Right(truth(), repair="trigger|start|R peak")

    def check(cine: Cine) -> None:
        right(cine)
        assert np.isnan(cine.delay_ms) or 0 <= cine.delay_ms < 1, f"frame 0 at {cine.delay_ms} ms after the R peak"
        assert find_ed(cine, None, None)[0] == 0

    return Outcome(check)


@KINDS.add("trigger times that begin 40 ms after the R peak", DICOM)
def trigger_delay(scan):
    _shuffled(scan)
    for shot in scan.shots:
        shot.data.TriggerTime = f"{40 + shot.frame * FRAME_MS:g}"
    right = Right(truth(), repair="")

    def check(cine: Cine) -> None:
        right(cine)
        assert abs(cine.delay_ms - 40) < 0.1

    return Outcome(check)


@KINDS.add("a file of the fifth frame is not there", DICOM, repairs=True)
def missing_frame(scan):
    scan.shots = [shot for shot in scan.shots if (shot.frame, shot.plane) != (4, 3)]
    repeated = truth()
    before, after = repeated[3, 3], repeated[5, 3]

    def same(read: np.ndarray, frames: np.ndarray) -> None:
        others = np.ones((FRAMES, SLICES), bool)
        others[4, 3] = False
        assert np.array_equal(read[others], frames[others])
        filled = read[4, 3].astype(int)
        mean = np.rint((before + after) / 2)
        assert np.array_equal(filled, before) or np.abs(filled - mean).max() <= 1

    return _read(repeated, same=same, repair="slice 4.*frame 5")


def _other_count(scan: Scan, count: int, same_rr: bool) -> Outcome:
    """One slice of another number of frames that cover its whole cycle, as where the heart rate varied."""
    kept = [shot for shot in scan.shots if shot.plane != 3]
    model = {shot.frame: shot for shot in scan.shots if shot.plane == 3}
    for frame in range(count):
        shot = model[min(frame, FRAMES - 1)].copy()
        shot.frame = frame
        shot.store(picture(frame, 3, phase=frame / count), stored=shot.data.BitsStored)
        shot.data.TriggerTime = f"{frame * (RR_MS / count if same_rr else FRAME_MS):.4f}"
        shot.data.NominalInterval = round(RR_MS if same_rr else FRAME_MS * count)
        shot.data.InstanceNumber = model[0].data.InstanceNumber + frame * (
            model[1].data.InstanceNumber - model[0].data.InstanceNumber
        )
        shot.data.CardiacNumberOfImages = count
        if "TemporalPositionIdentifier" in shot.data:
            shot.data.TemporalPositionIdentifier = frame + 1
        kept.append(shot)
    scan.shots = kept

    def same(read: np.ndarray, frames: np.ndarray) -> None:
        others = [plane for plane in range(SLICES) if plane != 3]
        assert np.array_equal(read[:, others], frames[:, others])
        off = (phases(read)[:, 3] - np.arange(FRAMES) / FRAMES + 0.5) % 1 - 0.5
        assert np.abs(off).max() < 0.06, f"phases of slice 4 are off by {off.round(3)}"

    return _read(same=same, repair="slice 4.*(time|resampl|cycle)")


@KINDS.add("one slice of 9 frames that cover the cycle", EVERY, repairs=True)
def fewer_frames(scan):
    return _other_count(scan, 9, same_rr=True)


@KINDS.add("one slice of 11 frames that cover the cycle", DICOM, repairs=True)
def more_frames(scan):
    return _other_count(scan, 11, same_rr=True)


@KINDS.add("one slice of 9 frames, its RR interval shorter", DICOM, repairs=True)
def shorter_cycle(scan):
    return _other_count(scan, 9, same_rr=False)


# Geometry


@KINDS.add("slices from apex to base", DICOM)
def apex_first(scan):
    scan.shots.reverse()
    for shot in scan.shots:
        if "siemens" in shot.data.Manufacturer.lower():
            shot.data.SeriesNumber = SLICES - shot.plane
            shot.data.SeriesInstanceUID = f"1.2.3.{SLICES - shot.plane}"
        else:
            shot.data.InstanceNumber = FRAMES * SLICES + 1 - shot.data.InstanceNumber
    return _read()


@KINDS.add("a decimal comma in every pixel spacing", SINGLE, EITHER, repairs=True)
def comma_spacing(scan):
    _in_text(scan, rb"1\.8\\1\.6", rb"1,8\\1,6")
    return Outcome(
        Right(truth(), repair="comma"), Refusal("comma|decimal", (Reason.CINE_GEOMETRY, Reason.CINE_UNREADABLE))
    )


@KINDS.add("a decimal comma in the pixel spacing of one slice", SINGLE, EITHER, repairs=True)
def comma_one_slice(scan):
    _in_text(scan, rb"1\.8\\1\.6", rb"1,8\\1,6", planes=(3,))
    return Outcome(
        Right(truth(), repair="comma"), Refusal("comma|decimal", (Reason.CINE_GEOMETRY, Reason.CINE_UNREADABLE))
    )


@KINDS.add("a decimal comma in every trigger time", SINGLE, EITHER, repairs=True)
def comma_trigger(scan):
    for shot in scan.shots:
        shot.data.TriggerTime = f"{shot.frame * FRAME_MS + 0.25:06.2f}"
        shot.data.InstanceNumber = 1 + _permuted(shot.frame, shot.plane)
    _in_text(scan, rb"(\d{3})\.([27]5)", rb"\1,\2")
    return Outcome(Right(truth(), repair="comma"), Refusal("comma|decimal", (Reason.CINE_UNREADABLE,)))


@KINDS.add("a decimal comma in every position", SINGLE, EITHER, repairs=True)
def comma_position(scan):
    for shot in scan.shots:
        text = "\\".join(f"{float(v):.3f}" for v in shot.data.ImagePositionPatient)
        shot.data.ImagePositionPatient = text.split("\\")
    _in_text(scan, rb"(-?\d+)\.(\d{3})\\(-?\d+)\.(\d{3})\\(-?\d+)\.(\d{3})", rb"\1,\2\\\3,\4\\\5,\6")
    return Outcome(
        Right(truth(), repair="comma"),
        Refusal("comma|decimal", (Reason.CINE_GEOMETRY, Reason.CINE_UNREADABLE)),
    )


def _in_text(scan: Scan, pattern: bytes, new: bytes, planes=range(SLICES)) -> None:
    """Replace text of the same length in the files of some slices."""
    chosen = [shot.plane in planes for shot in scan.shots]
    for name, (content, change) in zip(scan.files(), zip(scan.files().values(), chosen)):
        changed, count = re.subn(pattern, new, content)
        assert count
        assert len(changed) == len(content)
        scan.more[name] = changed if change else content


@KINDS.add("SpacingBetweenSlices says 0, positions say 10 mm", SINGLE)
def zero_gap(scan):
    for shot in scan.shots:
        shot.data.SpacingBetweenSlices = 0
    return _read()


@KINDS.add(
    "slice 4 is not there",
    DICOM,
    REFUSAL,
)
def slices_missing(scan):
    scan.shots = [shot for shot in scan.shots if shot.plane != 3]
    return _refused("equally spaced", Reason.CINE_GEOMETRY)


@KINDS.add("two slices are not there, so that gaps alternate", SINGLE, REFUSAL)
def slices_missing_in_turns(scan):
    """Two stacks of two slices each, 30 mm apart, would explain the gaps, too."""
    scan.shots = [shot for shot in scan.shots if shot.plane != 2]
    return _refused("equally spaced: 10.0, 20.0, 10.0", Reason.CINE_GEOMETRY)


@KINDS.add("one slice is stored turned by half a turn", SINGLE, repairs=True)
def turned(scan):
    for shot in scan.shots:
        if shot.plane == 3:
            along = np.array(shot.data.ImageOrientationPatient, float).reshape(2, 3)
            far = np.array(shot.data.ImagePositionPatient, float) + (SIZE - 1) * SPACING_MM[:2] @ along
            shot.data.ImagePositionPatient = [f"{value:.6f}" for value in far]
            shot.data.ImageOrientationPatient = [f"{value:.9f}" for value in -along.ravel()]
            turned = picture(shot.frame, shot.plane)[::-1, ::-1]
            shot.store(turned, stored=shot.data.BitsStored, signed=bool(shot.data.PixelRepresentation))
    return _read(repair="slices 4 resampled")


@KINDS.add("slice 4 is tilted by 5 degrees", SINGLE, REFUSAL)
def tilted(scan):
    for shot in scan.shots:
        if shot.plane == 3:
            along, up = np.array(shot.data.ImageOrientationPatient, float).reshape(2, 3)
            tilt = np.deg2rad(5)
            along = along * np.cos(tilt) + np.cross(along, up) * np.sin(tilt)
            shot.data.ImageOrientationPatient = [f"{value:.9f}" for value in (*along, *up)]
    return _refused("10 images in other planes left out", Reason.CINE_GEOMETRY)


# Words


@KINDS.add("no preamble, suffix .IMA", DICOM)
def no_preamble(scan):
    scan.preamble, scan.suffix = False, ".IMA"
    return _read()


@KINDS.add("no preamble and no suffix", DICOM)
def bare(scan):
    scan.preamble, scan.suffix = False, ""
    return _read()


@KINDS.add("no suffix", ("siemens", "enhanced"))
def no_suffix(scan):
    scan.suffix = ""
    return _read()


@KINDS.add("images in a coding that no decoder here knows", ("siemens", "enhanced"), REFUSAL)
def unknown_coding(scan):
    _compress(scan, "1.2.840.10008.1.2.4.102", lambda image: zlib.compress(image.tobytes()))
    return _refused(r"transfer syntax|compress|coding|1\.2\.840\.10008\.1\.2\.4\.102|MPEG", Reason.CINE_UNREADABLE)


@KINDS.add("pixel data shorter than the image", ("siemens", "enhanced"), REFUSAL)
def short_pixels(scan):
    def coding(data: Dataset) -> Dataset:
        data.PixelData = data.PixelData[: len(data.PixelData) // 2]
        return data

    scan.coding = coding
    return _refused("pixel|short|bytes", Reason.CINE_UNREADABLE)


@KINDS.add(
    "an ECG in place of the cine",
    ("siemens",),
    REFUSAL,
)
def ecg_instead(scan):
    counts = {lead: np.arange(5000) % 300 for lead in LEADS}
    scan.shots, scan.more = [], {"ecg.dcm": dicom_file([group(counts)])}
    return _refused("ECG|waveform", Reason.CINE_UNREADABLE, Reason.CINE_NO_SHORT_AXIS)


@KINDS.add("no position in any image", ("siemens", "enhanced"), REFUSAL)
def no_position(scan):
    for shot in scan.shots:
        shot.data.ImagePositionPatient = None
    return _refused("position", Reason.CINE_GEOMETRY)


# Two at once


@KINDS.add("one slice of 9 frames that cover the cycle, and a margin of padding", DICOM, repairs=True)
def fewer_frames_padded(scan):
    """The fill of a slice must not mix tissue with padding."""
    right = fewer_frames(scan).check
    _padded(scan, 4095, 12, False)

    def same(read: np.ndarray, frames: np.ndarray) -> None:
        _check_padding(read, frames)
        without = np.where(_MARGIN, frames, read)
        right.same(without, frames)

    return Outcome(replace(right, same=same, repair="padding"))


_TURNS = ("siemens", "enhanced", "philips", "ge", "enhanced-slices")
_FIRST = (phase_maps, twice, twice_apart, later_series, tagged, broken_off, stills)
_SECOND = (one_uid, temporal_position, bare)
_PAIRS = {f"{first.__name__} {second.__name__}": (first, second) for first in _FIRST for second in _SECOND}
_PAIRS |= {f"missing_frame {second.__name__}": (missing_frame, second) for second in _SECOND}


@KINDS.add(
    "two kinds at once: which frames, and one UID, temporal positions alone, or no preamble",
    tuple(
        f"{form} {pair}"
        for form, pair in zip(cycle(("siemens", "enhanced", "philips", "ge", "enhanced-slices")), _PAIRS)
    ),
    repairs=True,
)
def pairs(scan):
    first, second = _PAIRS[scan.how]
    right = first(scan).check
    second(scan)
    return Outcome(replace(right, rr_ms=None) if second is temporal_position else right)
