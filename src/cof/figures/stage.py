"""The stage that draws one figure."""

import json
import logging
from pathlib import Path
from typing import Annotated, Any, Protocol

import pandas as pd
import typer
from matplotlib.figure import Figure

from cof.artefacts.folders import whole_file
from cof.artefacts.markup import markdown_lines
from cof.artefacts.provenance import versions
from cof.config.evaluation import EvaluationSettings
from cof.config.figures import FIGURES, FigureSettings
from cof.config.metrics import DEFINITIONS_VERSION
from cof.errors import UsageError
from cof.figures import agreement, bullseye, cases, categories, curves, panel, slice_ranks, spacing, style
from cof.figures.sources import NotDrawn, Sources
from cof.options import ConfigHash, Read, Results, SettingsOf, SettingsText, says
from cof.outputs import Form
from cof.progress import Progress

log = logging.getLogger(__name__)


class Drawing(Protocol):
    """A module that makes one figure."""

    def data(self, sources: Sources) -> pd.DataFrame:
        """Return the numbers that are drawn, in a table that becomes the CSV file; raise `NotDrawn` if none exist."""

    def draw(self, frame: pd.DataFrame, sources: Sources) -> Figure:
        """Return the picture of the numbers; raise `NotDrawn` if there are too few."""

    def remark(self, frame: pd.DataFrame, sources: Sources) -> str:
        """Return the end of the caption: how many subjects there are, and what is missing."""

    def numbers(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table of text for people, with headings; empty if the picture shows all."""


DRAWINGS: dict[str, Drawing] = {
    "slice_ranks": slice_ranks,
    "spacing": spacing,
    "categories": categories,
    "agreement": agreement,
    "curves": curves,
    "cases": cases,
    "panel": panel,
    "bullseye": bullseye,
}


def figure_named(name: str) -> str:
    """Return the name of a figure.

    Raises:
        UsageError: no figure has this name.
    """
    if name not in FIGURES:
        raise UsageError(f"there is no figure '{name}'; known: {', '.join(FIGURES)}")
    return name


@says(
    lambda drawn, given: f"{given['out']}.svg, .png, .csv, .md and .json{'' if drawn else ': not drawn, they say why'}"
)
def make_figure(
    *,
    name: Annotated[str, typer.Argument(help=f"Name of the figure: {', '.join(FIGURES)}."), Read(str, figure_named)],
    results: Results,
    settings: SettingsOf[FigureSettings],
    out: Annotated[Path, typer.Option(help="Path of the result without .svg, .png, .csv, .md or .json."), Form.FIGURE],
    evaluation: Annotated[EvaluationSettings, typer.Option(help="Settings of the evaluation."), SettingsText()],
    config_hash: ConfigHash = "",
) -> bool:
    """Draw one figure of the paper; write its picture, its numbers and its caption.

    Args:
        name, out, config_hash: as annotated.
        results: results folder; only its metrics, tables and hearts are read, so nothing is computed again.
        settings: settings of the figures, with the model named.
        evaluation: number of resamples and their seed.

    Returns:
        Whether the figure could be drawn; otherwise the picture, the caption and the JSON file say why not.

    Raises:
        UsageError: no model is named, or the results folder lacks a file that the figure reads.
    """
    if settings.model is None:
        raise UsageError("--settings: model: name the model whose hearts are drawn")
    told, drawing = FIGURES[name], DRAWINGS[name]
    sources = Sources(results, settings, evaluation)
    frame, reason = pd.DataFrame(), ""
    with Progress(f"figure {name}", None), style.printed():
        try:
            frame = drawing.data(sources)
            picture = drawing.draw(frame, sources)
        except NotDrawn as error:
            reason = str(error)
            picture = style.notice(told.title, reason)
        images = style.encoded(picture)
    ending = f"Not drawn: {reason}." if reason else drawing.remark(frame, sources)
    numbers = pd.DataFrame() if frame.empty else drawing.numbers(frame)
    record = {
        "name": name,
        "title": told.title,
        "caption": f"{told.caption} {ending}".strip(),
        "drawn": not reason,
        "reason": reason,
        "numbers": {"headings": list(numbers.columns), "rows": numbers.to_numpy().tolist()},
        "model": settings.model,
        "settings": settings.model_dump(mode="json"),
        "bootstrap": {"replicates": evaluation.bootstrap, "seed": evaluation.seed},
        "definitions": DEFINITIONS_VERSION,
        "config_hash": config_hash,
        "versions": versions(),
    }
    written = images | {
        ".csv": frame.assign(config_hash=config_hash).to_csv(index=False, float_format="%.6g").encode(),
        ".md": _markdown(record).encode(),
        ".json": json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False).encode(),
    }
    for suffix, content in written.items():
        with whole_file(out.with_name(out.name + suffix)) as aside:
            aside.write_bytes(content)
    log.info("figure %s: %s", name, reason or "drawn")
    return not reason


def _markdown(record: dict[str, Any]) -> str:
    """Return caption and numbers as Markdown."""
    lines = [f"# {record['title']}", "", record["caption"], ""]
    if record["numbers"]["rows"]:
        lines += [*markdown_lines(record["numbers"]["headings"], record["numbers"]["rows"]), ""]
    made_by = f"chain-of-flow {record['versions']['chain-of-flow']}"
    return "\n".join([*lines, f"Model {record['model']}. Configuration {record['config_hash']}; {made_by}.", ""])
