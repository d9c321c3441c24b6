"""Geometry of a real cine compared with SimpleITK's reader, and its canonical cine from DICOM compared with NIfTI.

Run with `--help`; README.md explains the output.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK

from cof.cine.annotations import read_annotation
from cof.cine.archive import read_members
from cof.cine.ed import find_ed
from cof.cine.grid import make_grid
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine
from cof.config.data import GridSettings

LV_OF_CONTOURS, MYOCARDIUM_OF_CONTOURS = 3, 2


def corners_mm(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the corner voxels of every slice in RAS millimetres [Z, 4, 3]."""
    slices, rows, columns = shape
    index = [[(x, y, z, 1) for y in (0, rows - 1) for x in (0, columns - 1)] for z in range(slices)]
    return (np.array(index) @ affine.T)[..., :3]


def from_simpleitk(cine: Cine, archive: Path) -> float:
    """Return the largest distance in mm of a slice's corners by SimpleITK from the nearest slice's corners by `cof`."""
    own = corners_mm(cine.affine, cine.frames.shape[1:])
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        for _, content in read_members(archive):
            if content[128:132] != b"DICM":
                continue
            path.write_bytes(content)
            image = SimpleITK.ReadImage(str(path))
            columns, rows, _ = image.GetSize()
            places = [image.TransformIndexToPhysicalPoint((x, y, 0)) for y in (0, rows - 1) for x in (0, columns - 1)]
            distance = np.linalg.norm(own - np.array(places) * [-1, -1, 1], axis=-1).max(axis=1)
            worst = max(worst, float(distance.min()))
    return worst


def write_by_simpleitk(cine: Cine, folder: Path) -> None:
    """Write the cine as DICOM files by SimpleITK, one per frame and slice, with position, orientation and number.

    The files have no trigger times, because the NIfTI does not record the time of the R peak.
    """
    along_x, along_y, step = (cine.affine[:3, :3] * [[-1], [-1], [1]]).T
    normal = np.cross(along_x, along_y)
    directions = np.stack([axis / np.linalg.norm(axis) for axis in (along_x, along_y, normal)], axis=1)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    series = "1.2.826.0.1.3680043.2.1125.1"
    for slice_ in range(cine.frames.shape[1]):
        position = cine.affine[:3, 3] * [-1, -1, 1] + slice_ * step
        for frame, images in enumerate(cine.frames):
            image = SimpleITK.GetImageFromArray(images[slice_ : slice_ + 1])
            image.SetSpacing((*np.linalg.norm([along_x, along_y], axis=1), np.linalg.norm(step)))
            image.SetDirection(directions.ravel())
            image.SetOrigin(position)
            for tag, value in {
                "0008|0060": "MR",
                "0008|0018": f"{series}.{slice_ + 1}.{frame + 1}",
                "0008|103e": "SAX",
                "0020|000d": series,
                "0020|000e": f"{series}.{slice_ + 1}",
                "0020|0013": str(frame + 1),
                "0020|0032": "\\".join(f"{number:.9f}" for number in position),
                "0020|0037": "\\".join(f"{number:.9f}" for number in directions[:, :2].T.ravel()),
            }.items():
                image.SetMetaData(tag, value)
            writer.SetFileName(str(folder / f"{slice_:02d}-{frame:02d}.dcm"))
            writer.Execute(image)


def begun_at_ed(cine: Cine, contours: np.ndarray) -> tuple[Cine, np.ndarray]:
    """Return the cine and its labels, rolled as the cine stage rolls them."""
    lv, wall = contours == LV_OF_CONTOURS, contours == MYOCARDIUM_OF_CONTOURS
    labels = np.where(lv, 1, np.where(wall, 2, 0)).astype(np.uint8)
    frame, by = find_ed(cine, None, labels)
    return replace(cine.rolled(frame), ed_by=by), np.roll(labels, -frame, axis=0)


def compare(source: Path, nifti: Cine, rolled: Cine, labels: np.ndarray, contours: Path) -> None:
    """Print how the DICOM files at `source` differ from the NIfTI, and from what SimpleITK reads."""
    dicom = read_cine_source(source, 0.1)
    print("DICOM, without contours:", find_ed(dicom, None, None), f"first frame {dicom.delay_ms:.1f} ms after R")
    print(f"DICOM against SimpleITK: at most {from_simpleitk(dicom, source):.6f} mm")
    apart = corners_mm(dicom.affine, dicom.frames.shape[1:]) - corners_mm(nifti.affine, nifti.frames.shape[1:])
    print(f"DICOM against NIfTI: at most {np.linalg.norm(apart, axis=-1).max():.6f} mm")
    settings = GridSettings(shape=(12, 96, 96), spacing_mm=(10.0, 1.8, 1.8), frames=20)
    other, other_labels = begun_at_ed(dicom, read_annotation(contours, dicom))
    one, _ = make_grid(rolled, labels[0], settings)
    two, _ = make_grid(other, other_labels[0], settings)
    print(
        f"DICOM, with contours: ED is recorded frame {other.rolled_by} by {other.ed_by}; canonical cines differ by at "
        f"most {np.abs(one - two).max():.6f} of intensity 1"
    )


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dicom", type=Path, help="zip or folder of one patient; left out, SimpleITK writes one")
    parser.add_argument("--nifti", type=Path, required=True, help="4D NIfTI of the same patient")
    parser.add_argument("--contours", type=Path, required=True, help="4D labels on its voxels: 3 LV, 2 myocardium")
    arguments = parser.parse_args()
    nifti = read_cine_source(arguments.nifti, 0.1)
    print("NIfTI, without contours:", find_ed(nifti, None, None))
    rolled, labels = begun_at_ed(nifti, read_annotation(arguments.contours, nifti))
    print(f"NIfTI, with contours: ED is recorded frame {rolled.rolled_by} by {rolled.ed_by}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.dicom is None:
            write_by_simpleitk(nifti, Path(folder))
            print("DICOM files are SimpleITK's, made of the NIfTI")
        compare(arguments.dicom or Path(folder), nifti, rolled, labels, arguments.contours)


if __name__ == "__main__":
    main()
