"""The one record type that every ECG reader returns, and its form as a table row."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Device measurements that travel with the record, by column name; the suffix is the unit.
MEASUREMENTS = (
    "ventricular_rate_bpm", "pq_ms", "p_duration_ms", "qrs_ms", "qt_ms", "qtc_ms", "rr_ms",
    "p_axis_deg", "r_axis_deg", "t_axis_deg", "age_y", "height_cm", "weight_kg",
)  # fmt: skip

_LONGEST_STATEMENT, _MOST_STATEMENTS = 500, 100

# Factors from the units of files to ours, by the suffix of the measurement's name.
_UNITS: dict[str, dict[str, float]] = {
    "bpm": {"bpm": 1, "/min": 1, "{h.b.}/min": 1, "{beats}/min": 1},
    "ms": {"ms": 1, "s": 1000},
    "deg": {"degrees": 1, "degree": 1, "deg": 1},
    "y": {"years": 1, "a": 1, "months": 1 / 12},
    "cm": {"centimeters": 1, "cm": 1, "inches": 2.54, "meters": 100, "m": 100},
    "kg": {"kilograms": 1, "kg": 1, "pounds": 0.45359237},
}


def convert(name: str, value: float | None, unit: str) -> float | None:
    """Return a measurement in the unit that its `name` ends with; None where `value` is None or `unit` is unknown."""
    factor = _UNITS[name.rpartition("_")[2]].get(unit.lower())
    return None if value is None or factor is None else value * factor


def stated_sex(text: str) -> str:
    """Return "M" or "F" from what a file states; "" where it states neither."""
    return {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}.get(text.strip().upper(), "")


def clean_statements(lines: Iterable[str]) -> tuple[str, ...]:
    """Remove ornaments (`*`), empty statements, and text beyond the length that any device writes."""
    kept = (line[:_LONGEST_STATEMENT].replace("*", "").replace("&", "and").strip() for line in lines)
    return tuple(islice(filter(None, kept), _MOST_STATEMENTS))


@dataclass(frozen=True)
class Ecg:
    """A resting 12-lead ECG.

    Attributes:
        signal: float32 [12, N] in mV, leads in the order of `LEADS`.
        rate_hz: sampling rate.
        measurements: values that the device measured or was given, by the names of `MEASUREMENTS`; absent values are
            left out.
        statements: the device's interpretation, one statement per entry.
        device: model and software version, as the file states them.
        filters: the file's filter settings as text, for example {"Filter50Hz": "No"}.
        recorded: the leads that the file holds; the others are derived from I and II.
        lsb_mv: size of one count of the file in mV (of the coarsest lead): the resolution of the signal.
        source: format and part of the file that the signal comes from, for example "CardioSoft StripData".
        sex: "M" or "F" as the file states it, "" where it does not.
        pacing_spikes: number of pacemaker spikes that were found, and bridged in `signal`.
        repairs: repairs of the recorded signal, one sentence per entry.
    """

    signal: np.ndarray
    rate_hz: float
    measurements: dict[str, float] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    device: str = ""
    filters: dict[str, str] = field(default_factory=dict)
    recorded: tuple[str, ...] = LEADS
    lsb_mv: float = 0.001
    source: str = ""
    sex: str = ""
    pacing_spikes: int = 0
    repairs: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """Return the record as plain values for one row of `ecg/{batch}.parquet`; the signal is flattened by lead."""
        row: dict[str, Any] = {
            "signal": self.signal.astype(np.float32).ravel(),
            "rate_hz": float(self.rate_hz),
            "recorded_leads": [lead for lead in LEADS if lead in self.recorded],
            "lsb_mv": float(self.lsb_mv),
            "statements": list(self.statements),
            "source": self.source,
            "device": self.device,
            "sex": self.sex,
            "filters": "; ".join(f"{key}={value}" for key, value in sorted(self.filters.items())),
            "pacing_spikes": int(self.pacing_spikes),
            "repairs": list(self.repairs),
        }
        return row | {name: self.measurements.get(name, float("nan")) for name in MEASUREMENTS}

    @classmethod
    def from_row(cls, row: Any) -> "Ecg":
        """Make a record from a pandas row or a mapping, as the inverse of `to_row`."""
        return cls(
            signal=np.asarray(row["signal"], np.float32).reshape(12, -1),
            rate_hz=float(row["rate_hz"]),
            recorded=tuple(row["recorded_leads"]),
            lsb_mv=float(row["lsb_mv"]),
            measurements={name: float(row[name]) for name in MEASUREMENTS if np.isfinite(row[name])},
            statements=tuple(row["statements"]),
            source=row["source"],
            device=row["device"],
            sex=row["sex"],
            filters=dict(item.split("=", 1) for item in row["filters"].split("; ") if "=" in item),
            pacing_spikes=int(row["pacing_spikes"]),
            repairs=tuple(row["repairs"]),
        )
