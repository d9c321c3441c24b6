"""The stage that computes the features of a batch's hearts, real or generated."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import find
from cof.artefacts.parquet import read_table
from cof.cine.grid import read_grid
from cof.config.base import Triple
from cof.config.evaluation import ExtractorSettings
from cof.features.artefacts import write_features
from cof.features.extractors import extractors
from cof.inputs import Batch
from cof.options import ExclusionsOut, GridBatch, LabellerFolder, OutFile, SettingsOf, Sheet, Splits
from cof.progress import progress


def features_batch(
    *,
    sheet: Sheet,
    grid: GridBatch,
    labeller: LabellerFolder,
    out: OutFile,
    exclusions: ExclusionsOut,
    settings: SettingsOf[ExtractorSettings],
    twins: Annotated[
        Path | None,
        typer.Option(help="Generated hearts: twins/{model}/{batch}; without it, the real ones."),
        Batch(".labels.nii.gz"),
    ] = None,
    splits: Splits = ("test",),
) -> None:
    """Write the features of a batch's held-out hearts; subjects without a cine are skipped.

    Args:
        sheet, labeller, splits: as annotated.
        grid: folder of the real cines, with the valid slices.
        out: `features/{model}/{batch}.safetensors`.
        exclusions: table of the subjects whose files cannot be used.
        settings: the user's weights.
        twins: folder of the generated hearts; None for the real hearts.

    Raises:
        UsageError: weights cannot be used, or a network gives features of another width.
    """
    networks = extractors(labeller, settings)
    cohort = read_table(sheet)
    excluded = Exclusions("features")
    found = {}
    for subject in progress(sorted(cohort.loc[cohort["split"].isin(splits), "subject"]), "features", "subject"):
        heart = None
        with excluded.guard(subject):
            heart = _read(subject, grid, twins)
        if heart is not None:  # outside the guard: an error of a network is not a subject's fault, and ends the stage
            found[subject] = {name: network.features(*heart) for name, network in networks.items()}
    known = {name: {"name": network.name, "sha256": network.sha256} for name, network in networks.items()}
    write_features(out, found, {"networks": known})
    excluded.write(exclusions)


def _read(subject: str, grid: Path, twins: Path | None) -> tuple[torch.Tensor, Triple] | None:
    """Read the valid slices [T, Z, Y, X] of a heart and their spacing; None if there is no cine or no twin of it."""
    path = find([grid], f"{subject}.nii")
    made = find([twins], f"{subject}.safetensors") if twins is not None else None
    if path is None or (twins is not None and made is None):
        return None
    real, placement, canonical = read_grid(path)
    if canonical.kind != "cycle":  # an anchor or a pair, with no real cycle to compare with
        return None
    cine = torch.from_numpy(real) if made is None else load_file(made)["cine"].float()
    return cine[:, np.array(placement.valid)], placement.spacing_mm
