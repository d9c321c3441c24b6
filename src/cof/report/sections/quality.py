"""The section of quality: every measure over the cohort with its limits, and the subjects to check."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cof.quality.catalogue import MEASURES
from cof.report.artefacts import SPLITS, Missing
from cof.report.judged import Judged, limit_text, value_text
from cof.report.plots import Theme
from cof.report.section import Sources

# Largest number of subjects that the page lists; the table of all subjects has the rest.
SHOWN = 50


def context(sources: Sources) -> dict[str, Any]:
    """Return every measure's distribution, limits and number of subjects beyond them, and the flagged subjects."""
    results, judged = sources.results, sources.judged
    checked = results.rows("plausibility", ["subject"]) is not None
    found: dict[str, Any] = {"flagged": _flagged(judged, sources.remarks, checked), "count": len(judged)}
    if not judged:
        return found | {"missing": [Missing("the measures of quality", "quality")], "measures": []}
    limits = results.config.quality
    table = pd.DataFrame([subject.values for subject in judged])
    measures, panels = [], []
    for measure in MEASURES:
        known = table[measure.key].dropna().to_numpy()
        flag, exclude = getattr(limits.flag, measure.key), getattr(limits.exclude, measure.key)
        low, median, high = np.percentile(known, (5, 50, 95)) if len(known) else (np.nan,) * 3
        unit = f" ({measure.unit})" if measure.unit else ""
        panels.append((measure.label + unit, known, flag))
        measures.append(
            vars(measure)
            | {
                "median": value_text(measure, median),
                "range": f"{value_text(measure, low)} to {value_text(measure, high)}" if len(known) else "",
                "flag": limit_text(measure, flag),
                "exclude": limit_text(measure, exclude),
                "flagged": sum(measure in subject.flags for subject in judged),
                "excluded": sum(measure in subject.excluded for subject in judged),
            }
        )
    alt = "Histograms of the measures of quality; the table below has their medians and percentiles"
    figure = sources.assets.figure("quality", alt, distributions(panels))
    return found | {"missing": [], "measures": measures, "figure": figure}


def _flagged(judged: list[Judged], said: dict[str, list[str]], checked: bool) -> dict[str, Any]:
    """Return the subjects with remarks, those with the most remarks first.

    Args:
        judged: all measured subjects.
        said: remarks by subject.
        checked: whether the run holds the results of the plausibility checks.
    """
    splits = {subject.name: SPLITS[subject.split] for subject in judged}
    order = sorted(said, key=lambda name: (-len(said[name]), name))
    rows = [(name, splits[name], said[name]) for name in order[:SHOWN]]
    doubted = sum(bool(subject.doubts) for subject in judged)
    return {"rows": rows, "count": len(said), "doubted": doubted, "of": len(judged), "checked": checked}


def distributions(panels: Sequence[tuple[str, np.ndarray, float | None]]) -> Callable[[Theme], Figure]:
    """Return the figure of histograms over the cohort, one panel per measure.

    Args:
        panels: title, values without NaN, and the limit to draw or None.
    """

    def draw(theme: Theme) -> Figure:
        across = min(4, len(panels))
        down = -(-len(panels) // across)
        figure = Figure(figsize=(2.15 * across, 1.3 * down), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (title, values, limit) in zip(grid, panels):
            axes.set_title(title, fontsize=9, loc="left")
            if len(values):
                axes.hist(values, bins=min(30, max(5, len(values) // 4)), color=theme.real, alpha=0.85)
            if limit is not None:
                axes.axvline(limit, color=theme.generated, linewidth=1.4, linestyle=(0, (4, 2)))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        return figure

    return draw
