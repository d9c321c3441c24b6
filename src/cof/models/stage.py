"""The stage that trains one model of any family."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cof.artefacts.contents import write_learnt
from cof.artefacts.folders import MANIFEST, whole_folder
from cof.artefacts.markup import markdown_lines
from cof.artefacts.origin import LEARNT_FROM, Origin, learnt_from
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import digest, stamp
from cof.artefacts.sources import source
from cof.cine.volume import shows_cycle
from cof.cohort import SPLITS, EveryFolder, EveryHashes, EveryTable, OfEveryBatch
from cof.config.families import package
from cof.config.models import ModelSettings
from cof.errors import UsageError
from cof.inputs import Folder
from cof.models.base import Example, Family
from cof.models.data import Artefacts, Known, OpenedExamples
from cof.models.registry import family_of
from cof.models.trained import CARD, MEMBERS, MODEL, SETTINGS
from cof.options import Curves, Devices, Out, Read, Seed, SettingsOf, Subjects, Work
from cof.progress import progress
from cof.training.run import Run


def train(
    *,
    subjects: Subjects,
    beats: EveryTable,
    grid: EveryFolder,
    labels: EveryFolder,
    out: Out,
    work: Work,
    settings: SettingsOf[ModelSettings],
    fields: Annotated[
        list[Path] | None,
        typer.Option(help="fields/{variant}, for a family that learns from motion."),
        Folder(),
        OfEveryBatch(needed=False),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="models/{model}, for a family that applies another model."), Folder()
    ] = None,
    members: Annotated[
        Sequence[Path],
        typer.Option("--member", help="models/{model}, one member of an ensemble; repeatable."),
        Folder(),
        Read(list[Path], tuple),
    ] = (),
    hashes: EveryHashes = None,
    seed: Seed = 0,
    curves: Curves = None,
    devices: Devices = "auto",
) -> None:
    """Train one model of any family.

    Args:
        subjects: table of the cohort; subjects that an earlier stage left out are skipped.
        beats, grid, labels, fields, hashes, work, curves: as annotated.
        out: folder of `settings.json`, `card.md`, `learnt_from.txt` and the files of the family.
        settings: settings of the model; they name its family.
        base: folder of the model that the family applies; it is copied into the new model.
        members: folders of the members of an ensemble; they are copied into it under their names.
        seed: seed of the training, unless the settings have a seed.
        devices: as in `cof.training.run.Run`.

    Raises:
        UsageError: there is no training subject, there are only pairs of ED and ES, or the subjects lie on different
            canonical grids.
    """
    family = family_of(settings.family)
    artefacts = Artefacts.of(beats, grid, labels, fields or [])
    cohort = read_table(subjects)
    seed = _seed(settings, seed)
    learns_on = settings.learns_on or "train"
    needs = settings.needs
    with_displacement = "displacement" in needs
    known: dict[str, Known] = {}

    def split(name: str) -> OpenedExamples:
        members = sorted(cohort.loc[cohort["split"] == name, "subject"])
        for subject in progress(members, f"reading the {name} split", "subject"):
            found = artefacts.known(
                subject, with_displacement=with_displacement, with_absent_ecg=settings.takes_absent_ecg
            )
            # Not used: subjects left out by an earlier stage, single anchor volumes, and pairs unless the model learns
            # from them.
            frames = artefacts.frames(subject)
            if found is not None and (shows_cycle(frames) or (frames > 1 and settings.learns_from_pairs)):
                known[subject] = found
        return OpenedExamples([subject for subject in members if subject in known], opened, artefacts.ecg)

    def opened(subject: str) -> Example:
        example = artefacts.open(
            subject,
            with_displacement=with_displacement,
            with_cine="cine" in needs,
            with_labels="labels" in needs,
            with_ef="ef" in needs,
            with_absent_ecg=settings.takes_absent_ecg,
        )
        assert example is not None
        return example

    nobody = OpenedExamples([], opened, artefacts.ecg)
    if settings.learns_on is None:  # it learns nothing, but its record needs the canonical grid of some subject
        train, validation = next(filter(None, map(split, SPLITS)), nobody), nobody
    else:
        train, validation = split(learns_on), split("validation") if learns_on == "train" else nobody
    if not train:
        needed = ", ".join(["R-R cycle", "labels", "canonical cine", *sorted(settings.learns_from & {"displacement"})])
        wanted = f"{settings.learns_on} subject" if settings.learns_on else "subject"
        raise UsageError(
            f"{settings.family}: no {wanted} has everything that is needed ({needed}): look at the exclusions of the "
            "earlier stages"
        )
    if len({one.geometry for one in known.values()}) > 1:
        raise UsageError(
            f"{settings.family}: the subjects lie on different canonical grids, or their R-R cycles have different "
            "numbers of samples: make grid and beats of all batches again with the same settings"
        )
    cycles = (name for name in train.subjects if shows_cycle(artefacts.frames(name)))
    if (cycle := next(cycles, None)) is None:
        raise UsageError(
            f"{settings.family}: all training subjects are pairs of ED and ES, but at least one whole cycle is needed: "
            "add subjects with a cine"
        )
    first = opened(cycle)
    if settings.learns_on is None:
        train = nobody
    record = {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "frames": artefacts.frames(first.subject),
        "shape": list(first.placement.shape),
        "spacing_mm": list(first.placement.spacing_mm),
        "beat_samples": first.beat.shape[1],
        "subjects": {learns_on: len(train), "validation": len(validation)},
        LEARNT_FROM: learnt_from(subjects, list(train.subjects)),
        "provenance": stamp(settings.model_dump(mode="json")) | {"package": package(settings.family)},
    }
    fingerprints = [known[subject].fingerprint for subject in (*train.subjects, *validation.subjects)]
    name = digest([settings.model_dump(mode="json"), seed, source(__name__), package(settings.family), fingerprints])
    run = Run(work / f"{name}.pt", curves, devices, settings.family)
    save = family.fit(train, validation, settings, seed, run)
    record["trainings"] = [effort.record() for effort in run.efforts]
    record["trials"] = [asdict(trial) for trial in run.trials]
    own = shutil.ignore_patterns(MANIFEST)
    with whole_folder(out) as folder:
        save(folder)
        write_learnt(folder, hashes, train.subjects)
        if base is not None:
            shutil.copytree(base, folder / MODEL, ignore=own)
        for member in members:
            shutil.copytree(member, folder / MEMBERS / member.name, ignore=own)
        (folder / SETTINGS).write_text(json.dumps(record, indent=1, sort_keys=True))
        (folder / CARD).write_text(_card(family, settings, record))
    run.clear()


def _seed(settings: ModelSettings, seed: int) -> int:
    """Return the seed of the training: that of the settings if they have one, else that of the run."""
    own: int | None = getattr(settings, "seed", None)
    return seed if own is None else own


def _trials(trials: list[dict[str, Any]]) -> str:
    """Return the section of the model card on the choice of the learning rates."""

    def row(trial: dict[str, Any]) -> list[str]:
        rate = f"{trial['learning_rate']:g}" + (", used" if trial["chosen"] else "")
        reached = "not finite" if trial["validation_loss"] is None else f"{trial['validation_loss']:.6g}"
        return [trial["training"], rate, str(trial["iterations"]), reached]

    table = markdown_lines(["training", "learning rate", "iterations", "validation loss"], [row(one) for one in trials])
    lines = "\n".join(table)
    return f"""
## Trials

Short trainings from the same initial weights; the learning rate with the lowest validation loss was used.

{lines}
"""


def _card(family: Family, model: ModelSettings, record: dict[str, Any]) -> str:
    """Return the text of the model card: what the model is, what it learnt from, and its limits."""
    settings, counts = record["settings"], record["subjects"]
    learnt = " and ".join(sorted(model.learns_from)) or ("ECGs" if model.learns_on else "nothing")
    split = model.learns_on or "train"
    subjects = f"{counts[split]} {'held-out' if split == 'test' else 'training'} subjects"
    inputs = "anchor and ECG at most"
    if "displacement" in model.sees:
        inputs = "the subject's own registered motion (a ceiling, not a prediction)"
    elif "ef" in model.sees:
        inputs = "anchor, ECG and the subject's own ejection fraction (an oracle, not a prediction)"
    shape, spacing = " x ".join(map(str, record["shape"])), " x ".join(map(str, record["spacing_mm"]))
    facts = [
        ["learns from", f"{learnt} of {subjects} ({counts['validation']} for validation)"],
        ["trained on", Origin.of(record).counted if model.learns_on else "nothing"],
        ["sees of a new subject", inputs],
        ["canonical grid", f"{shape} voxels of {spacing} mm (z, y, x), {record['frames']} phases"],
        ["seed", str(record["seed"])],
        ["settings hash", record["provenance"]["config_hash"]],
    ]
    lines = "\n".join(markdown_lines(["", ""], facts, numbers=False))
    trials = _trials(record["trials"]) if record["trials"] else ""
    return f"""# Model card: {settings["family"]}

{(type(family).__doc__ or "").strip()}

{lines}

```json
{json.dumps(settings, indent=1, sort_keys=True)}
```
{trials}
## Limits

Research software, not a medical device. The output is one heart for one input and one seed. Only an ensemble shows how
much its members differ, and only calibrated intervals (`intervals` of the configuration) show how large the error may
be. The model is at most as good as the registered motion it was trained on, and it is valid only for scans and ECGs
like those of the training cohort; a model trained on the synthetic cohort says nothing about patients. Motion through
the plane is hardly visible in short-axis stacks: do not interpret it clinically.
"""
