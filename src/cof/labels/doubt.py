"""How far labels can be trusted, told from the image alone: the labeller's agreement with itself, and anatomy.

The labeller sees the heart again, a little turned, scaled and, where it was trained with mirrored hearts, mirrored.
Where it knows what it sees, it draws the same heart; where it guesses, it guesses something else. To that come what
every short-axis stack shows whatever the disease: a cavity inside of a ring of muscle, in slice after slice.
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

# Below it, a slice is doubtful.
LEAST_AGREEMENT = 0.5
# How much of the trust in a stack is its closed ring; the rest is agreement.
_RING_SHARE = 0.25
# Views of the heart: turn in degrees, magnification, mirrored.
_UPRIGHT_VIEWS = ((20.0, 0.9, False), (-20.0, 1.1, False))
_FREE_VIEWS = ((15.0, 0.9, True), (-75.0, 1.1, False))


@dataclass(frozen=True)
class Agreement:
    """Agreement of a labeller with itself on one stack, as Dice: 1 is full, 0 is none.

    Attributes:
        stack: mean over views and structures of the Dice of whole stacks.
        slices: [Z] the same of every slice, all structures pooled; NaN where neither labels anything.
    """

    stack: float
    slices: np.ndarray


def _matrix(degrees: float, magnification: float, mirrored: bool) -> torch.Tensor:
    """[2, 2] from a view's coordinates (x, y) to those of the upright heart."""
    angle = torch.deg2rad(torch.tensor(degrees))
    turn = torch.tensor([[torch.cos(angle), -torch.sin(angle)], [torch.sin(angle), torch.cos(angle)]])
    return turn @ torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0])) / magnification


def _warp(images: torch.Tensor, matrix: torch.Tensor, shift: torch.Tensor, side: int, mode: str) -> torch.Tensor:
    """Sample [Z, C, Y, X] on a square grid of `side` by an affine map of normalised coordinates (x, y)."""
    theta = torch.cat([matrix, shift[:, None]], dim=1).expand(len(images), 2, 3).to(images)
    grid = affine_grid(theta, [len(images), images.shape[1], side, side], align_corners=False)
    return grid_sample(images, grid, mode=mode, align_corners=False)


def _dice(first: torch.Tensor, second: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    """Dice of boolean volumes; NaN where both are empty."""
    return 2 * (first & second).sum(over) / (first.sum(over) + second.sum(over))


@torch.inference_mode()
def agreement(trained: Trained, volume: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, ...]) -> Agreement:
    """Compare labels of a stack with those that the labeller draws in other views of it.

    Args:
        trained: the labeller.
        volume: [Z, Y, X], native intensities.
        labels: uint8 [Z, Y, X], which this labeller has drawn.
        spacing_mm: along z, y, x.
    """
    drawn = np.argwhere(labels.any(axis=0))
    if not len(drawn):
        return Agreement(0.0, np.full(len(labels), np.nan))
    pixel_mm = np.array(spacing_mm[1:])
    low, high = drawn.min(0) * pixel_mm, (drawn.max(0) + 1) * pixel_mm
    working_mm = float(trained.configuration.spacing[-1])
    # As much as in labelling: on a smaller part of the slice, instance norms have other statistics.
    side = max(trained.configuration.patch_size)
    mean, std = intensity_statistics(volume)
    normalised = torch.from_numpy((volume.astype(np.float32) - mean) / max(std, 1e-8))
    image = torch.stack(channels(normalised, trained.channels), dim=1).to(trained.device)
    given = torch.from_numpy(labels.astype(np.float32))[:, None].to(trained.device)
    # Normalised coordinates of the native slice are 1 at its edges; those of a view are 1 at the edges of its square.
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
    """Share of the cavity's border that is muscle, over all slices of labels [Z, Y, X]; 0 without a cavity."""
    muscle = total = 0
    for drawn in labels:
        cavity = drawn == STRUCTURES["LV"]
        border = binary_dilation(cavity) & ~cavity
        muscle += int((drawn[border] == STRUCTURES["myocardium"]).sum())
        total += int(border.sum())
    return muscle / total if total else 0.0


@dataclass(frozen=True)
class Doubt:
    """What speaks against the labels of one heart.

    Attributes:
        trust: of the anchor's labels and, in a cycle, of those at end systole, by "ED" and "ES": 0 is none, 1 is full.
        slices: numbers, from 1 at the base, of the slices that the labeller draws differently in every view.
    """

    trust: dict[str, float]
    slices: tuple[int, ...]

    @property
    def least(self) -> float:
        """The smaller trust of the two."""
        return min(self.trust.values())

    @property
    def doubtful(self) -> bool:
        """Whether the labels are to be looked at before anything is counted from them."""
        return self.least < LEAST_LABEL_TRUST

    def __str__(self) -> str:
        return f"labels doubtful, {_numbered(self.slices)}" if self.slices else "labels doubtful"

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        trust = {phase: round(value, 3) for phase, value in self.trust.items()}
        return {"trust": trust, "doubtful": self.doubtful, "doubtful_slices": list(self.slices)}

    def warning(self) -> dict[str, Any]:
        """As a warning of `summary.json`, where labels are doubtful."""
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
    """Slices in words, such as "slice 3" or "slices 1, 2 and 9"."""
    *first, last = map(str, slices)
    return f"slices {', '.join(first)} and {last}" if first else f"slice {last}"


def judge(trained: Trained, frames: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, ...]) -> Doubt:
    """Judge the labels of a heart by its anchor and its end-systolic frame.

    Args:
        trained: the labeller that has drawn them.
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
