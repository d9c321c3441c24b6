"""Reader of the frames of enhanced multi-frame DICOM images; each frame has functional groups of elements."""

from collections import Counter
from functools import partial
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from cof.cine.elements import Elements
from cof.cine.headers import Moment, acquired, date_and_time, interval_ms, kind_of, numbers, ranking, series_of, when
from cof.cine.images import PLACE, Image, Plane, is_unit, make_plane
from cof.cine.pixels import read_pixels, rescaled
from cof.cine.remarks import Remarks

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_GROUPS = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")
# Dimensions of an enhanced file that number the frames of a cycle: TemporalPositionIndex, TemporalPositionTimeOffset,
# NominalCardiacTriggerDelayTime, NominalPercentageOfCardiacPhase, ActualCardiacTriggerDelayTime, TriggerTime.
_TIME_DIMENSIONS = (0x00209128, 0x0020930D, 0x00209153, 0x00209241, 0x00209252, 0x00181060)


def is_enhanced(data: Dataset) -> bool:
    """Tell whether frames have functional groups; an empty item, as in ordinary images of some scanners, is none."""
    return any(len(frame) for frame in data.get(_PER_FRAME) or [])


def _group(shared: Any, name: str, frame: Any) -> Any:
    """Return the item of a functional group: the frame's own, else that of all frames, else an empty one."""
    for holder in (frame, shared):
        items = holder.get(name)
        if items:
            return items[0]
    return {}


def read_frames(elements: Elements, data: Dataset, remarks: Remarks) -> list[Image]:
    """Read the frames of an enhanced multi-frame image; frames without a place are counted and left out."""
    shared = (data.get(_SHARED) or [{}])[0]
    greys = read_pixels(elements)
    series, kind = series_of(elements), kind_of(elements)
    interval, file = interval_ms(elements, remarks.commas), ranking(elements, "InstanceNumber")
    dimensions = [int(item.get("DimensionIndexPointer") or 0) for item in data.get("DimensionIndexSequence") or []]
    images = []
    planes: dict[tuple[float, ...], Plane] = {}
    for number, (grey, frame) in enumerate(zip(greys, data[_PER_FRAME].value, strict=True), 1):
        group = partial(_group, shared, frame=frame)
        where = [
            _values(group(sequence), tag, count, remarks.commas)
            for sequence, (tag, count) in zip(_GROUPS, PLACE.items())
        ]
        if missing := next((tag for tag, found in zip(PLACE, where) if not found), None):
            remarks.without[missing] += 1
            continue
        place = tuple(value for values in where for value in values)
        if place not in planes:
            planes[place] = make_plane(*where)
        remarks.not_unit += not is_unit(tuple(where[2]))
        # Some exporters keep slope and intercept where ordinary files have them.
        scale = group("PixelValueTransformationSequence") or data
        timing, content = group("CardiacSynchronizationSequence"), group("FrameContentSequence")
        indices = dict(zip(dimensions, _as_list(content.get("DimensionIndexValues"))))
        moment = Moment(
            trigger_ms=_first(timing, "NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime"),
            position=_first(content, "TemporalPositionIndex")
            or next((float(indices[tag]) for tag in _TIME_DIMENSIONS if tag in indices), None),
            percent=_first(timing, "NominalPercentageOfCardiacPhase"),
            instance=number,
            file=None if file is None else int(file),
            acquisition=_first(content, "FrameAcquisitionNumber"),
            acquired_s=date_and_time(str(content.get("FrameAcquisitionDateTime") or "")) or acquired(elements),
            content_s=when(elements, "Content"),
        )
        images.append(
            Image(
                rescaled(grey, _first(scale, "RescaleSlope"), _first(scale, "RescaleIntercept")),
                planes[place],
                series,
                _kind(group("MRImageFrameTypeSequence"), group("MRModifierSequence"), kind),
                moment,
                _first(timing, "RRIntervalTimeNominal") or interval,
                None,
            )
        )
    return images


def _kind(frame_type: Any, modifier: Any, file: frozenset[str]) -> frozenset[str]:
    """Return the kind of a frame; where it does not name its complex component, the kind of the file is added."""
    words = [*_as_list(frame_type.get("FrameType")), frame_type.get("ComplexImageComponent") or ""]
    tagging = str(modifier.get("Tagging") or "").upper()
    words.append("TAGGED" if tagging in ("GRID", "LINE") else "")
    kind = frozenset(str(word).strip().upper() for word in words if str(word).strip())
    return kind if frame_type.get("ComplexImageComponent") else kind | file


def _as_list(value: Any) -> list[Any]:
    """Return one value or many as a list."""
    if value in (None, ""):
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def _values(item: Any, name: str, count: int, commas: Counter[str]) -> list[float]:
    """Return the numbers of an element of an item, also with decimal commas, at which pydicom fails."""
    element = item.get_item(name) if isinstance(item, Dataset) and name in item else None
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and b"," in element.value:
        return numbers(element.value.decode("latin-1").strip(" \0"), name, count, commas)
    return [float(number) for number in _as_list(item.get(name))]


def _first(item: Any, *names: str) -> float | None:
    """Return the first of some elements that an item has, as a number; None if it has none."""
    return next((float(item.get(name)) for name in names if item.get(name) not in (None, "")), None)
