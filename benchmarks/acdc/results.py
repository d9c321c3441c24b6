"""Tables and page of one run, written anew whenever there is more."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from function_table import say_by_split, say_function
from label_table import say_labels
from registration_table import say_registration

Rows = list[dict[str, Any]]
# What COF and registration have learnt from is no test of them.
SEEN = (
    "Each patient by regressions and mean motion of the other folds. COF itself and the registration are not fitted "
    "anew: they have learnt from the training patients, so that rows with them are no test of those."
)


@dataclass
class Results:
    """Rows of every part.

    Attributes:
        out: folder of the files.
        said: first line of the page.
        data: source of the hearts, for its last line.
        contracted, as_it_is: names of two rows of the function, which are compared.
        labels, ejection, registration, function, folds: rows so far.
    """

    out: Path
    said: str
    data: str
    contracted: str
    as_it_is: str
    labels: Rows = field(default_factory=list)
    ejection: Rows = field(default_factory=list)
    registration: Rows = field(default_factory=list)
    function: Rows = field(default_factory=list)
    folds: Rows = field(default_factory=list)

    @property
    def page(self) -> Path:
        """Return the page's path."""
        return self.out / "acdc.md"

    def write(self) -> None:
        """Write a CSV per part that has rows, and the page."""
        self.out.mkdir(parents=True, exist_ok=True)
        names = ("labels", "ejection", "registration", "function", "folds")
        tables = {name: pd.DataFrame(rows) for name in names if (rows := getattr(self, name))}
        for name, rows in tables.items():
            rows.to_csv(self.out / f"{name}.csv", index=False, float_format="%.6g")
        text = [self.said]
        if "labels" in tables:
            text += [_head("Labels", tables["labels"]), say_labels(tables["labels"], tables["ejection"])]
        if "registration" in tables:
            text += [_head("ED to ES", tables["registration"]), say_registration(tables["registration"])]
        if "function" in tables:
            text += [_head("Ejection fraction from the ED frame alone", tables["function"])]
            text += [say_function(tables["function"], self.contracted, self.as_it_is)]
        if "folds" in tables:
            text += [_head("The same in folds", tables["folds"]), SEEN, say_by_split(tables["folds"])]
            text += [say_function(tables["folds"], self.contracted, self.as_it_is)]
        self.page.write_text("\n\n".join([*text, f"Data: {self.data}."]) + "\n")


def _head(title: str, rows: pd.DataFrame) -> str:
    return f"## {title} (n = {rows['patient'].nunique()})"
