"""Cells and tables of Markdown."""

from collections.abc import Sequence

import pandas as pd

from cof.sheets.acdc import GROUPS
from cof.tables.bootstrap import interval_of, resampled


def cell(values: pd.Series, digits: int = 3, interval: bool = False, signed: bool = False) -> str:
    """Write a mean, with its 95 % bootstrap interval over patients if asked."""
    known = values.dropna().to_numpy(float)
    if not len(known):
        return "-"
    form = f"{'+' if signed else ''}.{digits}f"
    text = f"{known.mean():{form}}"
    if interval and len(known) > 2:
        low, high = interval_of(resampled(known[:, None], 1000, 0))
        text += f" [{low:{form}}, {high:{form}}]"
    return text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def groups_of(rows: pd.DataFrame) -> list[str]:
    """Return the groups that rows have, in ACDC's order; none for phantoms."""
    return [group for group in GROUPS if group in set(rows["group"])]
