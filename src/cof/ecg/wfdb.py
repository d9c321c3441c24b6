"""Reader of ECGs in PhysioNet form: a text header (`.hea`) beside its sample files, read by the `wfdb` package."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from cof.config.data import EcgSettings
from cof.ecg.document import MAX_BYTES
from cof.ecg.gaps import without_gaps
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason, raise_if_broken

_MAX_HEADER_BYTES = 2**16
_MAX_LINE = 1000
_MAX_SIGNALS = 64
_MAX_SEGMENTS = 100
_MAX_SKEW_S = 1.0
_MAX_SAMPLES = MAX_BYTES // 2
# Only uncompressed formats: compressed ones would pass a file's bytes to a native decoder.
_FORMATS = ("8", "16", "24", "32", "61", "80", "160", "212", "310", "311")
_CALIBRATED = re.compile(r"\S+\s+\S+\s+[\d.]*[1-9]")
_COMMA = re.compile(r"\S+\s+\d+\s+\d+,\d")  # in the sampling rate of the first line
_GAIN_COMMA = re.compile(r"\S+\s+\S+\s+\d+,\d")
_TO_MV = {"mv": 1.0, "uv": 1e-3, "v": 1e3}
_NOTHING = "~"  # the name of a segment or file that is absent on purpose


def read(header: Path, settings: EcgSettings) -> Ecg:
    """Read the record of a header. Its sample files and segments must lie in the header's own folder.

    Everything that decides how much is read, and from where, is checked before `wfdb` opens a sample file: `wfdb` would
    also follow internet addresses, and allocate whatever a header announces.

    Raises:
        CofError: the header or its samples are missing, broken, compressed, of unequal rates, or in unknown units.
    """
    header = header.resolve()
    stem = str(header.with_suffix(""))
    if re.search(r"::|[*?\[\]]", stem):
        raise CofError(Reason.ECG_UNREADABLE, "the path of the header holds one of :: * ? [ ], which wfdb interprets")
    try:
        parts = _parts(header)
    except CofError:
        raise
    except Exception as error:  # wfdb raises bare Exceptions, and any error that a malformed field causes
        raise_if_broken(error)
        raise CofError(Reason.ECG_UNREADABLE, f"wfdb cannot read the record ({type(error).__name__})") from None
    return _ecg(parts, settings)


def _parts(header: Path) -> list[Any]:
    """Read the parts of a record in order: the record itself, or its segments; for a gap, its length in frames."""
    # Imported here, because few cohorts need it.
    import wfdb

    whole = _checked(header)
    if not _segments(whole):
        # By default wfdb averages frames of several samples.
        return [wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)]
    parts: list[Any] = []
    for number, (name, length) in enumerate(zip(whole.seg_name, whole.seg_len), 1):
        file = header.parent / f"{name}.hea"
        if name == _NOTHING:
            parts.append(length)
        elif length:  # a segment without samples only describes the layout
            if not file.is_file():
                raise CofError(
                    Reason.ECG_MISSING, f"segment {number} of {whole.n_seg} has no header beside that of the record"
                )
            segment = _checked(file)
            if _segments(segment) or segment.fs != whole.fs or segment.sig_len != length:
                raise CofError(
                    Reason.ECG_UNREADABLE,
                    f"segment {number} has another rate or length than the header announces, or segments of its own",
                )
            parts.append(wfdb.rdrecord(str(file.with_suffix("")), smooth_frames=False))
    return parts


def _checked(header: Path) -> Any:
    """Return a header as `wfdb` reads it, checked before any sample is read."""
    import wfdb

    if header.stat().st_size > _MAX_HEADER_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the header is larger than {_MAX_HEADER_BYTES >> 10} KiB")
    lines = [line.strip() for line in header.read_text("latin-1").splitlines()]
    if any(len(line) > _MAX_LINE for line in lines):
        raise CofError(Reason.ECG_UNREADABLE, f"a line of the header is longer than {_MAX_LINE} characters")
    told = [line for line in lines if line and not line.startswith("#")]
    if any(_COMMA.match(line) for line in told[:1]) or any(_GAIN_COMMA.match(line) for line in told[1:]):
        raise CofError(
            Reason.ECG_UNREADABLE, "a number of the header has a decimal comma: write it with a decimal point"
        )
    record = wfdb.rdheader(str(header.with_suffix("")))
    _check_extent(record)
    if not _segments(record):
        _check_gains(told[1:], record)
        _check_files(record, header.parent)
    return record


def _segments(record: Any) -> list[str]:
    """Return the names of the segments of a record, without gaps; none where the record holds its own samples."""
    return [name for name in getattr(record, "seg_name", None) or () if name != _NOTHING]


def _check_extent(record: Any) -> None:
    """Raise where a header announces more than an ECG can hold, or something that is not read."""
    if not 0 < record.n_sig <= _MAX_SIGNALS:
        raise CofError(
            Reason.ECG_UNREADABLE, f"the header announces {record.n_sig} signals; allowed are 1 to {_MAX_SIGNALS}"
        )
    if not record.fs or not 0 < record.fs <= 5000:
        raise CofError(Reason.ECG_UNITS, f"sampling rate {record.fs} Hz is not understood")
    segments = _segments(record)
    if not record.sig_len and set(getattr(record, "file_name", None) or ()) != {_NOTHING}:
        raise CofError(
            Reason.ECG_UNREADABLE,
            "the header states no number of samples, the fourth word of its first line",
        )
    if not 0 <= (record.sig_len or 0) * record.n_sig <= _MAX_SAMPLES:
        raise CofError(
            Reason.ECG_UNREADABLE, f"the header announces {record.sig_len} samples per lead, too many for an ECG"
        )
    if segments:
        if len(record.seg_name) > _MAX_SEGMENTS or any(Path(name).name != name for name in segments):
            raise CofError(
                Reason.ECG_UNREADABLE, f"the record has more than {_MAX_SEGMENTS} segments, or some outside its folder"
            )
    elif record.file_name is None or len(record.file_name) != record.n_sig:
        raise CofError(Reason.ECG_UNREADABLE, f"the header announces {record.n_sig} signals, but does not list as many")


def _check_gains(lines: list[str], record: Any) -> None:
    """Raise where a lead has no gain, since `wfdb` would assume one."""
    for line, label in zip(lines, record.sig_name):
        if canonical(label or "") and not _CALIBRATED.match(line):
            raise CofError(Reason.ECG_UNITS, f"lead {label} is not calibrated: its line in the header has no gain")


def _check_files(record: Any, folder: Path) -> None:
    """Raise where samples lie outside `folder`, are in a format that is not read, or are too many for an ECG."""
    leads = [index for index, label in enumerate(record.sig_name) if canonical(label or "")]
    if set(record.fmt) - set(_FORMATS):
        raise CofError(Reason.ECG_UNREADABLE, "samples are compressed or in an unknown format")
    frame = [record.samps_per_frame[index] or 1 for index in leads]
    if len(set(frame)) > 1:
        raise CofError(
            Reason.ECG_UNREADABLE,
            f"leads have {' and '.join(map(str, sorted(set(frame))))} samples per frame; resample them to one rate",
        )
    if not 0 < sum(count or 1 for count in record.samps_per_frame) * (record.sig_len or 1) <= _MAX_SAMPLES:
        raise CofError(Reason.ECG_UNREADABLE, f"the header announces more than {_MAX_SAMPLES} samples")
    if any(shift and not 0 <= shift <= _MAX_SKEW_S * record.fs for shift in record.skew):
        raise CofError(Reason.ECG_UNREADABLE, f"leads are shifted against each other by more than {_MAX_SKEW_S:g} s")
    for name in set(record.file_name) - {_NOTHING}:
        path = folder / name
        if Path(name).name != name or not path.resolve().is_relative_to(folder):
            raise CofError(Reason.ECG_UNREADABLE, "the header names a file outside its folder")
        if not path.is_file():
            raise CofError(Reason.ECG_MISSING, "a sample file that the header names does not exist")
        if path.stat().st_size > MAX_BYTES:
            raise CofError(Reason.ECG_UNREADABLE, f"a sample file is larger than {MAX_BYTES >> 20} MiB")


def _ecg(parts: list[Any], settings: EcgSettings) -> Ecg:
    records = [part for part in parts if not isinstance(part, int)]
    read = [_leads(record) for record in records]
    rates = {rate for _, rate, _ in read}
    if len(rates) != 1 or not 50 <= max(rates) <= 5000:
        found = ", ".join(f"{rate:g}" for rate in sorted(rates))
        raise CofError(Reason.ECG_UNITS, f"sampling rate {found} Hz is not understood")
    rate = rates.pop()
    lengths = [round((part if isinstance(part, int) else part.sig_len) * rate / records[0].fs) for part in parts]
    names = list(dict.fromkeys(name for leads, _, _ in read for name in leads))
    rest = iter(read)
    if sum(lengths) * len(names) > _MAX_SAMPLES:
        raise CofError(Reason.ECG_UNREADABLE, f"the record has more than {_MAX_SAMPLES} samples")
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for part, length in zip(parts, lengths):
        present = {} if isinstance(part, int) else next(rest)[0]
        for name in names:
            pieces[name].append(present.get(name, np.full(length, np.nan)))
    leads, repairs = without_gaps({name: np.concatenate(pieces[name]) for name in names}, rate, settings)
    comments = [str(line) for record in records for line in record.comments or ()]
    return Ecg(
        signal=assemble(leads, rate, settings),
        rate_hz=rate,
        recorded=tuple(leads),
        lsb_mv=max(step for _, _, step in read),
        measurements=_age(comments),
        source=f"WFDB format {records[0].fmt[0]}",
        repairs=repairs,
    )


def _leads(record: Any) -> tuple[dict[str, np.ndarray], float, float]:
    """Return the leads of a record in mV by name, their rate in Hz, and the size of the largest count in mV."""
    leads: dict[str, np.ndarray] = {}
    steps, rate = [0.0], float(record.fs)
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
        leads[name] = record.e_p_signal[index] * factor
        steps.append(factor / gain)
        rate = float(record.fs) * (record.samps_per_frame[index] or 1)
    return leads, rate, max(steps)


def _age(comments: list[str]) -> dict[str, float]:
    """Return the age that many headers state in a comment."""
    found = (re.fullmatch(r"(?i)\s*<?age>?\s*:\s*(\d{1,3})\s*", line) for line in comments)
    return next(({"age_y": float(match[1])} for match in found if match), {})
