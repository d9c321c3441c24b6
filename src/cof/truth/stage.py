"""The stage that writes the exact motion of a synthetic cohort, to be used in place of registered motion.

It is the upper bound of all registrations: an anchor moved by it shows the best result that warping can reach.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import whole_folder
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import stamp
from cof.cine.grid import read_placement
from cof.cine.volume import read_cine
from cof.inputs import Folder
from cof.motion.fields import save_displacement
from cof.options import CineBatch, ExclusionsOut, GridBatch, Key, Out
from cof.progress import progress
from cof.truth.artefacts import Truth


def write_exact_fields(
    *,
    key: Key,
    cine: CineBatch,
    grid: GridBatch,
    truth: Annotated[Path, typer.Option(help="Exact truth of the synthetic cohort: phantom/truth."), Folder()],
    out: Out,
    exclusions: ExclusionsOut,
) -> None:
    """Write the exact displacement of a batch's subjects in the form of `fields/{variant}/{batch}`.

    Args:
        key: raw participant and visit of every subject, by which its truth is found.
        cine, grid, exclusions: as annotated.
        truth: folder of the truth. A subject without a displacement is skipped; only held-out subjects have one,
            relative to the recorded frame 0.
        out: folder of `{subject}.safetensors`: the displacement at the voxels of the motion grid and the phases of the
            canonical cine, 0 in frame 0.
    """
    raw = read_table(key).set_index("subject")
    excluded = Exclusions("fields")
    record = {"exact": True, "provenance": stamp({})}
    with whole_folder(out) as folder:
        for path in progress(sorted(grid.glob("*.nii")), "exact motion", "subject"):
            subject = path.stem
            with excluded.guard(subject):
                who = raw.loc[subject]
                exact = Truth.read(truth, f"{who['participant']}_{who['visit']}", read_cine(cine / f"{subject}.nii"))
                known = exact.on_motion_grid(read_placement(path), len(read_cine(path).frames))
                if known is not None:
                    save_displacement(folder / f"{subject}.safetensors", torch.from_numpy(known[0]), record)
    excluded.write(exclusions)
