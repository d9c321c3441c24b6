"""The stage that generates the 4D hearts of a batch."""

import logging
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import whole_folder
from cof.artefacts.pairs import es_phases
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import stamp
from cof.cine.grid import nearest_frame
from cof.cine.volume import read_cine, read_frame
from cof.config.base import Labelling
from cof.config.data import LabelSettings
from cof.config.models import ModelSettings
from cof.errors import CofError, Reason, UsageError
from cof.inputs import Batch
from cof.models.data import Artefacts
from cof.models.trained import load
from cof.options import (
    BeatTable,
    CineBatch,
    ExclusionsOut,
    GridBatch,
    LabelBatch,
    LabellerFolder,
    Out,
    Seed,
    SettingsOf,
    SettingsText,
    Sheet,
    Splits,
)
from cof.progress import progress
from cof.twins.artefacts import write_twin
from cof.twins.generation import generate, label, propagate

if TYPE_CHECKING:
    from cof.labels.predict import Labeller

log = logging.getLogger(__name__)


def generate_batch(
    *,
    sheet: Sheet,
    beats: BeatTable,
    cine: CineBatch,
    labels: LabelBatch,
    grid: GridBatch,
    model: Annotated[Path, typer.Option(help="models/{model}")],
    labeller: LabellerFolder,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsOf[ModelSettings],
    labels_settings: Annotated[LabelSettings, typer.Option(help="Settings of the labeller."), SettingsText()],
    labelling: Annotated[Labelling, typer.Option(help="How the generated hearts are labelled.")] = "nnunet",
    fields: Annotated[
        Path | None, typer.Option(help="fields/{variant}/{batch}, only for the oracle."), Batch(".safetensors")
    ] = None,
    splits: Splits = ("test",),
    seed: Seed = 0,
    anchor_phase: float | None = None,
    absent_ecg: bool = False,
) -> None:
    """Generate the hearts of the subjects of a batch.

    Subjects that an earlier stage left out are skipped. So are subjects with ED and ES frames alone: there is no cycle
    to compare a generated heart with.

    Args:
        sheet, beats, grid, exclusions, settings, labels_settings, splits: as annotated.
        cine: folder of cines. A cine with a single frame is an anchor volume; its heart gets as many frames as the
            training data have, and the RR interval of the ECG.
        labels: folder of label files. Only the frame of the anchor is read, unless the model is an oracle that gets the
            EF.
        model: folder of the trained model.
        labeller: folder of the labeller, which labels generated cines in the same way as real ones.
        out: folder of the hearts; docs/reference/files.md lists the files.
        seed: seed of families that draw at random; it is combined with the subject's name.
        labelling: `nnunet` runs the labeller on every generated frame. `propagated` moves the anchor's labels by the
            displacement (`cof.motion.labels`), if the family generates one.
        fields: folder of registered displacements, for a family that may see the motion.
        anchor_phase: phase of the frame that is the anchor, and of a single anchor volume. None takes the frame of a
            cine that the model's settings name, and end diastole for a single anchor volume.
        absent_ecg: generate also the subjects without a row in `beats`, if the model takes an absent ECG.

    Raises:
        UsageError: there is no trained model or labeller, the settings differ from those of the training, the family
            takes only end diastole as the anchor, or the model takes no absent ECG.
    """
    trained = load(model, settings)

    @cache
    def segmenter() -> "Labeller":
        from cof.labels.predict import Labeller  # here, because nnU-Net takes seconds to import

        return Labeller.load(labeller, labels_settings.mirroring)

    if labelling == "nnunet":
        segmenter()  # refuse a faulty labeller before anything is generated
    if absent_ecg and not trained.settings.takes_absent_ecg:
        raise UsageError(
            f"the model {model} needs an ECG: give one by --ecg, or take a model that was trained with "
            "field.ecg_dropout, such as that of weights/real"
        )
    artefacts = Artefacts.of([beats], [grid], [labels], [fields] if fields else [], trained.beat_samples)
    cohort = read_table(sheet)
    provenance = stamp(settings.model_dump(mode="json")) | {"model": trained.provenance, "seed": seed}
    phase = trained.anchor_phase if anchor_phase is None else anchor_phase
    if phase and settings.anchors == "ed":
        raise UsageError(
            f"the anchor phase is {phase}, but the family '{settings.family}' takes only end diastole as the anchor: "
            "set the phase to 0"
        )
    excluded = Exclusions("twins")
    phases = es_phases(cohort)
    asked = list(cohort.loc[cohort["split"].isin(splits), "subject"])
    if pairs := [name for name in asked if not math.isnan(phases[name])]:
        log.info("%d subjects have ED and ES frames alone: no heart is generated for them", len(pairs))
    with whole_folder(out) as folder:
        for name in progress([name for name in asked if name not in pairs], "twins", "heart"):
            with excluded.guard(name):
                example = artefacts.open(
                    name,
                    with_displacement="displacement" in settings.sees,
                    with_cine=False,
                    with_ef="ef" in settings.sees,
                    with_absent_ecg=absent_ecg,
                    anchor_phase=phase,
                )
                if example is not None:
                    real = read_cine(cine / f"{name}.nii")
                    if phase and anchor_phase is None and len(real.frames) == 1:
                        raise CofError(
                            Reason.CINE_TOO_FEW_FRAMES,
                            f"the model takes its anchor at phase {phase}, but this subject has a single anchor volume",
                        )
                    twin = generate(trained, example, real, seed)
                    anchor = nearest_frame(example.anchor_phase, len(real.frames))
                    anchor_labels = read_frame(labels / f"{name}.nii.gz", anchor).astype(np.uint8)
                    how = labelling if twin.made.displacement is not None else "nnunet"
                    if how == "propagated":
                        generated_labels = propagate(twin, anchor_labels, example.placement)
                    else:
                        generated_labels = label(twin.native, real.frames[anchor], anchor_labels, segmenter())
                    write_twin(folder, name, twin, generated_labels, provenance | {"labels": how})
    excluded.write(exclusions)
