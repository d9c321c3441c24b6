"""Control: a trained model with the ECG of another held-out participant."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from cof.config.controls import ShuffledSettings
from cof.models.base import Example, Generated, Save, Subject, SubjectEcg, TrainedModel
from cof.models.data import ecgs_of
from cof.models.exchange import exchange, participant, rank
from cof.models.trained import MODEL, load
from cof.training.run import Run

ECGS = "ecgs.safetensors"
DONORS = "donors.json"


class ShuffledModel:
    """A trained model, the ECGs of the held-out subjects, and the donor of every subject."""

    def __init__(self, model: TrainedModel, ecgs: Mapping[str, np.ndarray], donors: Mapping[str, str]) -> None:
        self.model = model
        self.ecgs = ecgs
        self.donors = donors

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate a heart from the subject's anchor and the donor's ECG; `measures` has the donor and its RR."""
        donor = self.donors.get(subject.subject) or self._any(subject.subject)
        beat, rr_ms, features = (self.ecgs[f"{donor}/{part}"] for part in ("beat", "rr_ms", "features"))
        given = subject.with_ecg_of(SubjectEcg(donor, beat, float(rr_ms), features=features))
        made = self.model.generate(given, frames, seed)
        return replace(made, measures={**made.measures, "ecg_of": donor, "ecg_rr_ms": float(rr_ms)})

    def _any(self, subject: str) -> str:
        """Choose a donor for a subject that is not part of the exchange."""
        others = [donor for donor in self.donors.values() if participant(donor) != participant(subject)]
        return min(others, key=lambda donor: rank(subject, donor))


class ShuffledFamily:
    """A trained model with wrong ECGs: a gain that was due to the ECG is lost.

    The ECGs of the held-out subjects are exchanged among them, either freely or within strata of sex and heart rate.
    Within strata, the information in sex and heart rate alone remains.
    """

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: ShuffledSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Draw the permutation; the model stores it with the ECGs."""
        ecgs = ecgs_of(train)
        donors = exchange(ecgs, f"{seed}/{settings.permutation}", settings.within)

        def save(out: Path) -> None:
            kept = {}
            for ecg in ecgs:
                kept[f"{ecg.subject}/beat"] = np.asarray(ecg.beat, np.float32)
                kept[f"{ecg.subject}/rr_ms"] = np.array(ecg.rr_ms, np.float64)
                kept[f"{ecg.subject}/features"] = np.asarray(ecg.features, np.float32)
            save_file(kept, out / ECGS)
            (out / DONORS).write_text(json.dumps(donors, indent=1, sort_keys=True))

        return save

    def load(self, folder: Path, settings: ShuffledSettings) -> ShuffledModel:
        """Load the permutation, the ECGs and the copy of the model in `folder`."""
        return ShuffledModel(
            load(folder / MODEL).model, load_file(folder / ECGS), json.loads((folder / DONORS).read_text())
        )
