"""Control: a trained model that is given another held-out participant's ECG."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from cof.config import ShuffledSettings
from cof.models.base import Example, Generated, Motion, Split, Subject, TrainedModel
from cof.models.exchange import exchange, participant, rank

ECGS = "ecgs.safetensors"
DONORS = "donors.json"
# The folder of the model that is applied, inside that of this one.
MODEL = "model"


class ShuffledModel:
    """A model and the ECGs of the held-out subjects, each meant for another one."""

    def __init__(self, model: TrainedModel, ecgs: Mapping[str, np.ndarray], donors: Mapping[str, str]) -> None:
        self.model = model
        self.ecgs = ecgs
        self.donors = donors

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The heart that the model makes of the subject's anchor and the donor's ECG; the sidecar names the donor."""
        donor = self.donors.get(subject.subject) or self._any(subject.subject)
        given = replace(
            subject,
            beat=self.ecgs[f"{donor}/beat"],
            rr_ms=float(self.ecgs[f"{donor}/rr_ms"]),
            features=self.ecgs[f"{donor}/features"],
        )
        made = self.model.generate(given, frames, seed)
        return replace(made, measures={**made.measures, "ecg_of": donor})

    def _any(self, subject: str) -> str:
        """A donor for a subject that is no part of the exchange."""
        others = [donor for donor in self.donors.values() if participant(donor) != participant(subject)]
        return min(others, key=lambda donor: rank(subject, donor))


class ShuffledFamily:
    """What a trained model makes of the wrong ECG: a gain that the ECG brought is lost with it.

    The ECGs of the held-out subjects are exchanged among them, freely or within strata of sex and heart rate, which
    leave in place what sex and rate alone can tell.
    """

    learns_on: Split | None = "test"
    learns_from: frozenset[Motion] = frozenset()
    sees_motion = False

    def fit(
        self,
        train: list[Example],
        validation: list[Example],
        settings: ShuffledSettings,
        seed: int,
        out: Path,
        work: Path,
    ) -> None:
        """Draw the permutation, and keep it with the ECGs."""
        donors = exchange(train, f"{seed}/{settings.permutation}", settings.within)
        ecgs = {}
        for example in train:
            ecgs[f"{example.subject}/beat"] = np.asarray(example.beat, np.float32)
            ecgs[f"{example.subject}/rr_ms"] = np.array(example.rr_ms, np.float64)
            ecgs[f"{example.subject}/features"] = np.asarray(example.features, np.float32)
        save_file(ecgs, out / ECGS)
        (out / DONORS).write_text(json.dumps(donors, indent=1, sort_keys=True))

    def load(self, folder: Path, settings: ShuffledSettings) -> ShuffledModel:
        """The permutation in `folder` and the model that lies in it."""
        from cof.models.stage import load  # which knows the families, and so this one

        return ShuffledModel(
            load(folder / MODEL).model, load_file(folder / ECGS), json.loads((folder / DONORS).read_text())
        )
