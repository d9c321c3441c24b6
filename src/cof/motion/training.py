"""Training of TOPPR, interruptible at any moment: a killed training resumes to the same weights, bit for bit."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cof.config import RegistrationSettings
from cof.folders import whole_file
from cof.motion.objective import Segmenter, evaluate_pairs
from cof.motion.pairs import TrainingSubject, draw_pairs
from cof.motion.toppr import Toppr

log = logging.getLogger(__name__)

LOG_COLUMNS = ("iteration", "loss", "rec", "seg", "smooth", "excess", "saturation")


def fit(
    subjects: Sequence[TrainingSubject],
    settings: RegistrationSettings,
    teacher: Segmenter | None,
    seed: int,
    checkpoint: Path,
) -> tuple[Toppr, pd.DataFrame]:
    """Train a network on random pairs of the subjects' frames.

    All randomness of an iteration comes from the seed and the number of the iteration, so that a checkpoint needs no
    generator states. The caller names the checkpoint after everything that decides the training.

    Args:
        subjects: training subjects on one canonical grid.
        settings: the variant.
        teacher: the frozen labeller; not needed if `lambda_seg` is zero.
        seed: of initial weights, pairs, augmentation and slices.
        checkpoint: file to resume from if it exists, rewritten every `checkpoint_every` iterations.

    Returns:
        The trained network and its log, a row an iteration (`LOG_COLUMNS`).
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Toppr.of(settings, subjects[0].placement.spacing_mm)
    network = network.to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    rows: list[list[float]] = []
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        rows = state["log"]
        log.info("registration training resumes after iteration %d", len(rows))

    progress = tqdm(total=settings.iterations, initial=len(rows), desc="TOPPR", unit="it", disable=None)
    with progress:
        for iteration in range(len(rows) + 1, settings.iterations + 1):
            rng = np.random.default_rng([seed, iteration])
            pairs = draw_pairs(subjects, settings.pairing, settings.batch, rng)
            terms = evaluate_pairs(network, pairs, settings, teacher, rng)
            loss = terms.total(settings)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            values = (loss, terms.rec, terms.seg, terms.smooth, terms.excess)
            rows.append([float(iteration), *(float(value.detach()) for value in values), terms.saturation])
            if not np.isfinite(rows[-1]).all():
                raise FloatingPointError(f"the registration objective is not finite at iteration {iteration}")
            progress.update()
            progress.set_postfix(loss=f"{rows[-1][1]:.3f}", refresh=False)
            if iteration % settings.checkpoint_every == 0:
                _save(checkpoint, {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "log": rows})
    table = pd.DataFrame(rows, columns=list(LOG_COLUMNS)).astype({"iteration": int})
    return network.eval(), table


def _save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint aside and put it in place of the last one."""
    with whole_file(path) as aside:
        torch.save(state, aside)
