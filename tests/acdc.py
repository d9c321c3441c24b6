"""A folder as ACDC's, with phantoms in the place of patients: its names, codes and headers."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from cof.heart.structures import STRUCTURES

_THEIRS = {STRUCTURES["RV"]: 1, STRUCTURES["myocardium"]: 2, STRUCTURES["LV"]: 3}


def make(root: Path, groups: Mapping[str, str], *, cines: bool = False, matrix: int = 64, slices: int = 6) -> Path:
    """Write patients by name and group; with their 4D cines if asked. Returns the folder."""
    from cof.config.data import PhantomSettings
    from cof.phantom.population import sample
    from cof.phantom.stage import scan_heart

    settings = PhantomSettings(frames=8, slices=slices, matrix=matrix)
    for name, group in groups.items():
        _, stack, scan = scan_heart(sample(name, 0), settings, 0)
        labels = np.zeros_like(scan.labels)
        for ours, theirs in _THEIRS.items():
            labels[scan.labels == ours] = theirs
        es = int((scan.labels == STRUCTURES["LV"]).sum(axis=(1, 2, 3)).argmin())
        spacing = np.linalg.norm(stack.affine()[:3, :3], axis=0)
        place = root / name
        place.mkdir(parents=True)
        (place / "Info.cfg").write_text(
            f"ED: 1\nES: {es + 1}\nGroup: {group}\nHeight: 170.0\nNbFrame: {len(labels)}\nWeight: 70.0\n"
        )
        for frame in (0, es):
            stem = place / f"{name}_frame{frame + 1:02d}"
            write(stem.with_name(f"{stem.name}.nii.gz"), scan.frames[frame], spacing)
            write(stem.with_name(f"{stem.name}_gt.nii.gz"), labels[frame].astype(np.uint8), spacing)
        if cines:
            write(place / f"{name}_4d.nii.gz", scan.frames, spacing)
    return root


def write(path: Path, array: np.ndarray, spacing: np.ndarray) -> None:
    """Write [..., Z, Y, X] with ACDC's header: an sform of ones, and the spacing in pixdim alone."""
    image = nib.Nifti1Image(array.transpose(), np.diag([-1.0, -1.0, 1.0, 1.0]))
    image.header.set_zooms((*spacing, 1.0)[: array.ndim])
    image.header["sform_code"], image.header["qform_code"] = 2, 0
    nib.save(image, path)
