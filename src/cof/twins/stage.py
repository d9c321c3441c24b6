"""The stage that generates the 4D hearts of a batch."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import whole_folder
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
    labelling: Annotated[Labelling, typer.Option(help="Of the generated hearts.")] = "nnunet",
    fields: Annotated[
        Path | None, typer.Option(help="fields/{variant}/{batch}, for the oracle only."), Batch(".safetensors")
    ] = None,
    splits: Splits = ("test",),
    seed: Seed = 0,
    anchor_phase: float | None = None,
) -> None:
    """Generate the hearts of a batch's subjects; those that an earlier stage left out are passed over.

    Args:
        sheet, beats, grid, exclusions, settings, labels_settings, splits: as annotated.
        cine: one of one frame is an anchor, whose heart gets the frames of the training data
            and the RR interval of the ECG.
        labels: of every file only the anchor's frame is read, unless the model is an oracle
            that is told the EF.
        model: folder of the trained model.
        labeller: labels the generated cines as it labels the real ones.
        out: docs/reference/files.md lists the files.
        seed: of families that draw at random, together with the subject's name.
        labelling: `propagated` moves the anchor's labels as its image, where a family
            generates a displacement.
        fields: read by a family that is openly allowed to see the motion.
        anchor_phase: of the frame that is the anchor, and of what an anchor alone shows; without it the model's
            settings say which frame of a cine, and an anchor alone is at end diastole.

    Raises:
        UsageError: there is no trained model or labeller, the settings do not fit it, or the family takes no other
            anchor than end diastole.
    """
    trained = load(model, settings)

    @cache
    def segmenter() -> "Labeller":
        from cof.labels.predict import Labeller  # nnU-Net takes seconds to import

        return Labeller.load(labeller, labels_settings.mirroring)

    if labelling == "nnunet":
        segmenter()  # a faulty one is refused before anything is generated
    artefacts = Artefacts.of([beats], [grid], [labels], [fields] if fields else [])
    cohort = read_table(sheet)
    provenance = stamp(settings.model_dump(mode="json")) | {"model": trained.provenance, "seed": seed}
    phase = trained.anchor_phase if anchor_phase is None else anchor_phase
    if phase and settings.anchors == "ed":
        raise UsageError(f"a model of the family '{settings.family}' takes no other anchor than end diastole")
    excluded = Exclusions("twins")
    with whole_folder(out) as folder:
        for name in progress(cohort.loc[cohort["split"].isin(splits), "subject"], "twins", "heart"):
            with excluded.guard(name):
                example = artefacts.open(
                    name,
                    with_displacement="displacement" in settings.sees,
                    with_cine=False,
                    with_ef="ef" in settings.sees,
                    anchor_phase=phase,
                )
                if example is not None:
                    real = read_cine(cine / f"{name}.nii")
                    if phase and anchor_phase is None and len(real.frames) == 1:
                        raise CofError(Reason.CINE_TOO_FEW_FRAMES, "an anchor alone has no frame at another phase")
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
