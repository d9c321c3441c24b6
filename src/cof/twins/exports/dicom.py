"""A generated cine as a series of single-frame MR images (MR Image Storage), one file for each slice and frame.

Every file states that it is derived and synthetic (ImageType, SyntheticData, SeriesDescription). No file holds the date
of its making or an identifier of the scan: identifiers and UIDs are hashes of the content, so that the same heart
always has the same bytes.
"""

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from cof import __version__
from cof.errors import UsageError
from cof.twins.exports.heart import SYNTHETIC, Heart

MANUFACTURER, MODEL = "Chain of Flow", "cof"
# The last value survives programs that do not know SyntheticData; `cof.cine` reads either.
IMAGE_TYPE = ("DERIVED", "SECONDARY", "OTHER", "SYNTHETIC")
CINE_SERIES = 1

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_RIGHT_ANGLE = 1e-4  # cosine of the angle of rows and columns that readers still take for 0
_WINDOW = (0.5, 99.5)  # percentiles of the intensities that are shown black and white
_LETTERS = 12


def content_hash(*parts: Any) -> str:
    """Compute the SHA-256, in hexadecimal digits, of arrays and of values whose `repr` is the same everywhere."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(repr(part).encode())
        found.update(b"\n")
    return found.hexdigest()


def uid_of(*parts: Any) -> UID:
    """Derive a UID of the form 2.25.UUID (PS3.5, B.2), whose UUID is a hash of the parts."""
    made = uuid.UUID(bytes=bytes.fromhex(content_hash(*parts))[:16], version=5)
    return UID(f"2.25.{made.int}")


def identity(heart: Heart) -> str:
    """Compute the hash of the content of a heart's images, from which all UIDs are derived."""
    times = (heart.times_ms, heart.cine.rr_ms) if heart.timed else ()
    return content_hash("cine", __version__, heart.notices, np.asarray(heart.cine.frames), heart.affine, *times)


def cine_datasets(heart: Heart) -> list[list[Dataset]]:
    """Make the images of a heart's cine.

    Where the duration of the cycle is not known, the images have the number of their frame and no time.

    Returns:
        For every frame the datasets of its slices, in the order of the array.

    Raises:
        UsageError: the rows and columns of the images are not at right angles.
    """
    frames = np.asarray(heart.cine.frames)
    series = identity(heart)
    shared = _shared(heart, series)
    _, orientation, positions = _geometry(heart.affine, frames.shape[1])
    normal = np.cross(*np.reshape(orientation, (2, 3)))
    count = len(frames)
    made = []
    for frame, volume in enumerate(frames):
        row = []
        for plane, image in enumerate(volume):
            data = Dataset()
            data.update(shared)
            data.SOPInstanceUID = uid_of(series, "image", frame, plane)
            data.InstanceNumber = plane * count + frame + 1
            data.TemporalPositionIdentifier = frame + 1
            if heart.timed:
                data.TriggerTime = _decimal(heart.times_ms[frame])
            data.ImagePositionPatient = _decimals(positions[plane])
            data.SliceLocation = _decimal(positions[plane] @ normal)
            data.PixelData = image.astype("<i2").tobytes()  # a row of unsigned ones has the same bytes
            data["PixelData"].VR = "OW"
            data.file_meta = file_meta(MRImageStorage, data.SOPInstanceUID)
            row.append(data)
        made.append(row)
    return made


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write the series, slice by slice: `slice01_frame01.dcm` and so on."""
    made = cine_datasets(heart)
    paths = []
    for plane in range(len(made[0])):
        for frame, images in enumerate(made):
            path = folder / f"slice{plane + 1:02d}_frame{frame + 1:02d}.dcm"
            images[plane].save_as(path, enforce_file_format=True)
            paths.append(path)
    return paths


def file_meta(sop_class: str, instance: str) -> FileMetaDataset:
    """Make the group 0002 of a file, without the versions of the libraries that write it."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid_of("implementation", MANUFACTURER)
    meta.ImplementationVersionName = f"COF_{__version__}"[:16]
    return meta


def _shared(heart: Heart, series: str) -> Dataset:
    """Make the elements that all images of the series share."""
    frames = heart.cine.frames
    count, slices, rows, columns = frames.shape
    (distance, *spacing), orientation, _ = _geometry(heart.affine, slices)
    low, high = np.percentile(frames, _WINDOW)
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageType = list(IMAGE_TYPE)
    data.SOPClassUID = MRImageStorage
    data.SyntheticData = "YES"
    data.StudyDate = data.StudyTime = data.ContentDate = data.ContentTime = ""
    data.AccessionNumber = data.ReferringPhysicianName = ""
    data.StudyID = "1"
    data.Modality = "MR"
    data.Manufacturer, data.ManufacturerModelName = MANUFACTURER, MODEL
    data.SoftwareVersions = __version__
    data.StudyDescription = f"Generated heart, {SYNTHETIC}"
    data.SeriesDescription = f"SAX cine, {SYNTHETIC}"
    data.DerivationDescription = f"Generated by a model from an anatomical anchor volume: {SYNTHETIC}"
    data.PatientName = "SYNTHETIC^HEART"
    data.PatientID = f"SYNTHETIC-{_letters(series)}"
    data.PatientBirthDate = data.PatientSex = ""
    data.BodyPartExamined = "HEART"
    data.PatientPosition = ""
    data.ScanningSequence, data.SequenceVariant = "RM", "NONE"
    data.MRAcquisitionType = "2D"
    data.RepetitionTime = data.EchoTime = data.EchoTrainLength = None
    data.SliceThickness = data.SpacingBetweenSlices = _decimal(distance)
    data.ScanOptions = ""
    if heart.timed:
        data.ScanOptions = "CG"  # the standard allows TriggerTime with cardiac gating alone
        data.NominalInterval = round(heart.cine.rr_ms)
        data.HeartRate = round(60_000 / heart.cine.rr_ms)
        data.TemporalResolution = _decimal(heart.cine.rr_ms / count)
    data.CardiacNumberOfImages = data.NumberOfTemporalPositions = count
    data.StudyInstanceUID = uid_of(series, "study")
    data.SeriesInstanceUID = uid_of(series, "series")
    data.FrameOfReferenceUID = uid_of(series, "frame of reference")
    data.PositionReferenceIndicator = ""
    data.SeriesNumber = CINE_SERIES
    data.ImageOrientationPatient = _decimals(orientation)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = rows, columns
    data.PixelSpacing = _decimals(spacing)
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = int(frames.min() < 0)
    data.WindowCenter = _decimal(round((low + high) / 2, 1))
    data.WindowWidth = _decimal(max(round(high - low, 1), 1.0))
    data.ImageComments = "; ".join(heart.notices)
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    return data


def _geometry(affine: np.ndarray, slices: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Compute distances along z, y, x in mm, orientation [6] and positions [slices, 3] in DICOM's LPS coordinates.

    Raises:
        UsageError: rows and columns are not at right angles.
    """
    axes = affine[:3, :3] * _RAS_TO_LPS[:, None]
    x, y = np.linalg.norm(axes[:, :2], axis=0)
    along_x, along_y = axes[:, 0] / x, axes[:, 1] / y
    if abs(along_x @ along_y) > _RIGHT_ANGLE:
        raise UsageError(
            "rows and columns of the cine are not at right angles, and DICOM has no such images: choose other formats"
        )
    distance = abs(np.cross(along_x, along_y) @ axes[:, 2])
    positions = affine[:3, 3] * _RAS_TO_LPS + np.arange(slices)[:, None] * axes[:, 2]
    return [distance, y, x], np.concatenate([along_x, along_y]), positions


def _letters(digest: str) -> str:
    """Write hexadecimal digits as letters, so that no part looks like a participant id."""
    return "".join(chr(ord("A") + int(digit, 16)) for digit in digest[:_LETTERS])


def _decimal(value: float) -> str:
    """Format a decimal string, which has at most 16 characters; zero has no sign."""
    return format_number_as_ds(float(value) + 0.0)


def _decimals(values: Iterable[float]) -> list[str]:
    return [_decimal(value) for value in values]
