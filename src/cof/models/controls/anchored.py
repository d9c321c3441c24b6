"""A trained model with another frame than end diastole as the anchor of the held-out subjects."""

from collections.abc import Sequence
from pathlib import Path

from cof.config.controls import AnchoredSettings
from cof.models.base import Example, Save, TrainedModel
from cof.models.trained import MODEL, load
from cof.training.run import Run


class AnchoredFamily:
    """A trained model with another anchor, to test its robustness if the available frame is not end diastole.

    Nothing is trained again. Generation takes the frame at `anchor_phase` instead of the ED frame, and passes its phase
    to the model; in practice, the phase is known from ECG gating.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: AnchoredSettings, seed: int, run: Run
    ) -> Save:
        """Return a function that writes nothing; there is nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: AnchoredSettings) -> TrainedModel:
        """Load the copy of the model in `folder`."""
        return load(folder / MODEL).model
