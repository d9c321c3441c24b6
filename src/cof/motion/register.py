"""Registration of two volumes by a trained TOPPR: `cof register FIXED MOVING`."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import torch
import typer
from scipy.ndimage import gaussian_filter

from cof.artefacts.folders import whole_folder
from cof.artefacts.provenance import stamp
from cof.cine.annotations import whole_labels
from cof.cine.geometry import base_to_apex, check_spacing, flip_slices, onto_stack
from cof.cine.grid import Placement, label_shares, place, place_at, to_canonical
from cof.cine.nifti import UNORIENTED, Stored, read_array
from cof.config.base import Triple
from cof.config.data import GridSettings
from cof.config.motion import PathSettings, RefinementSettings
from cof.errors import CofError, Reason, UsageError
from cof.inputs import File
from cof.motion.jacobian import jacobian_determinant, regularity
from cof.motion.losses import ncc_loss
from cof.motion.native import TAPER_VOXELS, NativeCrop, native_displacement, warp_native
from cof.motion.refinement import refine
from cof.motion.resolution import to_canonical as motion_to_canonical
from cof.motion.stage import Trained, load
from cof.motion.warp import fill_invalid, warp
from cof.options import Out, Read, Registration, says
from cof.progress import Progress

log = logging.getLogger(__name__)

CONVENTION = (
    "displacement.nii.gz lies on the voxels of FIXED. The vector d at a point p of FIXED is in millimetres along the "
    "axes of LPS (x to the left, y to the back, z upwards), as in ITK and ANTs: warped(p) = MOVING(p + d(p))."
)

FOUND_BY = {
    "labels": "the centre of --labels",
    "labeller": "found by the labeller",
    "centre": "--centre",
    "motion": "where the intensity changes most",
    "middle": "the middle of the stack",
}
# A smaller fall of the correlation is taken as rounding.
WORSE_NCC = 0.001
# Approximate radius of both ventricles together in the short-axis plane.
_HEART_MM = 50.0
# SD of a Gaussian weight around the middle of the image: scans are centred on the heart. At one SD the weight is 0.6.
_OFF_CENTRE_MM = 90.0
# At the heart, the intensity must change more than this many times as much as in the median of the plane.
_CLEAR = 1.5


@dataclass(frozen=True)
class Volumes:
    """Two volumes on the same voxels, with slices from base to apex.

    Attributes:
        fixed: float32 [Z, Y, X].
        moving: the same shape.
        change: the same shape; change of the intensity of every voxel, over the frames of a cine, or between the two
            volumes if neither is from a cine.
        affine: [4, 4], voxel index (x, y, z, 1) to RAS millimetres.
        flipped: True if the slices of the file run from apex to base.
        file_affine: the affine of the file, [4, 4].
    """

    fixed: np.ndarray
    moving: np.ndarray
    change: np.ndarray
    affine: np.ndarray
    flipped: bool
    file_affine: np.ndarray

    @property
    def spacing_mm(self) -> Triple:
        """Voxel spacing (z, y, x) in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    def ordered(self, array: np.ndarray) -> np.ndarray:
        """Convert an array [..., Z, Y, X] from the slice order of the file to base to apex, or back."""
        return np.ascontiguousarray(array[..., ::-1, :, :]) if self.flipped else array


def _told(record: dict[str, Any], given: Mapping[str, Any]) -> str:
    """Return the last line of the command: the measures of the registration, and which files to open."""
    out, measures = given["out"], record["measures"]
    worse = ", WORSE THAN NO REGISTRATION" if record["worse_than_none"] else ""
    return (
        f"NCC {measures['ncc_before']:.3f} before, {measures['ncc_after']:.3f} after{worse}; moved by "
        f"{measures['mean_displacement_mm']:.1f} mm on average, {100 * measures['folded_share']:.2g} % folded. "
        f"displacement.nii.gz, warped.nii.gz and jacobian.nii.gz are in {out}. Open {out / 'registration.json'}"
    )


@says(_told)
def register_volumes(
    *,
    fixed: Annotated[Path, typer.Argument(help="NIfTI of 3 axes, or of 4 with --fixed-frame."), File()],
    moving: Annotated[
        Path, typer.Argument(help="NIfTI on the voxels of FIXED; TOPPR works best if it shows ED."), File()
    ],
    weights: Registration,
    out: Out,
    fixed_frame: Annotated[int | None, typer.Option(help="Index of the frame of FIXED, from 0.")] = None,
    moving_frame: Annotated[int | None, typer.Option(help="Index of the frame of MOVING, from 0.")] = None,
    centre: Annotated[
        Triple | None, typer.Option(help="Centre of the heart: voxel index x y z of FIXED, from 0.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels of MOVING (1 LV, 2 myocardium), which give the centre."), File()
    ] = None,
    labeller: Annotated[Path | None, typer.Option(help="Trained nnU-Net that finds the centre in MOVING.")] = None,
    refinement: Annotated[
        RefinementSettings,
        typer.Option("--refine", min=0, help="Number of gradient steps on this pair after the network."),
        Read(int, lambda steps: RefinementSettings(steps=steps), 0),
    ],
    refine_labels: Annotated[
        float, typer.Option(min=0, help="Weight of the Dice between the labels of both volumes in these steps.")
    ] = 0.0,
    force: Annotated[
        bool, typer.Option("--force", help="Also write a registration after which the images agree less than before.")
    ] = False,
) -> dict[str, Any]:
    """Register MOVING to FIXED, two short-axis volumes of one heart on the same voxels.

    Args:
        fixed: NIfTI of three axes, or of four with `fixed_frame`.
        moving: the volume that is warped; NIfTI as for `fixed`. The network was trained on pairs whose moving volume is
            at ED.
        weights, labeller, refinement: as annotated.
        out: folder of `displacement.nii.gz` (`CONVENTION`), `warped.nii.gz` (MOVING, float32), `jacobian.nii.gz`
            (determinant of x -> x + u(x)), all on the voxels of FIXED, and `registration.json`.
        fixed_frame, moving_frame: index of the frame of a NIfTI of four axes.
        centre: centre of the heart as a voxel index (x, y, z) of FIXED. Without it, it is taken from `labels`, or from
            the labels that `labeller` gives to MOVING. Without any of the three, it is found by a labeller beside
            `weights`, or else with a warning by motion, or else it is the middle of the stack.
        labels: NIfTI with the labels of MOVING (1 LV, 2 myocardium), on its voxels; of four axes, the frame of MOVING
            is taken.
        refine_labels: above 0, the steps also compare the labels of both volumes, which `labeller`, or a labeller
            beside `weights`, makes.
        force: also write a registration after which the images agree less than before.

    Returns:
        The content of `registration.json`.

    Raises:
        UsageError: a file, a frame or the trained registration does not exist; the centre is given more than once; a
            refinement by labels finds no labeller; or the registration is worse than no registration: the local
            correlation of the images over the canonical grid (`measures.ncc_after`) is lower than before.
        CofError: the volumes cannot be registered; the message says why.
    """
    refinement = refinement.model_copy(update={"lambda_labels": refine_labels})
    if sum(choice is not None for choice in (centre, labels, labeller)) > 1:
        raise UsageError("give the centre once: by --centre, by --labels or by --labeller")
    trained = load(weights)
    volumes = read_volumes(fixed, moving, fixed_frame, moving_frame)
    grid = GridSettings(shape=trained.shape, spacing_mm=trained.network.spacing_mm)
    placement, centred_by = _place(volumes, grid, centre, labels, moving_frame, labeller, weights)
    crop = NativeCrop.of(placement)  # before any work: it raises if there is no overlap
    with Progress("registration", None):
        labels_of_both = None
        if refinement.steps and refine_labels:
            labels_of_both = _label(volumes, labeller or _beside(weights))
        u, measures = _register(trained, volumes, placement, refinement, labels_of_both)
    centre_voxel = _centre(placement, volumes)
    worse = measures["ncc_after"] < measures["ncc_before"] - WORSE_NCC
    if worse and not force:
        raise UsageError(
            "this registration is worse than no registration: the local correlation (NCC) of the images is "
            f"{measures['ncc_before']:.3f} before and {measures['ncc_after']:.3f} after it, within {_size(placement)} "
            f"around voxel {' '.join(f'{index:g}' for index in centre_voxel)} ({FOUND_BY[centred_by]}). Nothing was "
            "written. Refine it on this pair (--refine 20), say where the heart is (--labels, --labeller, --centre), "
            "or write it nevertheless (--force)"
        )

    spacing = placement.native_spacing_mm
    inside = jacobian_determinant(crop.displacement(u), spacing)
    determinant = np.ones(placement.native_shape, np.float32)
    determinant[crop.box] = inside[0].numpy()
    displacement = native_displacement(u, placement)[0].numpy()
    warped = warp_native(torch.from_numpy(volumes.moving), u, placement)[0].numpy()
    record = {
        "convention": CONVENTION,
        "measures": {
            **_regularity(inside),
            **measures,
            "mean_displacement_mm": float(np.linalg.norm(displacement[:, *crop.box], axis=0).mean()),
            "max_displacement_mm": float(np.linalg.norm(displacement, axis=0).max()),
        },
        "worse_than_none": worse,
        "centred_by": centred_by,
        "centre_voxel_xyz": centre_voxel,
        "refinement": refinement.model_dump(mode="json"),
        "provenance": stamp(trained.settings.model_dump(mode="json")) | {"weights_sha256": trained.sha256},
    }
    with whole_folder(out) as folder:
        vectors = lps_vectors(displacement, volumes.affine)
        _write(folder / "displacement.nii.gz", volumes.ordered(vectors), volumes.file_affine)
        _write(folder / "warped.nii.gz", volumes.ordered(warped), volumes.file_affine)
        _write(folder / "jacobian.nii.gz", volumes.ordered(determinant), volumes.file_affine)
        (folder / "registration.json").write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False))
    return record


def read_volumes(fixed: Path, moving: Path, fixed_frame: int | None, moving_frame: int | None) -> Volumes:
    """Read two volumes, and reorder the second to the voxels of the first.

    Raises:
        UsageError: a file or frame does not exist, or a file has several frames and none was chosen.
        CofError: CINE_UNREADABLE, CINE_NOT_FINITE, CINE_TOO_FEW_SLICES or CINE_GEOMETRY.
    """
    target, of_fixed, stored = _read_volume(fixed, "FIXED", fixed_frame)
    source, of_moving, other = _read_volume(moving, "MOVING", moving_frame)
    affine = stored.affine
    check_spacing(affine)
    if stored.reordered:
        raise CofError(
            Reason.CINE_GEOMETRY,
            "the slices of FIXED do not lie along its third axis, as its spacing shows: store its axes as x, y, z",
        )
    slices, rows, columns = target.shape
    if slices < 2:
        raise CofError(Reason.CINE_TOO_FEW_SLICES, "FIXED is a single slice; a volume needs at least two")
    onto = onto_stack(source, other.affine, (slices, rows, columns), affine)
    if onto is None:
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"FIXED ({_shape(target)} voxels x y z) and MOVING ({_shape(source)}) do not lie on the same voxels: "
            "resample one of them to the other first",
        )
    change = np.abs(target - onto)
    if of_fixed is not None:
        change = of_fixed
    elif of_moving is not None:
        moved = onto_stack(of_moving, other.affine, (slices, rows, columns), affine)
        change = change if moved is None else moved
    flipped = False
    if stored.oriented:
        towards_apex, _ = base_to_apex(affine[:3, 2])
        flipped = not towards_apex
    else:
        log.warning("FIXED: %s", UNORIENTED)
    volumes = Volumes(target, np.ascontiguousarray(onto), change, affine, flipped, affine)
    if not flipped:
        return volumes
    ordered, ordered_affine = flip_slices(target, affine)
    return Volumes(
        np.ascontiguousarray(ordered), volumes.ordered(onto), volumes.ordered(change), ordered_affine, True, affine
    )


def _read_volume(path: Path, name: str, frame: int | None) -> tuple[np.ndarray, np.ndarray | None, Stored]:
    """Read one volume.

    Returns:
        The volume, float32 [Z, Y, X]; for a cine the SD of the intensity over its frames, float32 [Z, Y, X], else None;
        and the stored file.
    """
    if not path.is_file():
        raise UsageError(f"there is no {name}: {path}")
    stored = read_array(path, Reason.CINE_UNREADABLE)
    for repair in stored.repairs:
        log.warning("%s: %s", name, repair)
    frames = stored.values
    volume = _choose(frames, name, frame).astype(np.float32)
    if not np.isfinite(volume).all():
        raise CofError(Reason.CINE_NOT_FINITE, f"intensities of {name} are not finite")
    if volume.min() == volume.max():
        raise CofError(Reason.CINE_NOT_FINITE, f"all intensities of {name} are the same")
    change = frames.std(axis=0, dtype=np.float32) if len(frames) > 1 else None
    return volume, change, stored


def _choose(frames: np.ndarray, name: str, frame: int | None) -> np.ndarray:
    """Return one of the frames [T, Z, Y, X]; with several frames, `frame` must be given."""
    if frame is None and len(frames) > 1:
        raise UsageError(f"{name} has {len(frames)} frames: choose one with --{name.lower()}-frame")
    if not 0 <= (frame or 0) < len(frames):
        raise UsageError(f"{name} has no frame {frame}: it has {len(frames)} frames, counted from 0")
    return frames[frame or 0]


def _size(placement: Placement) -> str:
    """Return the size of the canonical grid in mm, as text."""
    z, y, x = (size * step for size, step in zip(placement.shape, placement.spacing_mm))
    return f"{x:.0f} x {y:.0f} x {z:.0f} mm"


def _shape(volume: np.ndarray) -> str:
    return " x ".join(str(size) for size in reversed(volume.shape))


def _place(
    volumes: Volumes,
    settings: GridSettings,
    centre: Triple | None,
    labels: Path | None,
    frame: int | None,
    labeller: Path | None,
    weights: Path,
) -> tuple[Placement, str]:
    """Place the canonical grid around the heart, and say how the heart was found: a key of `FOUND_BY`."""
    spacing = volumes.spacing_mm
    if labels is not None:
        return place(volumes.moving, _read_labels(labels, volumes, frame), spacing, settings), "labels"
    if labeller is not None:
        return _place_by_labeller(volumes, settings, labeller), "labeller"
    shape = volumes.moving.shape
    if centre is not None:
        x, y, z = centre
        if not all(-0.5 <= index <= size - 0.5 for index, size in zip((z, y, x), shape)):
            raise UsageError(
                f"--centre: voxel {x:g} {y:g} {z:g} lies outside of FIXED, which has {_shape(volumes.moving)} voxels"
            )
        return place_at(volumes.moving, (shape[0] - 1 - z if volumes.flipped else z, y, x), spacing, settings), "centre"
    return _search(volumes, settings, _beside(weights))


def _beside(weights: Path) -> Path:
    """Return the folder of the labeller of the run that trained the registration."""
    return weights.resolve().parents[1] / "labeller"


def _label(volumes: Volumes, labeller: Path) -> np.ndarray:
    """Label MOVING and FIXED by the labeller: [2, Z, Y, X]."""
    from cof.labels.predict import Labeller

    if not (labeller / "labeller.json").is_file():
        raise UsageError(
            f"a refinement by labels needs a labeller, and there is none in {labeller}: give one by --labeller"
        )
    both = np.stack([volumes.moving, volumes.fixed])
    return Labeller.load(labeller, mirroring=False).label(both, volumes.spacing_mm)


def _place_by_labeller(volumes: Volumes, settings: GridSettings, labeller: Path) -> Placement:
    from cof.labels.predict import Labeller

    spacing = volumes.spacing_mm
    found = Labeller.load(labeller, mirroring=False).label(volumes.moving[None], spacing)[0]
    return place(volumes.moving, found, spacing, settings)


def _search(volumes: Volumes, settings: GridSettings, labeller: Path) -> tuple[Placement, str]:
    """Place the canonical grid without a given centre: by a labeller, by motion, or in the middle of the stack."""
    if (labeller / "labeller.json").is_file():
        try:
            placement = _place_by_labeller(volumes, settings, labeller)
        except CofError as error:
            log.warning("%s does not find the heart: %s", labeller, error)
        else:
            log.info("the heart was found by the labeller beside the weights, %s", labeller)
            return placement, "labeller"
    moving = find_moving(volumes.change, volumes.spacing_mm)
    if moving is not None:
        placement = place_at(volumes.moving, moving, volumes.spacing_mm, settings)
        x, y, z = _centre(placement, volumes)
        log.warning("the heart is assumed at voxel %g %g %g, where most moves; --labels is more reliable", x, y, z)
        return placement, "motion"
    log.warning("the heart is assumed in the middle of the stack; say where it is by --centre, --labels or --labeller")
    slices, rows, columns = volumes.moving.shape
    middle = ((slices - 1) / 2, (rows - 1) / 2, (columns - 1) / 2)
    return place_at(volumes.moving, middle, volumes.spacing_mm, settings), "middle"


def find_moving(change: np.ndarray, spacing_mm: Triple) -> tuple[float, float, float] | None:
    """Find the centre of the motion, which is taken as the heart, the largest moving part of the chest.

    Args:
        change: [Z, Y, X], change of the intensity of every voxel.
        spacing_mm: voxel spacing (z, y, x).

    Returns:
        Voxel index (z, y, x) of the centre; None if nothing changes, or if the change is similar everywhere.
    """
    strong = np.minimum(change, np.percentile(change, 99))  # the bright edge of a vessel must not dominate
    plane = strong.mean(axis=0)
    spread = [_HEART_MM / 2 / step for step in spacing_mm[1:]]
    # Divide by the result for a uniform plane, because the filter takes zeros beyond the border.
    smooth = gaussian_filter(plane, spread, mode="constant") / gaussian_filter(
        np.ones_like(plane), spread, mode="constant"
    )
    if not smooth.max() > _CLEAR * np.median(smooth):
        return None
    y, x = (
        (index - (size - 1) / 2) * step
        for index, size, step in zip(np.indices(plane.shape), plane.shape, spacing_mm[1:])
    )
    peak = (smooth * np.exp(-(y**2 + x**2) / (2 * _OFF_CENTRE_MM**2))).argmax()
    near = np.hypot(y - y.flat[peak], x - x.flat[peak]) < _HEART_MM
    weight = np.where(near, np.clip(strong - np.median(strong), 0, None), 0)
    z, y, x = (float(np.average(index, weights=weight)) for index in np.indices(strong.shape))
    return z, y, x


def _read_labels(path: Path, volumes: Volumes, frame: int | None) -> np.ndarray:
    """Read labels [Z, Y, X] of MOVING, and order their slices from base to apex."""
    if not path.is_file():
        raise UsageError(f"there is no label file: {path}")
    stored = read_array(path, Reason.ANNOTATION_UNREADABLE)
    frames = whole_labels(stored.values)
    labels = _choose(frames, "MOVING", frame if len(frames) > 1 else None)
    slices, rows, columns = volumes.moving.shape
    onto = onto_stack(labels, stored.affine, (slices, rows, columns), volumes.file_affine)
    if onto is None:
        raise CofError(
            Reason.ANNOTATION_MISMATCH, f"the labels do not lie on the voxels of MOVING: {path}; resample them first"
        )
    return volumes.ordered(onto)


def _register(
    trained: Trained,
    volumes: Volumes,
    placement: Placement,
    refinement: RefinementSettings,
    labels: np.ndarray | None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Register the volumes.

    Returns:
        The displacement [1, 3, Z, Y/2, X/2] in mm on the motion grid; and the saturation, and the local correlation of
        the images before and after.
    """
    network = trained.network
    device = next(network.parameters()).device
    pair = torch.from_numpy(to_canonical(np.stack([volumes.moving, volumes.fixed]), placement))
    source, target = fill_invalid(pair, placement.valid).to(device)[:, None, None]
    settings = trained.settings.model_copy(update={"path": PathSettings(refinement=refinement)})
    known = None
    if labels is not None:
        shares = fill_invalid(torch.from_numpy(label_shares(labels, placement)), placement.valid).to(device)
        known = shares[:1], shares[1:]
    found = refine(network, source, target, placement.valid, settings, known)
    valid = torch.tensor([placement.valid], device=device)
    moved = warp(source, motion_to_canonical(found.displacement), network.spacing_mm)
    measures = {
        "saturation": found.saturation(network.max_field_mm),
        "ncc_before": 1 - float(ncc_loss(source, target, trained.settings.ncc_window, valid)),
        "ncc_after": 1 - float(ncc_loss(moved, target, trained.settings.ncc_window, valid)),
    }
    return found.displacement.cpu(), measures


def _regularity(determinant: torch.Tensor) -> dict[str, float]:
    """Measure folding inside the crop [1, z, y, x], and separately at its edge, where the taper may cause folding."""
    interior = determinant[..., TAPER_VOXELS:-TAPER_VOXELS, TAPER_VOXELS:-TAPER_VOXELS]
    folded_at_edge = int((determinant <= 0).sum() - (interior <= 0).sum())
    return vars(regularity(interior)) | {
        "folded_share_at_edge": folded_at_edge / (determinant.numel() - interior.numel())
    }


def lps_vectors(displacement_mm: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Convert a displacement in mm along the voxel axes to vectors along the axes of LPS.

    Args:
        displacement_mm: [3, Z, Y, X], components along the voxel axes (z, y, x).
        affine: [4, 4], voxel index (x, y, z, 1) to RAS millimetres.

    Returns:
        float32 [3, Z, Y, X], components along the axes of LPS (x, y, z).
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    to_lps = np.diag([-1.0, -1.0, 1.0]) @ axes
    return np.einsum("ij,jzyx->izyx", to_lps, displacement_mm[::-1]).astype(np.float32)


def _centre(placement: Placement, volumes: Volumes) -> list[float]:
    """Return the middle of the canonical grid as a voxel index (x, y, z) of FIXED."""
    z, y, x = (o + s * (n - 1) / 2 for o, s, n in zip(placement.offset, placement.scale, placement.shape))
    return [round(x, 3), round(y, 3), round(placement.native_shape[0] - 1 - z if volumes.flipped else z, 3)]


def _write(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a volume [Z, Y, X], or vectors [3, Z, Y, X], which the NIfTI standard puts on the fifth axis."""
    data: Any = array.transpose(2, 1, 0) if array.ndim == 3 else array.transpose(3, 2, 1, 0)[:, :, :, None, :]
    image = nib.Nifti1Image(np.ascontiguousarray(data, np.float32), affine)
    image.set_qform(affine, "aligned")  # for ITK, which rejects an sform whose axes are inexact by rounding
    image.header.set_xyzt_units("mm")
    if array.ndim == 4:
        image.header.set_intent("vector")
    nib.save(image, path)
