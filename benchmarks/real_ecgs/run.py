"""Real ECGs through reader, checks and representative cycle: a figure and a table.

Run with `--help`; README.md explains the output.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cof.config.data import BeatSettings, EcgSettings
from cof.ecg.checks import check
from cof.ecg.cycle import Cycle, preprocess, representative_cycle
from cof.ecg.peaks import find_r_peaks
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS, Ecg
from cof.errors import CofError

BEATS = BeatSettings()
NAN = float("nan")


def row(name: str, ecg: Ecg, cycle: Cycle) -> dict[str, object]:
    """Return one row of the table: our beats beside the device's values, and the checks of the recording."""
    found = check(ecg, EcgSettings())
    return {
        "ecg": name,
        "source": ecg.source,
        "rate_hz": ecg.rate_hz,
        "beats": cycle.beats,
        "mean_rate_bpm": round(cycle.mean_rate_bpm, 1),
        "device_rate_bpm": ecg.measurements.get("ventricular_rate_bpm", NAN),
        "rr_ms": cycle.rr_ms,
        "correlation": round(cycle.correlation, 3),
        "irregular": cycle.irregular,
        "ectopic_beats": cycle.ectopic_beats,
        "p_axis_deg": round(cycle.measured_p_axis_deg, 0),
        "device_p_axis_deg": ecg.measurements.get("p_axis_deg", NAN),
        "qrs_axis_deg": round(cycle.measured_qrs_axis_deg, 0),
        "device_qrs_axis_deg": ecg.measurements.get("r_axis_deg", NAN),
        "suspected_reversal": cycle.suspected_reversal,
        "einthoven_lsb": round(found.einthoven_lsb, 1),
        "goldberger_lsb": round(found.goldberger_lsb, 1),
        "flat_leads": " ".join(found.flat_leads),
        "clipped_leads": " ".join(found.clipped_leads),
    }


def draw(axes: tuple[plt.Axes, plt.Axes], name: str, ecg: Ecg, cycle: Cycle) -> None:
    """Draw lead II with R peaks and the chosen cycle, and beside it the cycle in leads II, V2 and V5."""
    strip, beat = axes
    clean = preprocess(ecg.signal, ecg.rate_hz, ecg.filters, BEATS)
    peaks = find_r_peaks(clean, ecg.rate_hz, ecg.measurements.get("ventricular_rate_bpm"), BEATS.rate_tolerance)
    seconds = np.arange(clean.shape[1]) / ecg.rate_hz
    lead = clean[LEADS.index("II")]
    strip.plot(seconds, lead, color="black", linewidth=0.6)
    strip.plot(seconds[peaks], lead[peaks], "v", color="tab:red", markersize=4)
    strip.axvspan(cycle.first_sample / ecg.rate_hz, cycle.last_sample / ecg.rate_hz, color="tab:blue", alpha=0.15)
    strip.set(xlim=(0, seconds[-1]), ylabel="II, mV")
    strip.set_title(
        f"{name}: {cycle.mean_rate_bpm:.0f} beats/min, RR {cycle.rr_ms:.0f} ms, correlation {cycle.correlation:.3f}",
        fontsize=8,
        loc="left",
    )
    phase = np.arange(cycle.beat.shape[1]) / cycle.beat.shape[1]
    for shown, colour in (("II", "black"), ("V2", "tab:orange"), ("V5", "tab:green")):
        beat.plot(phase, cycle.beat[LEADS.index(shown)], color=colour, linewidth=0.8, label=shown)
    beat.axhline(0, color="grey", linewidth=0.4)
    beat.set(xlim=(0, 1))


def main() -> None:
    """Read the ECG files and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="ECG files of any kind that `cof` reads")
    parser.add_argument("--out", type=Path, required=True, help="folder for table.csv, table.md and real_ecgs.png")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    usable = []
    for path in arguments.files:
        try:
            ecg = read_ecg(path)
            cycle = representative_cycle(ecg, BEATS)
            rows.append(row(path.stem, ecg, cycle))
            usable.append((path.stem, ecg, cycle))
        except CofError as error:
            rows.append({"ecg": path.stem, "source": f"not usable ({error.reason}): {error}"})
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "table.csv", index=False)
    (arguments.out / "table.md").write_text(table.fillna("").to_markdown(index=False) + "\n")
    if not usable:
        return
    figure, axes = plt.subplots(
        len(usable), 2, figsize=(11, 1.4 * len(usable) + 0.6), squeeze=False, width_ratios=(4, 1), layout="constrained"
    )
    for pair, entry in zip(axes, usable):
        draw(pair, *entry)
    axes[-1, 0].set_xlabel("s; triangles: R peaks, shaded: the chosen cycle")
    axes[-1, 1].set_xlabel("phase of the cycle")
    axes[0, 1].legend(fontsize=7, frameon=False, ncols=3)
    figure.savefig(arguments.out / "real_ecgs.png", dpi=110)


if __name__ == "__main__":
    main()
