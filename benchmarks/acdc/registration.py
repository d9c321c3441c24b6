"""Registration of ES (fixed) to ED (moving) by trained networks and by the tools that people use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hearts import Heart
from peers import TUNED_DEMONS, TUNED_SYN, demons, syn, unmoved
from torch import Tensor

from cof.cine.grid import Placement, label_shares, place, to_canonical
from cof.config.data import GridSettings
from cof.config.motion import PathSettings, RefinementSettings
from cof.motion.jacobian import jacobian_determinant, regularity
from cof.motion.labels import warp_labels
from cof.motion.native import TAPER_VOXELS, NativeCrop, native_displacement
from cof.motion.refinement import refine
from cof.motion.stage import Trained
from cof.motion.warp import fill_invalid
from labels import agreement

MARGIN_MM = 10.0
# Labels alone draw the field, long enough to settle: how well the grid can do.
BOUND = RefinementSettings(steps=200, lambda_rec=0.0, lambda_labels=1.0, lambda_smooth=0.01)
EXPERT = "expert"


@dataclass(frozen=True)
class Canonical:
    """ED and ES on a canonical grid about the expert's ED labels.

    Attributes:
        placement: the grid in the native stack.
        frames: float32 [2, Z, Y, X] in [0, 1]; slices that are not valid are 0.
    """

    placement: Placement
    frames: np.ndarray

    @classmethod
    def of(cls, heart: Heart, grid: GridSettings) -> "Canonical":
        """Place a grid about a heart, and resample both frames to it."""
        placement = place(heart.frames[0], heart.labels[0], heart.spacing_mm, grid)
        return cls(placement, to_canonical(heart.frames, placement))


@dataclass(frozen=True)
class Pair:
    """A heart, ready to be registered.

    Attributes:
        heart: the patient.
        canonical: both frames on the grid of every registration, for networks.
        native: float32 [2, z, y, x] in [0, 1], the native voxels under the first of these grids, for tools.
        box: where those lie.
        found: uint8 [2, Z, Y, X], native labels of both frames, by who made them; `EXPERT` among them.
    """

    heart: Heart
    canonical: Mapping[GridSettings, Canonical]
    native: np.ndarray
    box: tuple[slice, slice, slice]
    found: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, heart: Heart, grids: Sequence[GridSettings], found: Mapping[str, np.ndarray]) -> "Pair":
        """Return the pair of a heart, on grids, and the labels that labellers have found."""
        canonical = {grid: Canonical.of(heart, grid) for grid in grids}
        placement = canonical[grids[0]].placement
        box = NativeCrop.of(placement).box
        dark, bright = placement.intensity
        native = np.clip((heart.frames[:, *box].astype(np.float32) - dark) / (bright - dark), 0, 1)
        return cls(heart, canonical, native, box, {EXPERT: heart.labels, **found})


# Registers when called; returns the rest of the work, after timing: displacement [1, 3, Z, Y, X], mm, native voxels.
Method = Callable[[Pair], Callable[[], Tensor]]


def tools() -> dict[str, Method]:
    """Return the rows that need no weights."""
    return {
        "no registration": by_tool(unmoved),
        "demons, default": by_tool(demons, iterations=(10,)),
        "demons, tuned": by_tool(demons, **TUNED_DEMONS),
        "SyN, default": by_tool(syn),
        "SyN, tuned": by_tool(syn, **TUNED_SYN),
    }


def networks(
    name: str, trained: Trained, path: PathSettings, labelled_by: str, steps: list[int], bound: bool
) -> dict[str, Method]:
    """Return the rows of one registration.

    Args:
        name: of its weights.
        trained: the registration.
        path: the refinement of its `config.json`.
        labelled_by: whose labels that refinement sees.
        steps: of refinement on images, a row each.
        bound: add a field that is fitted to the experts' labels of both frames.
    """
    rows = {f"{name}, network alone": by_network(trained, PathSettings())}
    for count in steps:
        images = PathSettings(refinement=RefinementSettings(steps=count))
        rows[f"{name}, {count} steps on the images"] = by_network(trained, images)
    if path.refinement.steps:
        seen = "images and the labeller's labels" if path.needs_labels else "images"
        rows[f"{name}, config.json: {path.refinement.steps} steps on {seen}"] = by_network(trained, path, labelled_by)
    if bound:
        rows[f"{name}, fitted to the experts' labels"] = by_network(trained, PathSettings(refinement=BOUND), EXPERT)
    return rows


def by_network(trained: Trained, path: PathSettings, labelled_by: str = EXPERT) -> Method:
    """Return the method of a trained network and a refinement."""

    def run(pair: Pair) -> Callable[[], Tensor]:
        u = register(pair, trained, path, labelled_by)
        return lambda: native_displacement(u, pair.canonical[grid_of(trained)].placement)

    return run


def grid_of(trained: Trained) -> GridSettings:
    """Return the canonical grid of a registration."""
    return GridSettings(shape=trained.shape, spacing_mm=trained.network.spacing_mm)


def register(pair: Pair, trained: Trained, path: PathSettings, labelled_by: str) -> Tensor:
    """Register a pair by a network; return the displacement [1, 3, Z, Y/2, X/2] in mm on the motion grid."""
    settings = trained.settings.model_copy(update={"path": path})
    seen, device = pair.canonical[grid_of(trained)], next(trained.network.parameters()).device
    valid = seen.placement.valid
    source, target = fill_invalid(torch.from_numpy(seen.frames), valid).to(device)[:, None, None]
    known = None
    if path.needs_labels:
        shares = fill_invalid(torch.from_numpy(label_shares(pair.found[labelled_by], seen.placement)), valid).to(device)
        known = shares[:1], shares[1:]
    return refine(trained.network, source, target, valid, settings, known).displacement.cpu()


def by_tool(tool: Callable[..., np.ndarray], **options: object) -> Method:
    """Return the method of a tool of `benchmarks/shared/peers.py`, on native voxels."""

    def run(pair: Pair) -> Callable[[], Tensor]:
        moving, fixed = pair.native
        u = tool(fixed, moving, pair.heart.spacing_mm, **options)

        def whole() -> Tensor:
            native = torch.zeros(1, 3, *pair.heart.labels.shape[1:])
            native[0][:, *pair.box] = torch.from_numpy(u)
            return native

        return whole

    return run


def registration_rows(pair: Pair, displacement: Tensor) -> list[dict[str, Any]]:
    """Return a row per structure: agreement of the moved ED labels with those of ES, and regularity about the heart.

    Args:
        pair: the patient.
        displacement: [1, 3, Z, Y, X] in mm on the native voxels.
    """
    heart = pair.heart
    moved = warp_labels(torch.from_numpy(heart.labels[0]), displacement, heart.spacing_mm).numpy()[0]
    determinant = jacobian_determinant(displacement[(..., *_about(pair))].contiguous(), heart.spacing_mm)
    found = regularity(determinant)
    topology = {"folded_pct": 100 * found.folded_share, "sd_log_jacobian": found.sd_log_jacobian}
    return [row | topology for row in agreement(moved, heart.labels[1], heart.spacing_mm)]


def _about(pair: Pair) -> tuple[slice, slice, slice]:
    """Return the box of the expert's labels with a margin of 10 mm in the plane, as far as displacements reach.

    At the edge of the canonical grid a taper, or the end of what a tool sees, brings the displacement to zero, and may
    fold what no registration has folded.
    """
    box = []
    for axis, (spacing, seen) in enumerate(zip(pair.heart.spacing_mm, pair.box)):
        held = np.flatnonzero(pair.heart.labels.any(axis=tuple(other for other in range(4) if other != axis + 1)))
        margin, edge = (round(MARGIN_MM / spacing), TAPER_VOXELS + 1) if axis else (0, 0)
        first, last = max(held[0] - margin, seen.start + edge), min(held[-1] + margin + 1, seen.stop - edge)
        box.append(slice(int(first), int(last)))
    return box[0], box[1], box[2]
