"""ECGs in PhysioNet form: a text header (`.hea`) that names one file of samples (MATLAB 4, or format 16 `.dat`)."""

import re
from pathlib import Path

import numpy as np

from cof.config import EcgSettings
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason

_MAX_BYTES = 32 * 2**20
_SIGNAL = re.compile(
    r"(?P<file>\S+)\s+16(?:x1)?(?:\+(?P<offset>\d+))?\s+(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+(?P<resolution>\d+)(?:\s+(?P<zero>-?\d+))?)?.*\s(?P<name>\S+)\s*$"
)


def read(header: Path, settings: EcgSettings) -> Ecg:
    """The record of a header; samples are interleaved 16-bit integers (format 16) behind an optional offset.

    Raises:
        CofError: the header or its samples are missing, broken or implausible.
    """
    lines = [line for line in header.read_text("latin-1").splitlines() if line.strip() and not line.startswith("#")]
    first = lines[0].split() if lines else []
    try:
        count, rate, samples = int(first[1]), float(first[2].split("/")[0]), int(first[3])
    except (IndexError, ValueError):
        raise CofError(Reason.ECG_UNREADABLE, "the first line of the header is not understood") from None
    if not 0 < count <= 64 or samples <= 0:
        raise CofError(Reason.ECG_UNREADABLE, f"the header announces {count} signals of {samples} samples")
    if not 50 <= rate <= 5000:
        raise CofError(Reason.ECG_UNITS, f"sampling rate {rate:g} Hz is not understood")
    signals = [_SIGNAL.match(line) for line in lines[1 : count + 1]]
    if len(signals) != count or not signals or not all(signals):
        raise CofError(Reason.ECG_UNREADABLE, "the header describes signals in a form that is not supported")
    found = [match.groupdict() for match in signals if match]
    counts = _samples(header, found[0], count, samples)
    leads: dict[str, np.ndarray] = {}
    for entry, values in zip(found, counts):
        name = canonical(entry["name"])
        if (entry["unit"] or "mV").lower() != "mv":
            raise CofError(Reason.ECG_UNITS, f"lead {entry['name']} is in {entry['unit']!r}, not in mV")
        gain, baseline = _number(entry["gain"]), _number(entry["baseline"] or entry["zero"] or "0")
        if not gain > 0:
            raise CofError(Reason.ECG_UNITS, f"lead {entry['name']} has the gain {entry['gain']}")
        if name is not None:
            leads[name] = (values - baseline) / gain
    lsb_mv = 1 / min(_number(entry["gain"]) for entry in found)
    return Ecg(signal=assemble(leads, lsb_mv, rate, settings), rate_hz=rate, device="WFDB")


def _samples(header: Path, entry: dict[str, str], count: int, samples: int) -> np.ndarray:
    """Counts of all signals, [count, samples]."""
    # Only the bare name counts: a header cannot point outside its own folder.
    path = header.parent / Path(entry["file"].replace("\\", "/")).name
    if not path.is_file():
        raise CofError(Reason.ECG_MISSING, "the file of samples that the header names is not there")
    if path.stat().st_size > _MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {_MAX_BYTES >> 20} MiB")
    values = path.read_bytes()[int(entry["offset"] or 0) :]
    if len(values) < 2 * count * samples:
        raise CofError(Reason.ECG_UNREADABLE, f"{len(values) // 2} samples, the header announces {count * samples}")
    return np.frombuffer(values[: 2 * count * samples], "<i2").reshape(samples, count).T.astype(float)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise CofError(Reason.ECG_UNREADABLE, f"{value!r} in the header is no number") from None
