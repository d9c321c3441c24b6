"""The stage that trains one model of any family."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cof.artefacts.folders import MANIFEST, whole_folder
from cof.artefacts.markup import markdown_lines
from cof.artefacts.origin import LEARNT_FROM, Origin, learnt_from
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import digest, stamp
from cof.artefacts.sources import source
from cof.cohort import SPLITS, EveryFolder, EveryTable, OfEveryBatch
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
        typer.Option(help="fields/{variant}, where the family learns from motion."),
        Folder(),
        OfEveryBatch(needed=False),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="models/{model}: the model that this one applies."), Folder()
    ] = None,
    members: Annotated[
        Sequence[Path],
        typer.Option("--member", help="models/{model} of an ensemble; repeatable."),
        Folder(),
        Read(list[Path], tuple),
    ] = (),
    seed: Seed = 0,
    curves: Curves = None,
    devices: Devices = "auto",
) -> None:
    """Train one model of any family.

    Args:
        subjects: those that an earlier stage left out are passed over.
        beats, grid, labels, fields, work, curves: as annotated.
        out: of `settings.json`, `card.md` and what the family writes.
        settings: of the model; they name its family.
        base: the new model keeps a copy of it; for families with one.
        members: the ensemble keeps copies of them by their names.
        seed: counts unless the settings name one.
        devices: as in `cof.training.run.Run`.

    Raises:
        UsageError: no training subject is there, or they lie on different canonical grids.
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
            found = artefacts.known(subject, with_displacement=with_displacement)
            # Left out by an earlier stage, or an anchor alone: nothing to learn from.
            if found is not None and artefacts.frames(subject) > 1:
                known[subject] = found
        return OpenedExamples([subject for subject in members if subject in known], opened, artefacts.ecg)

    def opened(subject: str) -> Example:
        example = artefacts.open(
            subject,
            with_displacement=with_displacement,
            with_cine="cine" in needs,
            with_labels="labels" in needs,
            with_ef="ef" in needs,
        )
        assert example is not None
        return example

    nobody = OpenedExamples([], opened, artefacts.ecg)
    if settings.learns_on is None:  # it learns nothing, and yet has to know the canonical grid
        train, validation = next(filter(None, map(split, SPLITS)), nobody), nobody
    else:
        train, validation = split(learns_on), split("validation") if learns_on == "train" else nobody
    if not train:
        needed = ", ".join(["R-R cycle", "labels", "canonical cine", *sorted(settings.learns_from & {"displacement"})])
        wanted = f"{settings.learns_on} subject" if settings.learns_on else "subject"
        raise UsageError(f"{settings.family}: no {wanted} has everything that is needed ({needed})")
    if len({one.geometry for one in known.values()}) > 1:
        raise UsageError(f"{settings.family}: the subjects lie on different canonical grids")
    first = train[0]
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
        if base is not None:
            shutil.copytree(base, folder / MODEL, ignore=own)
        for member in members:
            shutil.copytree(member, folder / MEMBERS / member.name, ignore=own)
        (folder / SETTINGS).write_text(json.dumps(record, indent=1, sort_keys=True))
        (folder / CARD).write_text(_card(family, settings, record))
    run.clear()


def _seed(settings: ModelSettings, seed: int) -> int:
    """The seed of a training: that of the run, unless the model has one of its own."""
    own: int | None = getattr(settings, "seed", None)
    return seed if own is None else own


def _trials(trials: list[dict[str, Any]]) -> str:
    """The section of the model card on how the learning rates were chosen."""

    def row(trial: dict[str, Any]) -> list[str]:
        rate = f"{trial['learning_rate']:g}" + (", used" if trial["chosen"] else "")
        reached = "not finite" if trial["validation_loss"] is None else f"{trial['validation_loss']:.6g}"
        return [trial["training"], rate, str(trial["iterations"]), reached]

    table = markdown_lines(["training", "learning rate", "iterations", "validation loss"], [row(one) for one in trials])
    lines = "\n".join(table)
    return f"""
## Trials

Short trainings from the same initial weights; the learning rate of the lowest validation loss was used.

{lines}
"""


def _card(family: Family, model: ModelSettings, record: dict[str, Any]) -> str:
    """The model card: what it is, what it learnt from, and what it must not be taken for."""
    settings, counts = record["settings"], record["subjects"]
    learnt = " and ".join(sorted(model.learns_from)) or ("ECGs" if model.learns_on else "nothing")
    split = model.learns_on or "train"
    subjects = f"{counts[split]} {'held-out' if split == 'test' else 'training'} subjects"
    inputs = "anchor and ECG at most"
    if "displacement" in model.sees:
        inputs = "its own registered motion (a ceiling, no prediction)"
    elif "ef" in model.sees:
        inputs = "anchor, ECG and its own ejection fraction (an oracle, no prediction)"
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

Research software, not a medical device. The output is one heart for one input and one seed; only an ensemble tells how
far its members are apart, and only calibrated intervals (`intervals` of the configuration) how far off it may be. It is
as good as the registered motion it was trained on and holds for scans and ECGs like those of the training cohort; a
model trained on the synthetic cohort says nothing about patients. Motion through the plane is hardly visible in
short-axis stacks: do not read clinical meaning into it.
"""
