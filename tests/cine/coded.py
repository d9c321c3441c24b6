"""Synthetic images in other DICOM forms: compressed in every transfer syntax that scanners and archives use, or all
frames in one enhanced multi-frame file."""

import copy
import io
import struct

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
LOSSLESS = {
    JPEGLossless: lambda image: imagecodecs.ljpeg_encode(image, bitspersample=8 * image.itemsize),
    JPEGLosslessSV1: lambda image: imagecodecs.ljpeg_encode(image, bitspersample=8 * image.itemsize),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: lambda image: imagecodecs.jpeg2k_encode(image, codecformat="j2k", reversible=True, level=0),
}
# Largest error in grey values.
LOSSY = {
    JPEGLSNearLossless: (2, lambda image: imagecodecs.jpegls_encode(image, level=2)),
    JPEG2000: (8, lambda image: imagecodecs.jpeg2k_encode(image, codecformat="j2k", level=90)),
}


def images_of(data: Dataset) -> np.ndarray:
    """Stored pixels [N, rows, columns]."""
    return np.frombuffer(data.PixelData, f"<u{data.BitsAllocated // 8}").reshape(-1, data.Rows, data.Columns)


def compressed(data: Dataset, syntax: UID, encode) -> Dataset:
    """A copy of an encoded dataset with each of its images as one fragment of `syntax`."""
    other = copy.deepcopy(data)
    other.PixelData = encapsulate([encode(image) for image in images_of(data)])
    other["PixelData"].VR = "OB"
    other["PixelData"].is_undefined_length = True
    other.file_meta.TransferSyntaxUID = syntax
    return other


def eight_bit(data: Dataset, factor: float) -> Dataset:
    """A copy in baseline JPEG of 8 bits, with the slope that undoes `factor`."""
    other = compressed(
        data, JPEGBaseline8Bit, lambda image: imagecodecs.jpeg8_encode((image * factor).astype(np.uint8), level=100)
    )
    other.BitsAllocated = other.BitsStored = 8
    other.HighBit = 7
    other.RescaleSlope, other.RescaleIntercept = f"{1 / factor:.6f}", "0"
    return other


def run_length(data: Dataset) -> Dataset:
    """A copy in RLE; unlike pydicom's own, with whatever lies in unused bits."""

    def encode(image: np.ndarray) -> bytes:
        planes = image.astype(image.dtype.newbyteorder(">")).view("u1").reshape(image.size, image.itemsize).T
        segments = [
            b"".join(_literal(plane[at : at + 128].tobytes()) for at in range(0, image.size, 128)) for plane in planes
        ]
        segments = [segment + b"\x80" * (len(segment) % 2) for segment in segments]
        offsets = np.cumsum([64, *map(len, segments)])[:-1]
        return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)

    return compressed(data, RLELossless, encode)


def _literal(run: bytes) -> bytes:
    """Up to 128 bytes, as they are."""
    return bytes([len(run) - 1]) + run


def bare(data: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The dataset alone: neither preamble nor group 0002."""
    other, buffer = copy.deepcopy(data), io.BytesIO()
    del other.file_meta
    dcmwrite(
        buffer,
        other,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=False,
    )
    return buffer.getvalue()


def enhanced(datasets: list[Dataset]) -> Dataset:
    """All images in one enhanced multi-frame file, frames in the given order."""
    whole = copy.deepcopy(datasets[0])
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "TriggerTime", "NominalInterval"):
        del whole[tag]
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    whole.SeriesDescription = "sBTFE_SAX"
    whole.NumberOfFrames = len(datasets)
    whole.PixelData = b"".join(data.PixelData for data in datasets)
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([_item(PixelSpacing=datasets[0].PixelSpacing)])
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=datasets[0].ImageOrientationPatient)])
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    whole.PerFrameFunctionalGroupsSequence = Sequence([_frame(data) for data in datasets])
    return whole


def enhanced_fully(datasets: list[Dataset]) -> Dataset:
    """All images in one enhanced file whose functional groups say all that the images do."""
    timed = copy.deepcopy(datasets)
    for data in timed:
        data.TriggerTime = data.get("TriggerTime", "0")
    whole = enhanced(timed)
    for data, frame in zip(datasets, whole.PerFrameFunctionalGroupsSequence, strict=True):
        timing = frame.CardiacSynchronizationSequence[0]
        if "TriggerTime" not in data:
            del timing.NominalCardiacTriggerDelayTime
        timing.RRIntervalTimeNominal = float(data.NominalInterval)
        kind, content = Dataset(), Dataset()
        if "ImageType" in data:
            kind.FrameType = data.ImageType
        if "ComplexImageComponent" in data:
            kind.ComplexImageComponent = data.ComplexImageComponent
        if "TemporalPositionIdentifier" in data:
            content.TemporalPositionIndex = int(data.TemporalPositionIdentifier)
        if "AcquisitionNumber" in data:
            content.FrameAcquisitionNumber = int(data.AcquisitionNumber)
        if "AcquisitionTime" in data:
            content.FrameAcquisitionDateTime = f"{data.AcquisitionDate}{data.AcquisitionTime}"
        frame.MRImageFrameTypeSequence, frame.FrameContentSequence = Sequence([kind]), Sequence([content])
    for tag in ("ImageType", "ComplexImageComponent", "AcquisitionNumber", "AcquisitionTime", "InstanceNumber"):
        whole.pop(tag, None)
    return whole


def _item(**elements) -> Dataset:
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def _frame(data: Dataset) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = Sequence([_item(ImagePositionPatient=data.ImagePositionPatient)])
    frame.CardiacSynchronizationSequence = Sequence(
        [_item(NominalCardiacTriggerDelayTime=float(data.TriggerTime), RRIntervalTimeNominal=1000.0)]
    )
    return frame
