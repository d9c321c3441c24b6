"""ECGs in PhysioNet form: a text header (`.hea`) beside its files of samples, read through the `wfdb` package."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from cof.config.data import EcgSettings
from cof.ecg.document import MAX_BYTES
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason

_MAX_HEADER_BYTES = 2**16
_MAX_LINE = 1000
_MAX_SIGNALS = 64
_MAX_SAMPLES = MAX_BYTES // 2
# Uncompressed formats; compressed ones would hand a file's bytes to a native decoder.
_FORMATS = ("8", "16", "24", "32", "61", "80", "160", "212", "310", "311")
_CALIBRATED = re.compile(r"\S+\s+\S+\s+[\d.]*[1-9]")
_TO_MV = {"mv": 1.0, "uv": 1e-3, "v": 1e3}


def read(header: Path, settings: EcgSettings) -> Ecg:
    """The record of a header; its samples must lie in files of the header's own folder.

    Everything that decides how much is read, and from where, is checked before `wfdb` opens a file of samples: it
    would also follow addresses, and allocate whatever a header announces.

    Raises:
        CofError: the header or its samples are missing, broken, compressed, or in unknown units.
    """
    # Imported here, because few cohorts need it.
    import wfdb

    if header.stat().st_size > _MAX_HEADER_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the header is larger than {_MAX_HEADER_BYTES >> 10} KiB")
    stem = str(header.resolve().with_suffix(""))
    if re.search(r"::|[*?\[\]]", stem):
        raise CofError(Reason.ECG_UNREADABLE, "the path of the header holds one of :: * ? [ ], which wfdb interprets")
    _check_lines(header.read_text("latin-1"))
    try:
        _check_extent(wfdb.rdheader(stem), header.resolve().parent)
        record = wfdb.rdrecord(stem)
    except CofError:
        raise
    except Exception as error:  # wfdb raises bare Exceptions, and whatever a malformed field leads to
        raise CofError(Reason.ECG_UNREADABLE, f"wfdb cannot read the record ({type(error).__name__})") from None
    return _ecg(record, settings)


def _check_lines(header: str) -> None:
    """Raise where a line is too long for the package's patterns, or a signal has no gain, for which it assumes one."""
    lines = [line.strip() for line in header.splitlines()]
    if any(len(line) > _MAX_LINE for line in lines):
        raise CofError(Reason.ECG_UNREADABLE, f"a line of the header is longer than {_MAX_LINE} characters")
    signals = [line for line in lines if line and not line.startswith("#")][1:]
    if not all(_CALIBRATED.match(line) for line in signals):
        raise CofError(Reason.ECG_UNITS, "a signal has no gain")


def _check_extent(record: Any, folder: Path) -> None:
    """Raise where a header announces more than an ECG is, or names files outside `folder`."""
    if getattr(record, "n_seg", None) is not None and not hasattr(record, "file_name"):
        raise CofError(Reason.ECG_UNREADABLE, "a record of several segments is not supported")
    if not 0 < record.n_sig <= _MAX_SIGNALS or record.file_name is None or len(record.file_name) != record.n_sig:
        raise CofError(Reason.ECG_UNREADABLE, f"the header announces {record.n_sig} signals")
    if not record.fs or not 50 <= record.fs <= 5000:
        raise CofError(Reason.ECG_UNITS, f"sampling rate {record.fs} Hz is not understood")
    if set(record.fmt) - set(_FORMATS):
        raise CofError(Reason.ECG_UNREADABLE, "samples are compressed or in an unknown format")
    if any(count not in (None, 1) for count in record.samps_per_frame) or any(record.skew):
        raise CofError(Reason.ECG_UNREADABLE, "leads of different rates or shifted against each other")
    if not 0 < (record.sig_len or 0) * record.n_sig <= _MAX_SAMPLES:
        raise CofError(Reason.ECG_UNREADABLE, f"the header announces {record.sig_len} samples a lead")
    for name in set(record.file_name):
        path = folder / name
        if Path(name).name != name or not path.resolve().is_relative_to(folder):
            raise CofError(Reason.ECG_UNREADABLE, "the header names a file outside its folder")
        if not path.is_file():
            raise CofError(Reason.ECG_MISSING, "a file of samples that the header names is not there")
        if path.stat().st_size > MAX_BYTES:
            raise CofError(Reason.ECG_UNREADABLE, f"a file of samples is larger than {MAX_BYTES >> 20} MiB")


def _ecg(record: Any, settings: EcgSettings) -> Ecg:
    leads: dict[str, np.ndarray] = {}
    steps = []
    for index, label in enumerate(record.sig_name):
        name = canonical(label or "")
        if name is None:
            continue
        if name in leads:
            raise CofError(Reason.ECG_UNREADABLE, f"lead {name} occurs twice")
        gain = record.adc_gain[index]
        factor = _TO_MV.get((record.units[index] or "").lower())
        if factor is None or not gain or not 1e-3 <= gain / factor <= 1e7:
            raise CofError(Reason.ECG_UNITS, f"lead {name} has {gain} counts per {str(record.units[index])[:20]!r}")
        leads[name] = record.p_signal[:, index] * factor
        steps.append(factor / gain)
    comments = [str(line) for line in record.comments or ()]
    return Ecg(
        signal=assemble(leads, float(record.fs), settings),
        rate_hz=float(record.fs),
        recorded=tuple(leads),
        lsb_mv=max(steps),
        measurements=_age(comments),
        source=f"WFDB format {record.fmt[0]}",
    )


def _age(comments: list[str]) -> dict[str, float]:
    """The age that many headers state in a comment."""
    found = (re.fullmatch(r"(?i)\s*<?age>?\s*:\s*(\d{1,3})\s*", line) for line in comments)
    return next(({"age_y": float(match[1])} for match in found if match), {})
