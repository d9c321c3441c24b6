"""The section from ECG to cycle: one 12-lead ECG, and the cycle that was chosen from it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from cof.ecg.record import LEADS, Ecg
from cof.report.artefacts import Missing
from cof.report.plots import Theme
from cof.report.section import Sources

PAPER_MM_PER_S = 25.0
PAPER_MM_PER_MV = 10.0
INCH_MM = 25.4


def context(sources: Sources) -> dict[str, Any]:
    """Return one 12-lead ECG with its chosen cycle: of the first heart shown above, or of the first with a cycle."""
    results, assets = sources.results, sources.assets
    ecgs, beats = results.rows("ecg", ["subject"]), results.rows("beats", ["subject", "low_quality", "irregular"])
    missing = [
        Missing(what, path)
        for found, what, path in ((ecgs, "the parsed ECGs", "ecg"), (beats, "the chosen cycles", "beats"))
        if found is None
    ]
    if ecgs is None or beats is None or beats.empty:
        return {"missing": missing or [Missing("a subject with a chosen cycle", "beats")]}
    names = set(beats["subject"])
    shown = sources.above["hearts"]["subjects"]
    subject = shown[0]["name"] if shown and shown[0]["name"] in names else str(sorted(names)[0])
    strip, cycle = results.row("ecg", subject), results.row("beats", subject)
    if strip is None or cycle is None:
        return {"missing": [Missing(f"the ECG of {subject}", "ecg")]}
    record = Ecg.from_row(strip)
    first, last = int(cycle["first_sample"]), int(cycle["last_sample"])
    beat = np.asarray(cycle["beat"], float).reshape(12, -1)
    seconds = record.signal.shape[1] / record.rate_hz
    strip_alt = (
        f"12-lead ECG of {subject}, {seconds:.0f} s; the chosen cycle lies from {first / record.rate_hz:.2f} s to "
        f"{last / record.rate_hz:.2f} s"
    )
    cycle_alt = f"The chosen cycle in all 12 leads, from one R peak to the next, {cycle['rr_ms']:.0f} ms"
    return {
        "missing": [],
        "subject": subject,
        "strip": assets.figure("ecg", strip_alt, ecg_strip(record.signal, record.rate_hz, first, last)),
        "cycle": assets.figure("cycle", cycle_alt, cardiac_cycle(beat, float(cycle["rr_ms"]))),
        "rr_ms": float(cycle["rr_ms"]),
        "correlation": float(cycle["correlation"]),
        "statements": list(record.statements),
        "low_quality": int(beats["low_quality"].sum()),
        "irregular": int(beats["irregular"].sum()),
        "count": len(beats),
    }


def ecg_strip(signal: np.ndarray, rate_hz: float, first_sample: int, last_sample: int) -> Callable[[Theme], Figure]:
    """Return the figure of a 12-lead ECG (25 mm/s, 10 mm/mV): three rows of four leads and a rhythm strip of lead II.

    Args:
        signal: [12, N] in mV, leads in the order of `cof.ecg.record.LEADS`.
        rate_hz: sampling rate.
        first_sample, last_sample: limits of the chosen cycle, which is marked in every trace that shows it.
    """

    def draw(theme: Theme) -> Figure:
        samples = signal.shape[1]
        seconds = samples / rate_hz
        quarter = seconds / 4
        times = np.arange(samples) / rate_hz
        row_mv = 2.4
        traces = signal - np.median(signal, axis=1, keepdims=True)
        highest = max(traces[lead].max() for lead in range(0, 12, 3))
        height_mv = row_mv * 4 + 0.6 + max(0.0, highest - 0.55 * row_mv)
        figure = Figure(figsize=(seconds * PAPER_MM_PER_S / INCH_MM, height_mv * PAPER_MM_PER_MV / INCH_MM))
        axes = figure.add_axes((0, 0, 1, 1))
        _paper(axes, theme, seconds, height_mv)
        begin, end = first_sample / rate_hz, last_sample / rate_hz
        for row in range(4):
            level = 0.6 + row_mv * (3.38 - row)
            for column in range(4) if row < 3 else range(1):
                lead = column * 3 + row if row < 3 else LEADS.index("II")
                left, right = (column * quarter, (column + 1) * quarter) if row < 3 else (0.0, seconds)
                shown = (times >= left) & (times < right)
                axes.plot(
                    times[shown], level + traces[lead, shown], color=theme.ink, linewidth=0.9, solid_joinstyle="round"
                )
                name = LEADS[lead]
                axes.text(left + 0.05, level + 0.95, name, fontsize=10, fontweight="bold", va="center")
                if column and row < 3:
                    axes.plot([left, left], [level - 0.25, level + 0.25], color=theme.muted, linewidth=0.8)
                marked = max(left, begin), min(right, end)
                if marked[0] < marked[1]:
                    bottom, top = level - row_mv * 0.36, level + row_mv * 0.52
                    axes.fill_between(marked, bottom, top, color=theme.highlight, alpha=0.35, linewidth=0)
        axes.text(seconds - 0.05, 0.12, "25 mm/s, 10 mm/mV", ha="right", fontsize=8, color=theme.muted)
        return figure

    return draw


def _paper(axes: Axes, theme: Theme, seconds: float, height_mv: float) -> None:
    """Draw the grid of ECG paper: small squares of 40 ms by 0.1 mV, large ones of 200 ms by 0.5 mV."""
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, height_mv)
    axes.set_axis_off()
    for across, up, colour, width in (
        (0.04, 0.1, theme.paper_minor, 0.35),
        (0.2, 0.5, theme.paper_major, 0.6),
    ):
        columns, rows = np.arange(0, seconds + 1e-9, across), np.arange(0, height_mv + 1e-9, up)
        lines = [[(x, 0), (x, height_mv)] for x in columns] + [[(0, y), (seconds, y)] for y in rows]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=0), autolim=False)


def cardiac_cycle(beat: np.ndarray, rr_ms: float) -> Callable[[Theme], Figure]:
    """Return the figure of the representative cycle [12, L] in mV over the phase: limb leads beside chest leads."""

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(4.4, 4.6))
        phase = np.arange(beat.shape[1]) / beat.shape[1]
        step = 1.9
        for column, (title, leads) in enumerate((("limb leads", range(6)), ("chest leads", range(6, 12)))):
            axes = figure.add_axes((0.02 + 0.5 * column, 0.11, 0.46, 0.83))
            axes.set_title(title, fontsize=9, color=theme.muted, loc="left")
            for row, lead in enumerate(leads):
                level = -row * step
                axes.axhline(level, color=theme.rule, linewidth=0.6)
                axes.plot(phase, level + beat[lead], color=theme.ink, linewidth=1.0)
                axes.text(0.62, level + 0.5, LEADS[lead], ha="center", fontsize=9, fontweight="bold")
            axes.set_xlim(0, 1)
            axes.set_ylim(-5 * step - 1.2, 1.9)
            axes.set_xticks([0, 0.5, 1], ["R", f"{rr_ms / 2:.0f} ms", "R"])
            axes.get_xticklabels()[0].set_horizontalalignment("left")
            axes.get_xticklabels()[2].set_horizontalalignment("right")
            axes.tick_params(left=False, labelleft=False)
            axes.spines["left"].set_visible(False)
        return figure

    return draw
