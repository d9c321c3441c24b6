"""Tiny synthetic scans as DICOM files: 6 oblique slices of 16 x 14 voxels, 10 frames, no two alike."""

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from scipy.spatial.transform import Rotation

FRAMES, SLICES, ROWS, COLUMNS = 10, 6, 16, 14
SPACING_MM = (10.0, 1.9, 1.7)
RR_MS = 900.0


def heart_axes() -> np.ndarray:
    """Unit vectors (rows) of x, y and z in RAS; z runs left, forwards and down, as from base to apex."""
    z = np.array([-0.6, 0.5, -0.6])
    z /= np.linalg.norm(z)
    x = np.cross([0.1, 0.9, 0.4], z)
    x /= np.linalg.norm(x)
    turned = Rotation.from_rotvec(0.3 * z).apply(x)
    return np.array([turned, np.cross(z, turned), z])


@dataclass(frozen=True)
class Scan:
    """A scan as it should come out."""

    frames: np.ndarray
    affine: np.ndarray


def make_scan(slices: int = SLICES, frames: int = FRAMES) -> Scan:
    t, z, y, x = np.meshgrid(*map(np.arange, (frames, slices, ROWS, COLUMNS)), indexing="ij")
    affine = np.eye(4)
    affine[:3, :3] = (heart_axes() * np.array(SPACING_MM[::-1])[:, None]).T
    affine[:3, 3] = (31.0, -42.5, 77.25)
    return Scan((280 * z + 90 * t + 5 * y + x).astype(np.int16), affine)


def images(scan: Scan, name: str | None = "CINE_segmented_SAX_b{}", series: str = "1.2.3.{}") -> list[Dataset]:
    """One dataset for each slice and frame; `{}` in the names is the number of the slice, from 1 at the base."""
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    directions = (scan.affine[:3, :3] / spacing * np.array([[-1], [-1], [1]])).T
    datasets = []
    for plane in range(scan.frames.shape[1]):
        position = (scan.affine @ [0, 0, plane, 1])[:3] * [-1, -1, 1]
        for frame, volume in enumerate(scan.frames):
            data = Dataset()
            data.SOPClassUID = MRImageStorage
            data.SeriesInstanceUID = series.format(plane + 1)
            data.SOPInstanceUID = f"{data.SeriesInstanceUID}.{plane + 1}.{frame + 1}"
            data.PatientID = "somebody"
            if name is not None:
                data.SeriesDescription = name.format(plane + 1)
            data.InstanceNumber = frame + 1
            data.TriggerTime = str(round(frame * RR_MS / len(scan.frames), 3))
            data.NominalInterval = 1000
            data.ImagePositionPatient = [f"{value:.6f}" for value in position]
            data.ImageOrientationPatient = [f"{value:.9f}" for value in directions[:2].ravel()]
            data.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
            data.SamplesPerPixel = 1
            data.PhotometricInterpretation = "MONOCHROME2"
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
            set_pixels(data, volume[plane])
            datasets.append(data)
    return datasets


def set_pixels(data: Dataset, pixels: np.ndarray) -> None:
    data.Rows, data.Columns = pixels.shape
    data.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()


def encode(data: Dataset) -> bytes:
    if not hasattr(data, "file_meta"):
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = MRImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class Kit:
    """What the tests build scans with."""

    frames, slices, rows, columns = FRAMES, SLICES, ROWS, COLUMNS
    spacing_mm = SPACING_MM
    rr_ms = RR_MS
    scan = staticmethod(make_scan)
    images = staticmethod(images)
    set_pixels = staticmethod(set_pixels)
    encode = staticmethod(encode)

    @staticmethod
    def archive(path: Path, datasets: Iterable[Dataset], others: dict[str, bytes] | None = None) -> Path:
        """A zip whose names sort against time, with `others` beside the images."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, data in enumerate(datasets):
                archive.writestr(f"{(index * 7919) % 10007:05d}.dcm", encode(data))
            for name, content in (others or {}).items():
                archive.writestr(name, content)
        return path


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture(scope="session")
def scan() -> Scan:
    return make_scan()


@pytest.fixture
def archived(tmp_path: Path) -> Callable[..., Path]:
    """Writes datasets into a zip of this test."""

    def write(datasets: Iterable[Dataset], others: dict[str, bytes] | None = None) -> Path:
        return Kit.archive(tmp_path / "cine.zip", datasets, others)

    return write
