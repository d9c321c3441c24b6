"""The stage that trains one model of any family, and the way back from its folder."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from tqdm import tqdm

from cof.config import ModelSettings, Triple
from cof.errors import UsageError
from cof.folders import whole_folder
from cof.models.base import Example, Family, TrainedModel
from cof.models.data import Artefacts
from cof.models.registry import family_of
from cof.models.shuffled import MODEL
from cof.provenance import stamp
from cof.tables import read_table

SETTINGS = "settings.json"
CARD = "card.md"


@dataclass(frozen=True)
class Trained:
    """A trained model, and what generation has to know about its training.

    Attributes:
        model: ready to generate.
        settings: of the model.
        sees_motion: the model needs the subject's own registered displacement.
        frames: phases of a cycle in the training data.
        shape: voxels of the canonical grid (z, y, x).
        spacing_mm: of the canonical grid (z, y, x).
        beat_samples: samples of an R-R cycle.
        provenance: of the training.
    """

    model: TrainedModel
    settings: ModelSettings
    sees_motion: bool
    frames: int
    shape: tuple[int, int, int]
    spacing_mm: Triple
    beat_samples: int
    provenance: dict[str, Any]


def train(
    *,
    subjects: Path,
    beats: list[Path],
    grid: list[Path],
    labels: list[Path],
    fields: list[Path],
    out: Path,
    work: Path,
    settings: ModelSettings,
    seed: int,
    base: Path | None = None,
) -> None:
    """Train one model of any family.

    Args:
        subjects: `cohort/subjects.parquet`; subjects that an earlier stage left out are passed over.
        beats: tables `beats/{batch}.parquet`.
        grid: folders `grid/{batch}`.
        labels: folders `labels/{batch}`.
        fields: folders `fields/{variant}/{batch}`, for families that learn from registered motion.
        out: folder for `settings.json`, `card.md` and what the family writes.
        work: folder for checkpoints, from which a killed training resumes.
        settings: of the model; they name its family.
        seed: of everything random, unless the settings name one.
        base: folder of the trained model that this one applies, of which it keeps a copy; for families with one.

    Raises:
        UsageError: no training subject is there, or they lie on different canonical grids.
    """
    family = family_of(settings.family)
    artefacts = Artefacts.of(beats, grid, labels, fields)
    cohort = read_table(subjects)
    seed = _seed(settings, seed)

    def opened(split: str) -> Iterator[Example]:
        for subject in tqdm(
            sorted(cohort.loc[cohort["split"] == split, "subject"]), desc=split, unit="subject", disable=None
        ):
            if artefacts.frames(subject) < 2:  # left out by an earlier stage, or an anchor alone
                continue
            example = artefacts.open(
                subject,
                with_displacement="displacement" in family.learns_from,
                with_cine="cine" in family.learns_from,
                with_ef="ef" in family.learns_from,
            )
            if example is not None:
                yield example

    # A family that learns nothing still has to know the canonical grid.
    examples = list(opened(family.learns_on) if family.learns_on else islice(opened("train"), 1))
    validation = list(opened("validation") if family.learns_on == "train" else ())
    if not examples:
        needed = ", ".join(["R-R cycle", "labels", "canonical cine", *sorted(family.learns_from & {"displacement"})])
        raise UsageError(
            f"{settings.family}: no {family.learns_on or 'train'} subject has everything that is needed ({needed})"
        )
    first = examples[0]
    if any(_geometry(example) != _geometry(first) for example in examples + validation):
        raise UsageError(f"{settings.family}: the subjects lie on different canonical grids")
    if family.learns_on is None:
        examples = []
    record = {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "frames": artefacts.frames(first.subject),
        "shape": list(first.placement.shape),
        "spacing_mm": list(first.placement.spacing_mm),
        "beat_samples": first.beat.shape[1],
        "subjects": {family.learns_on or "train": len(examples), "validation": len(validation)},
        "provenance": stamp(settings.model_dump(mode="json")),
    }
    with whole_folder(out) as folder:
        family.fit(examples, validation, settings, seed, folder, work)
        if base is not None:
            shutil.copytree(base, folder / MODEL)
        (folder / SETTINGS).write_text(json.dumps(record, indent=1, sort_keys=True))
        (folder / CARD).write_text(_card(family, record))


def load(folder: Path, settings: ModelSettings | None = None) -> Trained:
    """The model that `train` wrote into `folder`.

    Args:
        folder: `models/{model}`.
        settings: in place of those that it was trained with, for what only matters at generation (the solver).

    Raises:
        UsageError: the folder holds no trained model, or one that the settings do not fit.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise UsageError(f"{folder} is no trained model")
    record = json.loads(file.read_text())
    trained: ModelSettings = TypeAdapter(ModelSettings).validate_python(record["settings"])
    settings = settings or trained
    if settings.family != trained.family:
        raise UsageError(f"{folder} holds a model of the family '{trained.family}', not '{settings.family}'")
    family = family_of(settings.family)
    shape, spacing = record["shape"], record["spacing_mm"]
    return Trained(
        family.load(folder, settings),
        settings,
        family.sees_motion,
        record["frames"],
        (shape[0], shape[1], shape[2]),
        (spacing[0], spacing[1], spacing[2]),
        record["beat_samples"],
        record["provenance"],
    )


def _seed(settings: ModelSettings, seed: int) -> int:
    """The seed of a training: that of the run, unless the model has one of its own."""
    own: int | None = getattr(settings, "seed", None)
    return seed if own is None else own


def _geometry(example: Example) -> tuple[object, ...]:
    return example.placement.shape, example.placement.spacing_mm, example.beat.shape


def _card(family: Family, record: dict[str, Any]) -> str:
    """The model card: what it is, what it learnt from, and what it must not be taken for."""
    settings, counts = record["settings"], record["subjects"]
    learnt = " and ".join(sorted(family.learns_from)) or ("ECGs" if family.learns_on else "nothing")
    split = family.learns_on or "train"
    subjects = f"{counts[split]} {'held-out' if split == 'test' else 'training'} subjects"
    inputs = "its own registered motion (a ceiling, no prediction)" if family.sees_motion else "anchor and ECG at most"
    shape, spacing = " x ".join(map(str, record["shape"])), " x ".join(map(str, record["spacing_mm"]))
    return f"""# Model card: {settings["family"]}

{(type(family).__doc__ or "").strip()}

| | |
|---|---|
| learns from | {learnt} of {subjects} ({counts["validation"]} for validation) |
| sees of a new subject | {inputs} |
| canonical grid | {shape} voxels of {spacing} mm (z, y, x), {record["frames"]} phases |
| seed | {record["seed"]} |
| settings hash | {record["provenance"]["config_hash"]} |

```json
{json.dumps(settings, indent=1, sort_keys=True)}
```

## Limits

Research software, not a medical device. The output is one deterministic heart for one input and carries no measure of
its own uncertainty. It is as good as the registered motion it was trained on and holds for scans and ECGs like those of
the training cohort; a model trained on the synthetic cohort says nothing about patients. Motion through the plane is
hardly visible in short-axis stacks: do not read clinical meaning into it.
"""
