"""Oracle of EchoDiffusion: the trained cascade with the ejection fraction of the real cine."""

from collections.abc import Sequence
from pathlib import Path

from cof.config.controls import TrueEfSettings
from cof.errors import UsageError
from cof.models.base import Example, Save
from cof.models.trained import MODEL, load
from cof.models.video.echodiffusion import EchoDiffusionModel
from cof.training.run import Run


class TrueEfFamily:
    """EchoDiffusion with the subject's own ejection fraction instead of the one predicted from the ECG.

    Nothing is trained again. The difference to EchoDiffusion is the gain of a perfect prediction of the EF.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: TrueEfSettings, seed: int, run: Run
    ) -> Save:
        """Return a function that writes nothing; there is nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: TrueEfSettings) -> EchoDiffusionModel:
        """Load the copy of the model in `folder`, and let it use the EF of the real cine.

        Raises:
            UsageError: the model is of another family than `echodiffusion`.
        """
        applied = load(folder / MODEL).model
        if not isinstance(applied, EchoDiffusionModel):
            raise UsageError(f"{folder / MODEL} is not of the family 'echodiffusion', which 'true_ef' needs")
        return EchoDiffusionModel(applied.network, applied.settings, told_ef=True)
