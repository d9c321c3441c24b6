"""Short-axis cines whose pixels tell frame, slice, acquisition and phase, in the forms of scanners and archives."""

import copy
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from cof.cine.volume import Cine

FRAMES, SLICES, SIZE = 10, 5, 24
RR_MS = 960.0
FRAME_MS = RR_MS / FRAMES
SPACING_MM = np.array([1.6, 1.8, 10.0])  # x, y, z
_LPS = np.array([-1.0, -1.0, 1.0])
_LOSSES = re.compile(r"missing|duplicate|surplus|left out|repeated", re.IGNORECASE)
# Where the marks lie, and what one step of each adds to 100.
_FRAME, _PLANE, _TAKE = ((slice(0, 4), slice(x, x + 4)) for x in (0, 4, 8))
_COSINE, _SINE = ((slice(0, 4), slice(x, x + 4)) for x in (12, 16))
_STEP = 50


def picture(frame: int, plane: int, take: int = 0, phase: float | None = None) -> np.ndarray:
    """One image, int32 [24, 24] from 60 to 1400: a disc that beats, below marks of 4 x 4 pixels.

    Args:
        frame, plane, take: frame, slice and acquisition, from 0; a mark tells each.
        phase: of the cycle, which the disc and two further marks tell (its cosine and sine); by default of `frame`.
    """
    phase = frame / FRAMES if phase is None else phase
    y, x = np.mgrid[:SIZE, :SIZE]
    image = 60 + np.random.default_rng(plane).integers(0, 400, (SIZE, SIZE))
    image[np.hypot(y - 13.5, x - 11.5) < 5 + 2 * np.cos(2 * np.pi * phase) - 0.4 * plane] += 900
    for where, step in ((_FRAME, frame), (_PLANE, plane), (_TAKE, take)):
        image[where] = 100 + _STEP * step
    image[_COSINE] = np.rint(750 + 600 * np.cos(2 * np.pi * phase))
    image[_SINE] = np.rint(750 + 600 * np.sin(2 * np.pi * phase))
    return image.astype(np.int32)


def marks(frames: np.ndarray) -> str:
    """Which frame, slice and acquisition the marks of [T, Z, Y, X] tell in each slice, for the message of a failure."""
    told = []
    for name, where in (("frame", _FRAME), ("slice", _PLANE), ("acquisition", _TAKE)):
        steps = ((frames[..., *where].mean((-2, -1)) - 100) / _STEP).T
        told.append(f"{name}s {', '.join(' '.join(f'{step:g}' for step in row.round(1)) for row in steps)}")
    return "; ".join(told)[:600]


def phases(frames: np.ndarray) -> np.ndarray:
    """The phases [T, Z] that the marks of [T, Z, Y, X] tell, from 0 to 1."""
    cosine, sine = (frames[..., *where].mean((-2, -1)) - 750 for where in (_COSINE, _SINE))
    return np.arctan2(sine, cosine) / (2 * np.pi) % 1


@cache
def affine() -> np.ndarray:
    """Voxel (x, y, z) to RAS mm: slices run left, forwards and down, as from base to apex."""
    z = np.array([-0.6, 0.5, -0.62])
    z /= np.linalg.norm(z)
    x = np.cross([0.2, 0.9, 0.3], z)
    x /= np.linalg.norm(x)
    placed = np.eye(4)
    placed[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1) * SPACING_MM
    placed[:3, 3] = (31.0, -42.5, 77.25)
    return placed


def truth(take: int = 0) -> np.ndarray:
    """The frames [T, Z, Y, X] of one acquisition."""
    return np.array([[picture(frame, plane, take) for plane in range(SLICES)] for frame in range(FRAMES)])


@dataclass(frozen=True)
class Right:
    """Asserts that a cine is the right one.

    Attributes:
        frames: [T, Z, Y, X].
        repair: pattern of a repair that must be noted; "" where none may be; None where none may tell of a loss.
        rr_ms: RR interval; None where the file does not tell.
        geometry: affine; None where it is asserted elsewhere.
        same: asserts that frames read are those given.
    """

    frames: np.ndarray
    repair: str | None = None
    rr_ms: float | None = RR_MS
    geometry: np.ndarray | None = field(default_factory=affine)
    same: Callable[[np.ndarray, np.ndarray], None] | None = None

    @property
    def demands_repair(self) -> bool:
        """Tell whether the reader must say that it mended something."""
        return bool(self.repair) and not re.search(self.repair, "")

    def __call__(self, cine: Cine) -> None:
        assert cine.frames.shape == self.frames.shape, f"{cine.frames.shape}: {marks(cine.frames)}, {cine.repairs}"
        if self.same is None:
            assert np.array_equal(cine.frames, self.frames), f"{marks(cine.frames)}, {cine.repairs}"
        else:
            self.same(cine.frames, self.frames)
        if self.geometry is not None:
            np.testing.assert_allclose(cine.affine, self.geometry, atol=1e-3)
        if self.rr_ms is not None:
            assert abs(cine.rr_ms - self.rr_ms) < 1, f"RR {cine.rr_ms}"
        said = "; ".join(cine.repairs)
        if self.repair == "":
            assert said == ""
        elif self.repair is None:
            assert not _LOSSES.search(said), f"an untrue repair: {said}"
        else:
            assert re.search(self.repair, said, re.IGNORECASE), f"the repair is not noted: {said!r}"


def up_to_offset(read: np.ndarray, frames: np.ndarray) -> None:
    """Equal but for one number for the whole cine."""
    offset = read.astype(int) - frames
    assert np.ptp(offset) == 0, f"differences from {offset.min()} to {offset.max()}"


def up_to_factor(read: np.ndarray, frames: np.ndarray) -> None:
    """Equal but for one factor for the whole cine, and rounding."""
    np.testing.assert_allclose(read * (frames.max() / read.max()), frames, atol=0.01 * frames.max())


# Forms


@dataclass
class Shot:
    """One image as a DICOM dataset, and which one it is."""

    frame: int
    plane: int
    take: int
    data: Dataset

    def copy(self) -> "Shot":
        """A copy whose elements can be set without changing this one's."""
        data = Dataset({tag: copy.copy(element) for tag, element in self.data.items()})
        return Shot(self.frame, self.plane, self.take, data)

    def store(
        self,
        values: np.ndarray,
        *,
        allocated: int = 16,
        stored: int = 12,
        high: int | None = None,
        signed: bool = False,
        dirt: int = 0,
    ) -> None:
        """Store values as pixels of `stored` bits that end at bit `high`; `dirt` sets bits beyond them."""
        data = self.data
        high = stored - 1 if high is None else high
        shift = high + 1 - stored
        cells = (values.astype(np.int64) & (2**stored - 1)) << shift
        cells |= dirt & ~((2**stored - 1) << shift) & (2**allocated - 1)
        data.Rows, data.Columns = values.shape
        data.BitsAllocated, data.BitsStored, data.HighBit = allocated, stored, high
        data.PixelRepresentation = int(signed)
        data.PixelData = cells.astype(f"<u{allocated // 8}").tobytes()
        data["PixelData"].VR = "OW"


def _shot(frame: int, plane: int, take: int) -> Shot:
    """An image with what all scanners write."""
    data = Dataset()
    data.SOPClassUID = MRImageStorage
    data.StudyInstanceUID = "1.2.3"
    data.Modality = "MR"
    data.PatientID = "somebody"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20200103"
    data.AcquisitionTime = data.SeriesTime = data.ContentTime = f"10{20 * take + plane:02d}00"
    data.TriggerTime = f"{frame * FRAME_MS:g}"
    data.NominalInterval = round(RR_MS)
    data.CardiacNumberOfImages = FRAMES
    placed, along = affine(), affine()[:3, :3] / SPACING_MM
    data.ImagePositionPatient = [f"{v:.6f}" for v in (placed @ [0, 0, plane, 1])[:3] * _LPS]
    data.ImageOrientationPatient = [f"{v:.9f}" for v in (along[:, :2].T * _LPS).ravel()]
    data.PixelSpacing = [f"{SPACING_MM[1]:g}", f"{SPACING_MM[0]:g}"]
    data.SliceThickness = 8
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    shot = Shot(frame, plane, take, data)
    shot.store(picture(frame, plane, take))
    return shot


def siemens(frame: int, plane: int, take: int) -> Shot:
    """One series a slice; instances numbered by time."""
    shot = _shot(frame, plane, take)
    data = shot.data
    data.Manufacturer, data.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "DIS2D"]
    data.SeriesInstanceUID, data.SeriesNumber = f"1.2.3.{SLICES * take + plane + 1}", SLICES * take + plane + 1
    data.SeriesDescription, data.InstanceNumber, data.AcquisitionNumber = "cine_tf2d_SAX", frame + 1, 1
    return shot


def ge(frame: int, plane: int, take: int) -> Shot:
    """One series in all, signed values of 16 bits; instances numbered slice by slice."""
    shot = _shot(frame, plane, take)
    data = shot.data
    data.Manufacturer, data.ImageType = "GE MEDICAL SYSTEMS", ["ORIGINAL", "PRIMARY", "OTHER"]
    data.SeriesInstanceUID, data.SeriesNumber = f"1.2.4.{take + 1}", take + 1
    data.SeriesDescription, data.InstanceNumber = "SAX FIESTA CINE", plane * FRAMES + frame + 1
    data.AcquisitionNumber = take + 1
    shot.store(picture(frame, plane, take), stored=16, signed=True)
    return shot


def philips(frame: int, plane: int, take: int) -> Shot:
    """One series in all; instances numbered frame by frame."""
    shot = _shot(frame, plane, take)
    data = shot.data
    data.Manufacturer, data.ImageType = "Philips Medical Systems", ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]
    data.SeriesInstanceUID, data.SeriesNumber = f"1.2.5.{take + 1}", 100 * take + 1
    data.SeriesDescription, data.InstanceNumber = "sBTFE_BH_SAX", frame * SLICES + plane + 1
    data.AcquisitionNumber = take + 1
    data.TemporalPositionIdentifier, data.NumberOfTemporalPositions = frame + 1, FRAMES
    data.RescaleSlope, data.RescaleIntercept = "1", "0"
    return shot


_PER_FRAME = (
    "ImageType", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime", "NominalInterval",
    "NominalPercentageOfCardiacPhase", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


def enhanced(shots: list[Shot]) -> Dataset:
    """The images in one multi-frame file, frames in the given order."""
    first = shots[0].data
    whole = copy.deepcopy(first)
    for tag in _PER_FRAME:
        if tag in whole:
            del whole[tag]
    whole.SOPClassUID = EnhancedMRImageStorage
    whole.ImageType = ["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"]
    whole.NumberOfFrames = len(shots)
    whole.PixelData = b"".join(shot.data.PixelData for shot in shots)
    orientation = _item(ImageOrientationPatient=first.ImageOrientationPatient)
    whole.SharedFunctionalGroupsSequence = [_item(PlaneOrientationSequence=Sequence([orientation]))]
    whole.PerFrameFunctionalGroupsSequence = [_groups(shot.data) for shot in shots]
    return whole


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for name, value in elements.items():
        if value is not None:
            setattr(item, name, value)
    return item


def _groups(data: Dataset) -> Dataset:
    """The functional groups of one frame."""

    def number(name: str) -> float | None:
        return float(data[name].value) if name in data else None

    kind = data.ImageType
    part = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
    component = next((part[value] for value in kind[2:] if value in part), "MAGNITUDE")
    content = _item(
        TemporalPositionIndex=data.get("TemporalPositionIdentifier"),
        FrameAcquisitionNumber=data.get("AcquisitionNumber"),
        FrameAcquisitionDateTime=data.AcquisitionDate + data.AcquisitionTime if "AcquisitionTime" in data else None,
    )
    timing = _item(
        NominalCardiacTriggerDelayTime=number("TriggerTime"),
        NominalPercentageOfCardiacPhase=number("NominalPercentageOfCardiacPhase"),
        RRIntervalTimeNominal=number("NominalInterval"),
    )
    scale = _item(RescaleSlope=data.get("RescaleSlope"), RescaleIntercept=data.get("RescaleIntercept"))
    groups = {
        "FrameContentSequence": content,
        "PlanePositionSequence": _item(ImagePositionPatient=data.ImagePositionPatient),
        "PixelMeasuresSequence": _item(PixelSpacing=data.PixelSpacing, SliceThickness=8),
        "CardiacSynchronizationSequence": timing if len(timing) else None,
        "PixelValueTransformationSequence": scale if len(scale) else None,
        "MRImageFrameTypeSequence": _item(FrameType=list(kind), ComplexImageComponent=component),
    }
    return _item(**{name: Sequence([item]) for name, item in groups.items() if item is not None})


@cache
def _shots(writer: Callable[[int, int, int], Shot], take: int) -> list[Shot]:
    return [writer(frame, plane, take) for plane in range(SLICES) for frame in range(FRAMES)]


# The images of a series become one file in the enhanced forms.
_WRITERS = {"siemens": siemens, "ge": ge, "philips": philips, "enhanced": philips, "enhanced-slices": siemens}
SINGLE = ("siemens", "ge")
MULTI = ("enhanced", "enhanced-slices")
DICOM = SINGLE + MULTI
EVERY = (*DICOM, "philips")


class Scan:
    """The images of one cine in one form, which a kind changes before they are written.

    Attributes:
        how: words behind the name of the form, which the kind understands.
        shots: images, in the order in which an enhanced file has them.
        more: further files, by name.
        coding: changes each file's dataset before it is encoded.
        preamble: whether files have one, and a header of their own.
        suffix: of the files' names.
    """

    def __init__(self, form: str) -> None:
        self._form, _, self.how = form.partition(" ")
        self.shots = self.take(0)
        self.more: dict[str, bytes] = {}
        self.coding: Callable[[Dataset], Dataset] = lambda data: data
        self.preamble = True
        self.suffix = ".dcm"

    def take(self, number: int) -> list[Shot]:
        """All images of one acquisition; a later one has a higher number."""
        return [shot.copy() for shot in _shots(_WRITERS[self._form], number)]

    def files(self) -> dict[str, bytes]:
        """Every file by its name; the names tell no order."""
        datasets: list[Dataset]
        if self._form in MULTI:
            series: dict[str, list[Shot]] = {}
            for shot in self.shots:
                series.setdefault(shot.data.SeriesInstanceUID, []).append(shot)
            datasets = [enhanced(shots) for shots in series.values()]
        else:
            datasets = [shot.data for shot in self.shots]
        files = {}
        for index, data in enumerate(datasets):
            if "SOPInstanceUID" not in data:
                data.SOPInstanceUID = f"1.2.9.{index + 1}"
            files[f"{(index * 7919) % 10007:05d}{self.suffix}"] = self._encoded(data)
        return files | self.more

    def _encoded(self, data: Dataset) -> bytes:
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = self.coding(data)
        buffer = io.BytesIO()
        if self.preamble:
            data.save_as(buffer, enforce_file_format=True)
        else:
            del data.file_meta
            data.save_as(buffer, implicit_vr=True, little_endian=True, enforce_file_format=False)
        return buffer.getvalue()

    def archive(self, path: Path) -> Path:
        """Write a zip where the path has a suffix, else a folder."""
        if path.suffix:
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in self.files().items():
                    archive.writestr(name, content)
        else:
            path.mkdir()
            for name, content in self.files().items():
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).write_bytes(content)
        return path
