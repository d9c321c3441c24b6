"""An oracle beside EchoDiffusion: the trained cascade, told the ejection fraction of the real cine."""

from collections.abc import Sequence
from pathlib import Path

from cof.config.controls import TrueEfSettings
from cof.errors import UsageError
from cof.models.base import Example, Save
from cof.models.trained import MODEL, load
from cof.models.video.echodiffusion import EchoDiffusionModel
from cof.training.run import Run


class TrueEfFamily:
    """EchoDiffusion with each subject's own ejection fraction in the place of the one predicted from the ECG.

    Nothing is trained again: what this one gains over the model that it applies is what a perfect prediction of the EF
    would bring.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: TrueEfSettings, seed: int, run: Run
    ) -> Save:
        """Nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: TrueEfSettings) -> EchoDiffusionModel:
        """The model that lies in `folder`, told the EF.

        Raises:
            UsageError: it is of another family.
        """
        applied = load(folder / MODEL).model
        if not isinstance(applied, EchoDiffusionModel):
            raise UsageError(f"{folder} applies no model of the family 'echodiffusion'")
        return EchoDiffusionModel(applied.network, applied.settings, told_ef=True)
