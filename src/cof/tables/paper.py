"""The paper's numbers, printed beside ours for orientation; they come from another data set and are no target."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from cof.errors import UsageError


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        cohort: data set of its numbers.
        values: printed numbers by row name and metric key.
    """

    cohort: str
    values: Mapping[str, Mapping[str, float]]

    def value(self, row: str, metric: str) -> float | None:
        """Return the paper's number for a row and a metric; None if the paper has none."""
        return self.values.get(row, {}).get(metric)


@cache
def _content() -> dict[str, Any]:
    return yaml.safe_load((files("cof.tables") / "paper.yaml").read_text(encoding="utf-8"))


def paper_table(name: str) -> PaperTable:
    """Return the paper's table `name`: table1, table2 or table3.

    Raises:
        UsageError: the paper has no such table.
    """
    content = _content()
    table = content["tables"].get(name)
    if table is None:
        raise UsageError(f"tables: paper: the paper has no table '{name}'; known: {', '.join(content['tables'])}")
    values = {
        row: {metric: number for metric, number in zip(table["metrics"], numbers, strict=True) if number is not None}
        for row, numbers in table["rows"].items()
    }
    return PaperTable(content["cohort"], values)
