"""Writer of short-axis cine archives like UK Biobank's (field 20209): a flat zip of single-frame DICOM files and a
manifest, with the irregularities of real archives."""

import io
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from cof.config.data import OdditySettings
from cof.phantom.latents import Latents
from cof.phantom.stack import SLICE_DISTANCE_MM, SLICE_THICKNESS_MM, Stack

SERIES = "CINE_segmented_SAX_b{}"
INLINE_SERIES = "CINE_segmented_SAX_InlineVF"
_ZIP_TIME = (2015, 1, 1, 0, 0, 0)
_COLUMNS = (
    "filename",
    "patientid",
    "studyid",
    "study description",
    "date",
    "seriesid",
    "series discription",
    "modality",
    "aet",
    "host",
)


@dataclass(frozen=True)
class Oddities:
    """Irregularities of one archive. Slices and frames are counted from 0; None and False mean no irregularity.

    Attributes:
        repeated_slice: slice that was scanned twice; the second scan, with the later series UID, is the good one.
        missing: slice and frame whose file is missing.
        mixed_file_order: whether file names are not in order of time.
        misspelt_manifest: whether the manifest is called manifest.cvs.
        inline_vf: whether there is a further series of the scanner's own evaluation, with contours in overlays.
    """

    repeated_slice: int | None = None
    missing: tuple[int, int] | None = None
    mixed_file_order: bool = False
    misspelt_manifest: bool = False
    inline_vf: bool = False


def draw_oddities(settings: OdditySettings, slices: int, frames: int, rng: np.random.Generator) -> Oddities:
    """Draw the irregularities of one archive; the number of draws does not depend on the rates."""
    chance = rng.random(5)
    repeated = int(rng.integers(slices))
    missing = (int(rng.integers(slices)), int(rng.integers(1, frames)))
    return Oddities(
        repeated_slice=repeated if chance[0] < settings.repeated_series else None,
        missing=missing if chance[1] < settings.missing_frame else None,
        mixed_file_order=bool(chance[2] < settings.mixed_file_order),
        misspelt_manifest=bool(chance[3] < settings.misspelt_manifest),
        inline_vf=bool(chance[4] < settings.inline_vf_series),
    )


@dataclass
class _Study:
    """Identifiers and running numbers of one visit."""

    latents: Latents
    start: datetime
    serial: int
    files: list[tuple[str, bytes]] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    series_count: int = 0
    instance_count: int = 0

    @property
    def root(self) -> str:
        return f"1.3.12.2.1107.5.2.18.{self.serial}"

    @property
    def study_uid(self) -> str:
        return f"{self.root}.30000{self.start:%y%m%d%H%M%S}00000001"

    def next_series_uid(self) -> str:
        self.series_count += 1
        begun = self.start + timedelta(seconds=20 * self.series_count)
        return f"{self.root}.{begun:%Y%m%d%H%M%S}{100000 + self.series_count:06d}.0.0.0"

    def next_instance_uids(self, count: int) -> list[str]:
        begun = self.start + timedelta(seconds=20 * self.series_count + 8)
        first = self.instance_count
        self.instance_count += count
        return [f"{self.root}.{begun:%Y%m%d%H%M%S}{10000000 + first + k:08d}" for k in range(count)]


def _header(study: _Study, stack: Stack, frames: int) -> Dataset:
    """Return the elements that all files of the study share."""
    own, begun = study.latents, study.start
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.ImplementationClassUID = UID("1.3.12.2.1107.5.2")
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "DIS2D"]
    data.SOPClassUID = MRImageStorage
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = begun.strftime("%Y%m%d")
    data.StudyTime = begun.strftime("%H%M%S")
    data.Modality = "MR"
    data.Manufacturer = "SIEMENS"
    data.ManufacturerModelName = "Aera"
    data.StudyDescription = "Synthetic heart"
    data.PatientName = own.participant
    data.PatientID = own.participant
    data.PatientSex = own.sex
    data.PatientSize = round(own.height_cm / 100, 2)
    data.PatientWeight = round(own.weight_kg, 1)
    data.ScanningSequence = "GR"
    data.SequenceVariant = "SK"
    data.MRAcquisitionType = "2D"
    data.SliceThickness = SLICE_THICKNESS_MM
    data.RepetitionTime = 2.6
    data.EchoTime = 1.1
    data.MagneticFieldStrength = 1.5
    data.SpacingBetweenSlices = SLICE_DISTANCE_MM
    data.NominalInterval = round(own.rr_cmr_ms)
    data.HeartRate = round(own.hr_cmr_bpm)
    data.CardiacNumberOfImages = frames
    data.FlipAngle = 80
    data.PatientPosition = "HFS"
    data.StudyInstanceUID = study.study_uid
    data.FrameOfReferenceUID = f"{study.root}.1.{begun:%Y%m%d%H%M%S}"
    data.ImageOrientationPatient = [round(float(v), 10) for v in stack.orientation.ravel()]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows = data.Columns = stack.matrix
    data.PixelSpacing = [round(stack.spacing_mm, 8)] * 2
    data.BitsAllocated = 16
    data.BitsStored = 12
    data.HighBit = 11
    data.PixelRepresentation = 0
    return data


def _add_series(
    study: _Study,
    header: Dataset,
    description: str,
    images: np.ndarray,
    times_ms: np.ndarray,
    positions: np.ndarray,
    order: np.ndarray,
    skip: int | None = None,
    overlays: np.ndarray | None = None,
) -> None:
    """Append one series: images [n, rows, columns] in the order of InstanceNumber.

    Args:
        study, header: identifiers and elements that all files share.
        description: SeriesDescription.
        images: uint16 [n, rows, columns].
        times_ms: [n], trigger times.
        positions: [n, 3], positions of the first pixels.
        order: [n], rank of each image's file name among the names of the series.
        skip: index of an image whose file is missing although the manifest lists it.
        overlays: bool [n, rows, columns], contours for overlay group 6000.
    """
    uids = study.next_instance_uids(len(images))
    header.SeriesInstanceUID = study.next_series_uid()
    header.SeriesNumber = study.series_count
    header.SeriesDescription = header.ProtocolName = description
    normal = np.cross(*np.asarray(header.ImageOrientationPatient, float).reshape(2, 3))
    for k, image in enumerate(images):
        uid = uids[order[k]]
        header.file_meta.MediaStorageSOPInstanceUID = uid
        header.SOPInstanceUID = uid
        header.InstanceNumber = k + 1
        header.TriggerTime = round(float(times_ms[k]), 4)
        header.ImagePositionPatient = [round(float(v), 8) for v in positions[k]]
        header.SliceLocation = round(float(positions[k] @ normal), 6)
        header.LargestImagePixelValue = int(image.max())
        header.SmallestImagePixelValue = int(image.min())
        header.PixelData = image.astype("<u2").tobytes()
        if overlays is not None:
            header.add_new(0x60000010, "US", image.shape[0])
            header.add_new(0x60000011, "US", image.shape[1])
            header.add_new(0x60000015, "IS", 1)
            header.add_new(0x60000040, "CS", "G")
            header.add_new(0x60000050, "SS", [1, 1])
            header.add_new(0x60000100, "US", 1)
            header.add_new(0x60000102, "US", 0)
            bits = np.packbits(overlays[k].ravel(), bitorder="little").tobytes()
            header.add_new(0x60003000, "OW", bits + b"\0" * (len(bits) % 2))
        name = f"{uid}.dcm"
        stamp = study.start
        date = f"{stamp:%b} {stamp.day}, {stamp:%Y}"
        study.rows.append(
            (
                name,
                study.latents.participant,
                study.study_uid,
                header.StudyDescription,
                date,
                header.SeriesInstanceUID,
                description,
                "MR",
                "SYNTH",
                "phantom",
            )
        )
        if k == skip:
            continue
        buffer = io.BytesIO()
        header.save_as(buffer, enforce_file_format=True)
        study.files.append((name, buffer.getvalue()))


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that touch the outside in plane."""
    inner = mask.copy()
    for axis in (-2, -1):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return mask & ~inner


def write_cine_zip(
    path: Path,
    latents: Latents,
    stack: Stack,
    frames: np.ndarray,
    labels: np.ndarray,
    oddities: Oddities,
    rng: np.random.Generator,
) -> None:
    """Write the archive of one visit; the same arguments give the same bytes.

    Args:
        path: the zip to write.
        latents: participant and heart rate.
        stack: geometry.
        frames: uint16 [T, Z, rows, columns], slices from base to apex.
        labels: uint8, the same shape; used only for the overlay contours of the scanner's own evaluation.
        oddities: irregularities to write.
        rng: source of dates, serial numbers and file order.
    """
    count, slices = frames.shape[:2]
    date = datetime(2015, 1, 5) + timedelta(days=int(rng.integers(0, 1500)), seconds=int(rng.integers(28800, 64800)))
    study = _Study(latents, date, int(rng.integers(40000, 99999)))
    header = _header(study, stack, count)
    times = np.arange(count) * latents.rr_cmr_ms / count
    for z in range(slices):
        positions = np.repeat(stack.position_mm[z][None], count, 0)
        skip = oddities.missing[1] if oddities.missing is not None and oddities.missing[0] == z else None

        def order() -> np.ndarray:
            return rng.permutation(count) if oddities.mixed_file_order else np.arange(count)

        if oddities.repeated_slice == z:
            # A failed breath-hold: shifted, and averaged over two phases.
            moved = np.roll(frames[:, z], (int(rng.integers(2, 6)), int(rng.integers(-3, 4))), (1, 2))
            failed = ((moved.astype(np.uint32) + np.roll(moved, 2, 0)) // 2).astype(np.uint16)
            _add_series(study, header, SERIES.format(z + 1), failed, times, positions, order())
        _add_series(study, header, SERIES.format(z + 1), frames[:, z], times, positions, order(), skip)
    if oddities.inline_vf:
        by_slice = frames.transpose(1, 0, 2, 3).reshape(-1, *frames.shape[2:])
        contours = _outline(labels == 1).transpose(1, 0, 2, 3).reshape(by_slice.shape)
        positions = np.repeat(stack.position_mm, count, 0)
        times = np.tile(times, slices)
        _add_series(
            study, header, INLINE_SERIES, by_slice, times, positions, np.arange(len(by_slice)), overlays=contours
        )

    manifest = "\n".join([",".join(_COLUMNS), *(",".join(row) for row in study.rows)])
    path.parent.mkdir(parents=True, exist_ok=True)
    name = "manifest.cvs" if oddities.misspelt_manifest else "manifest.csv"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in [*sorted(study.files), (name, manifest.encode())]:
            info = zipfile.ZipInfo(entry, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, compresslevel=1)
