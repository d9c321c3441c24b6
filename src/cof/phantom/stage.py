"""The phantom stage, which writes the synthetic cohort: raw files, subject sheet, truth and card."""

import csv
import json
import logging
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cof.artefacts import provenance
from cof.artefacts.folders import whole_folder
from cof.cine.volume import write_labels
from cof.config.data import PHANTOM_VISIT as VISIT
from cof.config.data import PhantomSettings
from cof.options import Out, Seed, SettingsOf, says
from cof.phantom import seeds
from cof.phantom.anatomy import build_heart
from cof.phantom.card import write_card
from cof.phantom.cardiosoft import write_ecg
from cof.phantom.dicom import draw_oddities, write_cine_zip
from cof.phantom.expert import annotate
from cof.phantom.latents import Latents
from cof.phantom.motion import Deformation, build_beat
from cof.phantom.population import sample
from cof.phantom.scanner import Acquisition, Scanner
from cof.phantom.stack import Stack, plan_stack
from cof.phantom.torso import build_torso, draw_contrast
from cof.phantom.truth import write_truth
from cof.progress import progress

log = logging.getLogger(__name__)

COLUMNS = ("subject", "visit", "ecg", "cine", "anchor", "annotation", "split")
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Member:
    """The role of one participant in the cohort."""

    participant: str
    split: Split
    annotated: bool


def plan_cohort(settings: PhantomSettings) -> list[Member]:
    """Return names and roles: training participants first, then validation, then test."""
    sizes: dict[Split, int] = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    splits = [split for split, size in sizes.items() for _ in range(size)]
    annotated = min(settings.annotated, settings.train)
    return [Member(name, split, k < annotated) for k, (name, split) in enumerate(zip(settings.participants, splits))]


def scan_heart(
    latents: Latents, settings: PhantomSettings, seed: int, truth: bool = False
) -> tuple[Deformation, Stack, Acquisition]:
    """Build the heart of `latents` and scan one cycle of it.

    Args:
        latents: latent state; the participant's name and `seed` determine all random numbers.
        settings: frames and slices of the scan.
        seed: seed of the cohort.
        truth: whether to return the exact displacement, too.

    Returns:
        Motion of the heart, geometry of the slices, and result of the scan.
    """
    stream = partial(seeds.stream, seed, latents.participant)
    heart = build_heart(latents, stream("heart"))
    motion = Deformation(heart, build_beat(latents, heart, stream("beat")))
    stack = plan_stack(heart, settings, stream("stack"))
    look = stream("contrast")
    contrast = draw_contrast(look)
    torso = build_torso(latents, heart, stack, contrast, look)
    scanner = Scanner(heart, motion, stack, torso, contrast, look)
    scan = scanner.acquire(
        frames=settings.frames,
        noise=look.uniform(0.02, 0.04),
        blood_level=look.uniform(220, 420),
        rng=stream("noise"),
        truth=truth,
    )
    return motion, stack, scan


def make_subject(member: Member, out: Path, settings: PhantomSettings, seed: int) -> Latents:
    """Write all files of one participant into the cohort folder `out`; return its latents."""
    name = member.participant
    stream = partial(seeds.stream, seed, name)
    latents = sample(name, seed, settings.arm)
    motion, stack, scan = scan_heart(latents, settings, seed, truth=member.split == "test")
    oddities = draw_oddities(settings.oddities, settings.slices, settings.frames, stream("oddities"))
    archive = out / "raw" / "cine" / f"{name}_20209_{VISIT}_0.zip"
    write_cine_zip(archive, latents, stack, scan.frames, scan.labels, oddities, stream("dicom"))
    if member.annotated:
        labels = annotate(motion, stack, settings.frames, stream("expert"))
        write_labels(out / "raw" / "annotations" / f"{name}_{VISIT}.nii.gz", labels, stack.affine())
    stamp = provenance.stamp(settings.model_dump(mode="json"))
    write_truth(out / "truth", f"{name}_{VISIT}", motion, stack, scan, oddities, stamp)
    ecg = out / "raw" / "ecg" / f"{name}_20205_{VISIT}_0.xml"
    ecg.parent.mkdir(parents=True, exist_ok=True)
    write_ecg(ecg, latents, seeds.derive(seed, name, "ecg"))
    return latents


def _write_sheet(path: Path, members: list[Member]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for member in members:
            name = member.participant
            writer.writerow(
                [
                    name,
                    VISIT,
                    f"raw/ecg/{name}_20205_{VISIT}_0.xml",
                    f"raw/cine/{name}_20209_{VISIT}_0.zip",
                    "",
                    f"raw/annotations/{name}_{VISIT}.nii.gz" if member.annotated else "",
                    member.split,
                ]
            )


def _end_with_parent() -> None:
    """Make a worker end with its parent: after a killed parent it would otherwise wait, or write, forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent process"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@says(
    lambda _, given: (
        f"wrote a synthetic cohort to {given['out']}: subjects.csv, raw/, truth/. Open "
        f"{given['out'] / 'card.md'}; to run it, set cohort.sheet: {given['out'] / 'subjects.csv'}"
    )
)
def make_cohort(
    *,
    out: Out,
    settings: SettingsOf[PhantomSettings],
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Number of parallel processes.")] = 2,
) -> None:
    """Write the synthetic cohort into the folder `out`, which is replaced.

    Args:
        out: folder of subjects.csv, raw/, truth/ and the card.
        settings: size and kind of the cohort.
        seed: the same seed gives the same bytes, whatever the number of workers.
        workers: number of processes that share the participants.
    """
    members = plan_cohort(settings)
    shown: Any = partial(progress, what="phantom", unit="subject", total=len(members))
    with whole_folder(out) as folder:
        work = partial(make_subject, out=folder, settings=settings, seed=seed)
        if workers == 1:
            cohort = list(shown(map(work, members)))
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
                cohort = list(shown(pool.map(work, members)))
        _write_sheet(folder / "subjects.csv", members)
        stamp = provenance.stamp(settings.model_dump(mode="json"))
        write_card(folder, cohort, settings, seed, stamp)
        (folder / "provenance.json").write_text(json.dumps(stamp | {"seed": seed}, indent=1, sort_keys=True))
    log.info("synthetic cohort of %d participants", len(members))
