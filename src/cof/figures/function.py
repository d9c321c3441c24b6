"""The functional indices of generated and real hearts, as several figures read them."""

from dataclasses import dataclass

import pandas as pd

from cof.figures.sources import Sources

ALL = "all subjects"


@dataclass(frozen=True)
class Index:
    """A functional index: its names in the rows, and how it is printed.

    Attributes:
        key: first part of the rows' names.
        suffix: unit, the last part of these names.
        printed: printed name.
        unit: printed unit.
        structure: structure of the rows.
        decimals: printed decimals.
    """

    key: str
    suffix: str
    printed: str
    unit: str
    structure: str = "LV"
    decimals: int = 1

    @property
    def label(self) -> str:
        """Printed name with the unit."""
        return f"{self.printed} ({self.unit})"

    def pairs(self, sources: Sources, model: str | None = None) -> pd.DataFrame:
        """Return the columns generated and real of the subjects that have both, by subject."""
        columns = {
            "generated": sources.values(f"{self.key}_{self.suffix}", self.structure, model),
            "real": sources.values(f"{self.key}_reference_{self.suffix}", self.structure, model),
        }
        return pd.concat(columns, axis=1, join="inner").sort_index()


EDV = Index("edv", "ml", "EDV", "mL")
INDICES = (
    EDV,
    Index("esv", "ml", "ESV", "mL"),
    Index("sv", "ml", "SV", "mL"),
    Index("ef", "pct", "EF", "%"),
    Index("co", "l_min", "CO", "L/min", decimals=2),
)
MASS = Index("lvm", "g", "LV mass", "g", "myocardium")


def groups(sources: Sources) -> dict[str, list[str] | None]:
    """Return the subjects of every ECG category by its name; of all subjects, first, as None."""
    return {ALL: None, **sources.categories}
