"""A real cine's geometry against SimpleITK's reader, and the canonical cine from its DICOM files against its NIfTI.

Run with `--help`; README.md tells what comes out.
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
from cof.config import GridSettings

LV_OF_CONTOURS, MYOCARDIUM_OF_CONTOURS = 3, 2


def corners_mm(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """RAS millimetres [Z, 4, 3] of the corner voxels of every slice."""
    slices, rows, columns = shape
    index = [[(x, y, z, 1) for y in (0, rows - 1) for x in (0, columns - 1)] for z in range(slices)]
    return (np.array(index) @ affine.T)[..., :3]


def from_simpleitk(cine: Cine, archive: Path) -> float:
    """Largest distance, mm, of a slice's corners by SimpleITK from the nearest slice's corners by `cof`."""
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


def begun_at_ed(cine: Cine, contours: np.ndarray) -> tuple[Cine, np.ndarray]:
    """The cine and its labels, rolled as the cine stage rolls them."""
    lv, wall = contours == LV_OF_CONTOURS, contours == MYOCARDIUM_OF_CONTOURS
    labels = np.where(lv, 1, np.where(wall, 2, 0)).astype(np.uint8)
    frame, by = find_ed(cine, None, labels)
    return replace(cine.rolled(frame), ed_by=by), np.roll(labels, -frame, axis=0)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dicom", type=Path, help="zip or folder of one patient; left out, only ED is printed")
    parser.add_argument("--nifti", type=Path, required=True, help="4D NIfTI of the same patient")
    parser.add_argument("--contours", type=Path, required=True, help="4D labels on its voxels: 3 LV, 2 myocardium")
    arguments = parser.parse_args()
    nifti = read_cine_source(arguments.nifti, 0.1)
    print("NIfTI, without contours:", find_ed(nifti, None, None))
    rolled, labels = begun_at_ed(nifti, read_annotation(arguments.contours, nifti))
    print(f"NIfTI, with contours: ED is recorded frame {rolled.rolled_by} by {rolled.ed_by}")
    if arguments.dicom is None:
        return
    dicom = read_cine_source(arguments.dicom, 0.1)
    print("DICOM, without contours:", find_ed(dicom, None, None), f"first frame {dicom.delay_ms:.1f} ms after R")
    print(f"DICOM against SimpleITK: at most {from_simpleitk(dicom, arguments.dicom):.6f} mm")
    apart = corners_mm(dicom.affine, dicom.frames.shape[1:]) - corners_mm(nifti.affine, nifti.frames.shape[1:])
    print(f"DICOM against NIfTI: at most {np.linalg.norm(apart, axis=-1).max():.6f} mm")
    settings = GridSettings(shape=(12, 96, 96), spacing_mm=(10.0, 1.8, 1.8), frames=20)
    other, other_labels = begun_at_ed(dicom, read_annotation(arguments.contours, dicom))
    one, _ = make_grid(rolled, labels[0], settings)
    two, _ = make_grid(other, other_labels[0], settings)
    print(
        f"DICOM, with contours: ED is recorded frame {other.rolled_by} by {other.ed_by}; canonical cines differ by at "
        f"most {np.abs(one - two).max():.6f} of intensity 1"
    )


if __name__ == "__main__":
    main()
