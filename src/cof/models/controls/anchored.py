"""A trained model that is given another frame of the held-out subjects as their anchor."""

from collections.abc import Sequence
from pathlib import Path

from cof.config.controls import AnchoredSettings
from cof.models.base import Example, Save, TrainedModel
from cof.models.trained import MODEL, load
from cof.training.run import Run


class AnchoredFamily:
    """A trained model at another anchor: its robustness, where the frame at hand is not end diastole.

    Nothing is trained again. Generation opens the frame at `anchor_phase` in the place of the ED frame and tells its
    phase, as ECG gating would.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: AnchoredSettings, seed: int, run: Run
    ) -> Save:
        """Nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: AnchoredSettings) -> TrainedModel:
        """The model that lies in `folder`."""
        return load(folder / MODEL).model
