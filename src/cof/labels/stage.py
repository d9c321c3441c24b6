"""The two stages of labelling: train nnU-Net on expert annotations, and label every frame of a batch."""

import logging
import shutil
from functools import partial

import numpy as np

from cof.artefacts.contents import write_learnt
from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import whole_folder
from cof.artefacts.origin import LEARNT_FROM, learnt_from
from cof.artefacts.provenance import digest, stamp
from cof.cine.volume import read_cine, write_labels
from cof.cohort import EveryFolder, EveryHashes
from cof.config.data import LabelSettings
from cof.errors import CofError, Reason, UsageError
from cof.heart.structures import STRUCTURES
from cof.options import CineBatch, ExclusionsOut, LabellerFolder, Out, Seed, SettingsOf, Subjects, Work
from cof.progress import Progress

log = logging.getLogger(__name__)


def train(
    *,
    subjects: Subjects,
    cine: EveryFolder,
    annotations: EveryFolder,
    out: Out,
    work: Work,
    settings: SettingsOf[LabelSettings],
    seed: Seed = 0,
    hashes: EveryHashes = None,
) -> None:
    """Train nnU-Net v2 (2D) on the annotated ED and ES stacks of the training subjects.

    Args:
        subjects: the annotated subjects of the training split are used. With `held_out: null`, those of the validation
            split evaluate the trained network.
        cine, annotations, settings, hashes: as annotated.
        out: an nnU-Net model folder, `log.csv` (one row per epoch), `labeller.json` (hashes, Dice and volume bias on
            the held-out participants, origin of the training hearts, provenance) and `learnt_from.txt`.
        work: folder of preprocessed data and checkpoints. A killed training with the same data, settings and seed
            resumes from it. What belongs to this training is removed when it is done.
        seed: seed of split, weights, sampling and augmentation.

    Raises:
        UsageError: fewer than two annotated participants can be used; with `held_out: null`, one of the two splits has
            none; or `mirroring` is set with `augmentation: upright`.
    """
    from cof.labels import artefact, dataset, evaluation, training
    from cof.labels.predict import Labeller

    if settings.mirroring and settings.augmentation == "upright":
        raise UsageError(
            "labels.mirroring: true does not go with labels.augmentation: upright, which trains without mirroring: set "
            "labels.augmentation to nnunet or wide, or labels.mirroring to false"
        )
    exclusions = Exclusions("labeller")
    cases = dataset.find_cases(subjects, cine, annotations, exclusions)
    if settings.held_out is None:
        validation = dataset.find_cases(subjects, cine, annotations, exclusions, split="validation")
        held_out = {case.participant for case in validation}
        if not held_out or not cases:
            raise UsageError(
                "labels.held_out: null needs annotated participants in the training and in the validation split, which "
                f"have {len(cases)} and {len(validation)} annotated frames: annotate both, or set a share"
            )
        cases += validation
    else:
        held_out = dataset.choose_held_out(cases, settings.held_out, seed)
    provenance = stamp(settings.model_dump(mode="json"))
    root = work / digest([provenance, seed, sorted(held_out), dataset.fingerprint(cases)])
    training.prepare(cases, held_out, settings, root)
    tests = [case for case in cases if case.participant in held_out]
    learnt = sorted({case.subject for case in cases if case.participant not in held_out})
    with whole_folder(out) as folder:
        training.fit(root, settings, seed, folder).to_csv(folder / "log.csv", index=False, float_format="%.6g")
        description = {
            "structures": STRUCTURES,
            "settings": settings.model_dump(mode="json"),
            "seed": seed,
            "provenance": provenance,
            "cases": {"training": len(cases) - len(tests), "held_out": len(tests)},
            "participants": {
                "training": sorted({case.participant for case in cases} - held_out),
                "held_out": sorted(held_out),
            },
            "left_out": exclusions.rows,
            LEARNT_FROM: learnt_from(subjects, learnt),
        }
        write_learnt(folder, hashes, learnt)
        artefact.describe(folder, description)
        labeller = Labeller.load(folder, settings.mirroring)
        with Progress("labelling the held-out participants", None):
            artefact.describe(folder, description | {"held_out": evaluation.evaluate(labeller, tests)})
    shutil.rmtree(root)


def label_batch(
    *,
    cine: CineBatch,
    labeller: LabellerFolder,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsOf[LabelSettings],
) -> None:
    """Label every frame of every cine of a batch.

    Args:
        cine, labeller, settings: as annotated.
        out: folder of `{subject}.nii.gz`, uint8 labels [T, Z, Y, X] on the native grid.
        exclusions: table of excluded subjects. A subject is excluded if a frame is blank, or if no LV or no myocardium
            is found in its anchor frame.
    """
    from cof.labels.predict import Labeller

    model = Labeller.load(labeller, settings.mirroring)
    excluded = Exclusions("labels")
    paths = sorted(cine.glob("*.nii"))
    with whole_folder(out) as folder, Progress("labels", len(paths), "subject") as shown:
        for number, path in enumerate(paths, 1):
            with excluded.guard(path.stem):
                stack = read_cine(path)
                blank = np.flatnonzero(stack.frames.min(axis=(1, 2, 3)) == stack.frames.max(axis=(1, 2, 3)))
                if len(blank):
                    raise CofError(Reason.CINE_UNREADABLE, f"{len(blank)} frames are blank, first frame {blank[0]}")
                share = 1 / len(stack.frames)
                labels = model.label(stack.frames, stack.spacing_mm, partial(shown.step, share))
                found = np.unique(labels[0])
                for name in ("LV", "myocardium"):
                    if STRUCTURES[name] not in found:
                        raise CofError(
                            Reason.HEART_NOT_FOUND,
                            f"the labeller finds no {name} in the anchor frame: is it a short-axis stack of the heart?",
                        )
                write_labels(folder / f"{path.stem}.nii.gz", labels, stack.affine)
            shown.reach(number)
    excluded.write(exclusions)
