"""How far the labels of a heart can be trusted, without an annotation: self-agreement of the labeller, and anatomy.

Self-agreement: the labeller labels rotated and scaled views of the same stack, also mirrored ones if it was trained
with mirroring. Reliable labels are the same in every view; unreliable ones change.

Anatomy: in every slice the LV cavity should lie inside a closed ring of myocardium, whatever the disease.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch.nn.functional import affine_grid, grid_sample, one_hot

from cof.config.data import LABEL_TRUST, LEAST_LABEL_TRUST
from cof.heart.structures import STRUCTURES
from cof.labels.artefact import Trained
from cof.labels.neighbours import channels
from cof.labels.teacher import intensity_statistics

# A slice with a lower agreement is doubtful.
LEAST_AGREEMENT = 0.5
# Weight of the closed ring in the trust of a stack; the rest is agreement.
_RING_SHARE = 0.25
# Views of the heart: rotation in degrees, magnification, mirrored.
_UPRIGHT_VIEWS = ((20.0, 0.9, False), (-20.0, 1.1, False))
_FREE_VIEWS = ((15.0, 0.9, True), (-75.0, 1.1, False))


@dataclass(frozen=True)
class Agreement:
    """Agreement of a labeller with itself on one stack, as Dice: 1 is full, 0 is none.

    Attributes:
        stack: Dice of the whole stack, averaged over views and structures.
        slices: [Z] Dice of every slice, averaged over views and structures; NaN where both labellings are empty.
    """

    stack: float
    slices: np.ndarray


def _matrix(degrees: float, magnification: float, mirrored: bool) -> torch.Tensor:
    """Return the matrix [2, 2] from the coordinates (x, y) of a view to those of the stack as it was scanned."""
    angle = torch.deg2rad(torch.tensor(degrees))
    turn = torch.tensor([[torch.cos(angle), -torch.sin(angle)], [torch.sin(angle), torch.cos(angle)]])
    return turn @ torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0])) / magnification


def _warp(images: torch.Tensor, matrix: torch.Tensor, shift: torch.Tensor, side: int, mode: str) -> torch.Tensor:
    """Sample images [Z, C, Y, X] on a grid [side, side] by an affine map of normalised coordinates (x, y)."""
    theta = torch.cat([matrix, shift[:, None]], dim=1).expand(len(images), 2, 3).to(images)
    grid = affine_grid(theta, [len(images), images.shape[1], side, side], align_corners=False)
    return grid_sample(images, grid, mode=mode, align_corners=False)


def _dice(first: torch.Tensor, second: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    """Return the Dice of boolean volumes over some axes; NaN where both are empty."""
    return 2 * (first & second).sum(over) / (first.sum(over) + second.sum(over))


@torch.inference_mode()
def agreement(trained: Trained, volume: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, ...]) -> Agreement:
    """Compare the labels of a stack with those that the labeller gives to other views of it.

    Args:
        trained: the labeller.
        volume: [Z, Y, X], native intensities.
        labels: uint8 [Z, Y, X], made by this labeller.
        spacing_mm: along z, y, x.
    """
    drawn = np.argwhere(labels.any(axis=0))
    if not len(drawn):
        return Agreement(0.0, np.full(len(labels), np.nan))
    pixel_mm = np.array(spacing_mm[1:])
    low, high = drawn.min(0) * pixel_mm, (drawn.max(0) + 1) * pixel_mm
    working_mm = float(trained.configuration.spacing[-1])
    # The patch is as large as in labelling: on a smaller one, the instance norms would have other statistics.
    side = max(trained.configuration.patch_size)
    mean, std = intensity_statistics(volume)
    normalised = torch.from_numpy((volume.astype(np.float32) - mean) / max(std, 1e-8))
    image = torch.stack(channels(normalised, trained.channels), dim=1).to(trained.device)
    given = torch.from_numpy(labels.astype(np.float32))[:, None].to(trained.device)
    # Normalised coordinates run from -1 to 1: over the native slice, and over the square of a view.
    size_mm = torch.tensor(np.array(labels.shape[1:]) * pixel_mm, dtype=torch.float32).flip(0)
    scale = torch.diag(side * working_mm / size_mm)
    centre = torch.tensor((low + high) / 2, dtype=torch.float32).flip(0) * 2 / size_mm - 1
    base = _warp(given, scale, centre, side, "nearest")[:, 0].round().long()
    truth = one_hot(base, 1 + len(STRUCTURES)).movedim(-1, 1)[:, 1:].bool()
    stacks, slices = [], []
    for view in _UPRIGHT_VIEWS if trained.mirroring_axes is None else _FREE_VIEWS:
        matrix = _matrix(*view)
        seen = _warp(image, scale @ matrix, centre, side, "bilinear")
        probability = trained.network(seen).softmax(1)
        back = _warp(probability, torch.linalg.inv(matrix), torch.zeros(2), side, "bilinear").argmax(1)
        again = one_hot(back, 1 + len(STRUCTURES)).movedim(-1, 1)[:, 1:].bool()
        stacks.append(_dice(truth, again, (0, 2, 3)))
        slices.append(_dice(truth, again, (1, 2, 3)))
    return Agreement(
        float(torch.stack(stacks).nanmean()), torch.stack(slices).nanmean(0).cpu().numpy().astype(np.float64)
    )


def closed_ring(labels: np.ndarray) -> float:
    """Return the share of the LV's border that is myocardium, over all slices of labels [Z, Y, X]; 0 without LV."""
    muscle = total = 0
    for drawn in labels:
        cavity = drawn == STRUCTURES["LV"]
        border = binary_dilation(cavity) & ~cavity
        muscle += int((drawn[border] == STRUCTURES["myocardium"]).sum())
        total += int(border.sum())
    return muscle / total if total else 0.0


@dataclass(frozen=True)
class Doubt:
    """Trust in the labels of one heart, and its doubtful slices.

    Attributes:
        trust: from 0 (none) to 1 (full), by phase: "ED" for the labels of the anchor and, if there is a whole cycle,
            "ES" for those at end systole.
        slices: numbers, from 1 at the base, of the slices whose agreement is below `LEAST_AGREEMENT`.
    """

    trust: dict[str, float]
    slices: tuple[int, ...]

    @property
    def least(self) -> float:
        """Smallest trust of all phases."""
        return min(self.trust.values())

    @property
    def doubtful(self) -> bool:
        """True if somebody should look at the labels before any number is computed from them."""
        return self.least < LEAST_LABEL_TRUST

    def __str__(self) -> str:
        return f"labels doubtful, {_numbered(self.slices)}" if self.slices else "labels doubtful"

    def record(self) -> dict[str, Any]:
        """Return trust and doubtful slices as JSON values, with a message where there is any doubt."""
        trust = {phase: round(value, 3) for phase, value in self.trust.items()}
        found = {"trust": trust, "doubtful": self.doubtful, "doubtful_slices": list(self.slices)}
        return found | {"message": str(self) if self.slices or self.doubtful else ""}

    def warning(self) -> dict[str, Any]:
        """Return the warning that `summary.json` gets if the labels are doubtful."""
        return {
            "check": LABEL_TRUST,
            "message": str(self),
            "value": round(self.least, 3),
            "unit": "",
            "low": LEAST_LABEL_TRUST,
            "high": None,
            "source": "agreement with the expert of labellers on ACDC's validation patients (docs/science/method.md)",
        }


def _numbered(slices: tuple[int, ...]) -> str:
    """Return slice numbers in words, such as "slice 3" or "slices 1, 2 and 9"."""
    *first, last = map(str, slices)
    return f"slices {', '.join(first)} and {last}" if first else f"slice {last}"


def judge(trained: Trained, frames: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, ...]) -> Doubt:
    """Judge the labels of a heart by its anchor and its end-systolic frame.

    Args:
        trained: the labeller that made them.
        frames: [T, Z, Y, X], native intensities; frame 0 is the anchor.
        labels: uint8 [T, Z, Y, X].
        spacing_mm: along z, y, x.
    """
    volume = (labels == STRUCTURES["LV"]).sum(axis=(1, 2, 3))
    shown = {"ED": 0} if len(labels) == 1 else {"ED": 0, "ES": int(np.argmin(volume))}
    trust, doubtful = {}, set()
    for phase, frame in shown.items():
        found = agreement(trained, np.asarray(frames[frame]), labels[frame], spacing_mm)
        trust[phase] = (1 - _RING_SHARE) * found.stack + _RING_SHARE * closed_ring(labels[frame])
        doubtful |= {int(index) + 1 for index in np.flatnonzero(found.slices < LEAST_AGREEMENT)}
    return Doubt(trust, tuple(sorted(doubtful)))
