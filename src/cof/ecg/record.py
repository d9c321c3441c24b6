"""The one record type that every ECG reader returns, and its form as a table row."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Device measurements that travel with the record, by column name; the suffix is the unit.
MEASUREMENTS = (
    "ventricular_rate_bpm", "pq_ms", "p_duration_ms", "qrs_ms", "qt_ms", "qtc_ms", "rr_ms",
    "p_axis_deg", "r_axis_deg", "t_axis_deg",
)  # fmt: skip


@dataclass(frozen=True)
class Ecg:
    """A resting 12-lead ECG.

    Attributes:
        signal: float32 [12, N] in mV, leads in the order of `LEADS`.
        rate_hz: sampling rate.
        measurements: device measurements by the names of `MEASUREMENTS`; absent ones are missing.
        statements: the device's interpretation, one statement an entry.
        device: model and software version, as the file states them.
        filters: the file's filter settings as text, for example {"Filter50Hz": "No"}.
    """

    signal: np.ndarray
    rate_hz: float
    measurements: dict[str, float] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    device: str = ""
    filters: dict[str, str] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """The record as plain values for one row of `ecg/{batch}.parquet`; the signal is flattened lead by lead."""
        row: dict[str, Any] = {
            "signal": self.signal.astype(np.float32).ravel(),
            "rate_hz": float(self.rate_hz),
            "statements": list(self.statements),
            "device": self.device,
            "filters": "; ".join(f"{key}={value}" for key, value in sorted(self.filters.items())),
        }
        return row | {name: self.measurements.get(name, float("nan")) for name in MEASUREMENTS}

    @classmethod
    def from_row(cls, row: Any) -> "Ecg":
        """The inverse of `to_row`, from a pandas row or a mapping."""
        measured = {name: float(row[name]) for name in MEASUREMENTS if np.isfinite(row[name])}
        filters = dict(item.split("=", 1) for item in row["filters"].split("; ") if "=" in item)
        signal = np.asarray(row["signal"], np.float32).reshape(12, -1)
        return cls(signal, float(row["rate_hz"]), measured, tuple(row["statements"]), row["device"], filters)
