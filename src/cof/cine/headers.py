"""Reader of DICOM headers: series, kind and moment of a frame."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from cof.cine.elements import Elements, Unreadable

# Word in the kind of a synthetic image: a value of its ImageType, or added if SyntheticData is YES.
SYNTHETIC = "SYNTHETIC"

_GE_CREATOR, _GE_KINDS = "GEMS_PARM_01", {1: "PHASE", 2: "REAL", 3: "IMAGINARY"}


@dataclass(frozen=True)
class Series:
    """The series of an image; None where the file does not say.

    Attributes:
        uid, description, number: UID, description and number of the series.
        names: description and the names of protocol and sequence, in one text.
        begun_s: date and time of its start, in seconds; only the order of two values has a meaning.
    """

    uid: str
    description: str
    names: str
    number: float | None
    begun_s: float | None


@dataclass(frozen=True)
class Moment:
    """When a frame was recorded; None where the file does not say.

    Attributes:
        trigger_ms: time after the R peak.
        position: number of the frame within the cycle.
        percent: phase within the cycle.
        instance: number within the series, or within an enhanced file.
        file: number of the enhanced file within the series.
        acquisition: number of the acquisition.
        acquired_s, content_s: date and time of acquisition and of the image, in seconds that are comparable.
    """

    trigger_ms: float | None = None
    position: float | None = None
    percent: float | None = None
    instance: int | None = None
    file: int | None = None
    acquisition: float | None = None
    acquired_s: float | None = None
    content_s: float | None = None


def numbers(text: str, name: str, count: int | None, commas: Counter[str]) -> list[float]:
    """Read the numbers of a decimal string.

    A comma is read as the decimal point or, where the numbers have points as well, as the separator.

    Args:
        text: text of the element.
        name: name of the element.
        count: number of numbers that the element must have to be read with commas; None for one.
        commas: counter of the names of elements with a comma.

    Raises:
        Unreadable: the text is not a list of numbers.
    """
    if not text:
        return []
    ways = [text.split("\\")]
    if "," in text:
        ways = [text.replace(",", ".").split("\\"), re.split(r"[\\,]", text)]
    for parts in ways:
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            continue
        if "," not in text or len(numbers) == (count or 1):
            if "," in text:
                commas[name] += 1
            return numbers
    raise Unreadable(f"{name} is not a number")


def number(elements: Elements, name: str, commas: Counter[str]) -> float | None:
    """Return a single number, which may have a decimal comma; None if it is absent."""
    found = numbers(elements.text(name), name, None, commas)
    return found[0] if found else None


def ranking(elements: Elements, name: str) -> float | None:
    """Return a single finite number, or None for anything else: such an element is only used to rank images."""
    try:
        found = elements.number(name)
    except ValueError:
        return None
    return found if found is not None and math.isfinite(found) else None


@lru_cache(maxsize=4096)
def _seconds(date: bytes, time: bytes) -> float | None:
    """Return comparable seconds of date (YYYYMMDD or YYYY.MM.DD) and time (HHMMSS.F or HH:MM:SS); None without time."""
    day, clock = date.strip(b" \0").replace(b".", b""), time.strip(b" \0").replace(b":", b"")
    try:
        hours, minutes, seconds = int(clock[:2]), int(clock[2:4] or b"0"), float(clock[4:] or b"0")
        return int(day[:8] or b"0") * 86_400 + hours * 3600 + minutes * 60 + seconds
    except ValueError:
        return None


def when(elements: Elements, name: str) -> float | None:
    """Return date and time `name` (Acquisition, Series, Content) in comparable seconds; use another date for none."""
    values = elements.values
    dates = (values.get(f"{other}Date", b"").strip(b" \0") for other in (name, "Acquisition", "Series", "Study"))
    return _seconds(next((date for date in dates if date), b""), values.get(f"{name}Time", b""))


def date_and_time(text: str) -> float | None:
    """Return a combined date and time (YYYYMMDDHHMMSS.F) in comparable seconds."""
    return _seconds(text[:8].encode("latin-1", "replace"), re.split(r"[+-]", text[8:])[0].encode("latin-1", "replace"))


def acquired(elements: Elements) -> float | None:
    """Return date and time of acquisition in comparable seconds."""
    return when(elements, "Acquisition") or date_and_time(elements.text("AcquisitionDateTime"))


def series_of(elements: Elements) -> Series:
    """Return the series of a file."""
    text = elements.text
    names = " ".join(text(tag) for tag in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName"))
    return Series(
        text("SeriesInstanceUID"),
        text("SeriesDescription"),
        names,
        ranking(elements, "SeriesNumber"),
        when(elements, "Series"),
    )


def kind_of(elements: Elements) -> frozenset[str]:
    """Return the kind of image that a file states."""
    words = [*elements.text("ImageType").split("\\"), elements.text("ComplexImageComponent")]
    if elements.text("SyntheticData").upper() == "YES":
        words.append(SYNTHETIC)
    raw = elements.values.get("GeRawDataType", b"") if elements.text("GeCreator") == _GE_CREATOR else b""
    number = int.from_bytes(raw, "little") if len(raw) == 2 else int(raw) if raw.isdigit() else 0
    return frozenset(word.strip().upper() for word in (*words, _GE_KINDS.get(number, "")) if word.strip())


def interval_ms(elements: Elements, commas: Counter[str]) -> float | None:
    """Return the scanner's RR interval in ms, or else the one of its heart rate."""
    interval = number(elements, "NominalInterval", commas)
    rate = None if interval else ranking(elements, "HeartRate")
    return 60_000 / rate if rate else interval
