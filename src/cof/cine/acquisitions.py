"""Selection of one acquisition per slice: the latest complete one by date, time and number, without duplicates."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import numpy as np

from cof.cine.images import Image
from cof.errors import CofError, Reason

_HOLE = 2.5  # largest gap between two parts of one beat, in frame durations
_EVEN = 0.25  # largest deviation of the time between frames of one beat, as a share of the usual frame duration
_WITHIN = 0.5  # least share of an acquisition's images that lie in the time span of another one
_SPAN = 0.75  # least share of the recorded time span that a complete acquisition covers
_MANY, _BLOCK = 5, 3  # fewest frames of a run, and of a block of numbers; fewer may be a coincidence
_MAX_PARTS = 4
_ALIKE = 0.8  # least share of the moments that repeat equally often
_ONE_BEAT = 1.2  # longest duration of the frames of one beat, in RR intervals

Images = list[Image]


def one_acquisition(slices: list[Images], max_missing: float, repairs: list[str]) -> list[Images]:
    """Return, for every slice, the images of one acquisition.

    Args:
        slices: all images of every slice.
        max_missing: share of the usual number of frames by which a complete acquisition may differ from it.
        repairs: list to which a remark is added for what was left out, and why.

    Raises:
        CofError: CINE_UNREADABLE if different images have the same moment and their acquisitions cannot be told apart;
            CINE_TOO_FEW_FRAMES if only single images of a cine would remain.
    """
    slices = [_without_doubles(images, number, repairs) for number, images in enumerate(slices, 1)]
    parted = [acquisitions(images, number) for number, images in enumerate(slices, 1)]
    sizes = Counter(max(map(len, parts)) for parts in parted)
    usual = max(sizes, key=lambda size: (sizes[size], size))
    chosen, said = [], defaultdict(list)
    for number, parts in enumerate(parted, 1):
        images, by = _latest(parts, usual, max_missing)
        chosen.append(images)
        if by:
            said[len(parts), by, sum(map(len, parts)) - len(images)].append(number)
    for (times, by, others), numbers in said.items():
        each = "" if len(numbers) == 1 else " each"
        repairs.append(f"{named(numbers)}: acquired {times} times, {by}, {others} images of the others left out{each}")
    if max(map(len, chosen)) == 1 and max(map(len, slices)) > 2:
        raise CofError(
            Reason.CINE_TOO_FEW_FRAMES, "only single images of a cine would remain: its frames cannot be told apart"
        )
    return chosen


def named(numbers: list[int]) -> str:
    """Name slices by their numbers, such as "slices 1, 2"."""
    return f"slice {numbers[0]}" if len(numbers) == 1 else f"slices {', '.join(map(str, numbers))}"


def _without_doubles(images: Images, number: int, repairs: list[str]) -> Images:
    """Remove images of a slice that repeat the pixels and the moment of another one."""
    found: dict[Hashable, Images] = defaultdict(list)
    for image in images:
        moment = image.moment
        alike = found[(image.series.uid, moment)]
        if not any(np.array_equal(image.pixels, other.pixels) for other in alike):
            alike.append(image)
    kept = [image for alike in found.values() for image in alike]
    if len(kept) < len(images):
        repairs.append(f"slice {number}: {len(images) - len(kept)} duplicates left out")
    return kept


def acquisitions(images: Images, number: int) -> list[Images]:
    """Divide the images of one slice into acquisitions.

    These are told apart by series, by number or time of acquisition, by moments that repeat, and by runs of instance
    numbers after which time starts again.

    Raises:
        CofError: CINE_UNREADABLE, they cannot be told apart.
    """
    series = _together(_grouped(images, lambda image: image.series.uid))
    return [part for group in series for part in _within_series(group, number)]


def _within_series(images: Images, number: int) -> list[Images]:
    """Divide the images of one slice and one series into acquisitions."""
    counted = images[0].cycle_frames
    if counted != len(images):  # if they are equal, the scanner itself counts all of them as one cycle
        for key in (lambda image: image.moment.acquisition, lambda image: image.moment.acquired_s):
            if any(key(image) is None for image in images):
                continue
            groups = _grouped(images, key)
            if len(groups) > len(images) / 2:  # each frame has its own number or time
                continue
            groups = [images] if _in_turns(groups) else _together(groups)
            if len(groups) > 1:
                return [part for group in groups for part in _within_series(group, number)]
    repeated = _repeated(images, number)
    if len(repeated) > 1 or counted == len(images):
        return repeated
    return _runs(images)


def _grouped(images: Images, key: Callable[[Image], Hashable]) -> list[Images]:
    groups: dict[Hashable, Images] = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return list(groups.values())


def _together(groups: list[Images]) -> list[Images]:
    """Merge groups of images if together they are the frames of one beat; otherwise return them unchanged."""
    images = [image for group in groups for image in group]
    if max(map(len, groups)) == 1 and len(groups) > 2:
        return [images]
    times = cycle_times(images)
    if times is None:
        return groups if len(groups) <= _MAX_PARTS else [images]
    at = dict(zip(map(id, images), times))
    step = _step(np.sort(times))
    parts = sorted(([at[id(image)] for image in group] for group in groups), key=min)
    follow = all(0 < min(late) - max(early) <= _HOLE * step for early, late in pairwise(parts))
    interval = images[0].interval_ms
    timed = images[0].moment.trigger_ms is not None and interval and interval > 0
    fits = not timed or np.ptp(times) + step <= _ONE_BEAT * float(interval or 0)
    return [images] if follow and fits else groups


def _in_turns(groups: list[Images]) -> bool:
    """Tell whether groups alternate within one beat: together evenly spaced, in order of instance numbers."""
    images = [image for group in groups for image in group]
    times, instances = cycle_times(images), [image.moment.instance for image in images]
    if times is None or None in instances or len(set(instances)) < len(images) or len(images) < 2 * _BLOCK:
        return False
    steps = np.diff(times[np.argsort(np.array(instances, float))])
    return bool((np.abs(steps - np.median(steps)) < _EVEN * np.median(steps)).all())


def cycle_times(images: Images) -> np.ndarray | None:
    """Return the times [n] within the cycle by trigger times, positions or phases; None if none of these differ."""
    keys: Sequence[Callable[[Image], float | None]] = (
        lambda image: image.moment.trigger_ms,
        lambda image: image.moment.position,
        lambda image: image.moment.percent,
    )
    for key in keys:
        values = [key(image) for image in images]
        if not any(value is None for value in values) and len(set(values)) > 1:
            times = np.array(values, float)
            if np.isfinite(times).all():
                return times
    return None


def _step(ascending: np.ndarray) -> float:
    """Return the median distance of neighbours that differ; 0 if none do."""
    steps = np.diff(ascending)
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def _repeated(images: Images, number: int) -> list[Images]:
    """Divide images by repeated moments: each acquisition gets one image per moment, in the order of `_rank`."""
    times = cycle_times(images)
    if times is None:
        times = np.array([np.nan if image.moment.instance is None else image.moment.instance for image in images])
        if np.isnan(times).any() or len(set(times)) < 2:
            return [images]
    at: dict[float, Images] = defaultdict(list)
    for time, image in zip(times.tolist(), images):
        at[time].append(image)
    counts = Counter(map(len, at.values()))
    usual, alike = counts.most_common(1)[0]
    if max(counts) == 1:
        return [images]
    instances = [image.moment.instance for image in images]
    if None not in instances and len(set(instances)) == len(images):
        ascending = (np.diff(times[np.argsort(np.array(instances, float))]) >= 0).all()
        # Either times are rounded coarsely, or two acquisitions are numbered alternately.
        if ascending and (usual == 1 or alike < _ALIKE * len(at) or images[0].cycle_frames == len(images)):
            return [images]
        if ascending and images[0].cycle_frames != len(at) and not any(map(_told_apart, at.values())):
            raise CofError(
                Reason.CINE_UNREADABLE,
                f"slice {number}: {usual} images of every moment, numbered in turns: either rounded trigger times of "
                "one beat or several acquisitions; export with exact TriggerTime, or one acquisition",
            )
    parts: list[Images] = [[] for _ in range(max(counts))]
    for same in at.values():
        ranks = [_rank(image) for image in same]
        if len(set(ranks)) < len(ranks):
            raise CofError(
                Reason.CINE_UNREADABLE,
                f"slice {number}: {len(same)} different images have one moment, and no date, time or number tells "
                "which acquisition each belongs to; export one acquisition",
            )
        for part, (_, image) in zip(parts, sorted(zip(ranks, same), key=lambda pair: pair[0])):
            part.append(image)
    return parts


def _told_apart(same: Images) -> bool:
    """Tell whether images of one moment differ in more than their instance numbers."""
    return len({_age(image) for image in same}) > 1


def _age(image: Image) -> tuple[float, ...]:
    moment = image.moment
    return tuple(
        -np.inf if value is None else float(value)
        for value in (moment.acquisition, moment.acquired_s, moment.file, moment.content_s)
    )


def _rank(image: Image) -> tuple[float, ...]:
    *before, content_s = _age(image)
    instance = image.moment.instance
    return (*before, -np.inf if instance is None else float(instance), content_s)


def _runs(images: Images) -> list[Images]:
    """Divide images by runs of ascending time, in the order of recording; without times, by blocks of numbers."""
    if cycle_times(images) is None:
        return _blocks(images)
    keys: Sequence[Callable[[Image], float | None]] = (
        lambda image: image.moment.instance,
        lambda image: image.moment.acquired_s,
        lambda image: image.moment.content_s,
    )
    for key in keys:
        values = [key(image) for image in images]
        if None in values or len(set(values)) < len(values):
            continue
        runs = _restarts([image for _, image in sorted(zip(values, images), key=lambda pair: pair[0] or 0)])
        if len(runs) > 1:
            return runs
    return [images]


def _restarts(recorded: Images) -> list[Images]:
    """Cut images, in the order of recording, where the cycle starts again; keep them whole if a part is implausible."""
    times = cycle_times(recorded)
    assert times is not None, "the caller has checked it"
    cuts = np.flatnonzero(np.diff(times) < 0) + 1
    if not 1 <= len(cuts) < _MAX_PARTS:
        return [recorded]
    spans = np.split(times, cuts)
    longest = max(spans, key=len)
    steps = np.diff(longest)
    if len(longest) < _MANY or steps.max() >= _HOLE * np.median(steps) or np.ptp(longest) < _SPAN * np.ptp(times):
        return [recorded]
    margin = _SPAN * np.median(steps)
    low, high = longest[0] - margin, longest[-1] + margin
    again = all(np.mean((low < span) & (span < high)) >= _WITHIN for span in spans)
    return [recorded[part[0] : part[-1] + 1] for part in np.split(np.arange(len(times)), cuts)] if again else [recorded]


def _blocks(images: Images) -> list[Images]:
    """Divide images by equal blocks of instance numbers that lie far apart; keep them whole if there are none."""
    numbered = sorted((image.moment.instance, k) for k, image in enumerate(images) if image.moment.instance is not None)
    if len(numbered) < len(images) or len(images) < 2 * _BLOCK:
        return [images]
    steps = np.diff([instance for instance, _ in numbered])
    cuts = np.flatnonzero(steps >= len(images) / 2 * max(np.median(steps), 1)) + 1
    blocks = np.split(np.array([k for _, k in numbered]), cuts)
    if len(set(map(len, blocks))) > 1 or len(blocks[0]) < _BLOCK:
        return [images]
    return [[images[k] for k in block] for block in blocks]


def _latest(parts: list[Images], usual: int, max_missing: float) -> tuple[Images, str]:
    """Return the latest complete acquisition of a slice, and how it was chosen ("" if there is only one)."""
    if len(parts) == 1:
        return parts[0], ""
    largest = max(map(len, parts))
    complete = [part for part in parts if _is_complete(part, usual, max_missing)]
    left = complete or [part for part in parts if len(part) == largest]
    return (left[0], "the only complete one is used") if len(left) == 1 else later(left)


def later(parts: list[Images]) -> tuple[Images, str]:
    """Return the latest of several acquisitions by date, time and number, and how it was chosen."""
    left, by = parts, ""
    for what, key in _AGES:
        one_series = what.startswith("series") and len({part[0].series.uid for part in left}) == 1
        ages = [key(part) for part in left]
        known = [age for age in ages if age is not None]
        if len(left) == 1 or one_series or len(known) < len(left) or min(known) == max(known):
            continue
        left = [part for part, age in zip(left, ages) if age == max(known)]
        by = f"the latest complete one by {what} is used"
    if len(left) > 1:
        left = [max(left, key=lambda part: (_uid(part[0].series.uid), _rank(part[0])))]
        by = "nothing tells which is the latest: the one with the highest series UID and numbers is used"
    return left[0], by


def _is_complete(part: Images, usual: int, max_missing: float) -> bool:
    """Tell whether an acquisition has the usual number of frames, or its frames last the scanner's RR interval."""
    if abs(len(part) - usual) <= max_missing * usual:
        return True
    times, interval = cycle_times(part), part[0].interval_ms
    if times is None or part[0].moment.trigger_ms is None or not interval or len(part) < _MANY:
        return False
    return bool(abs(len(part) * _step(np.sort(times)) / interval - 1) < max_missing)


def _first(values: list[float | None]) -> float | None:
    """Return the least of some values; None if one is not known."""
    return None if any(value is None for value in values) else min(value for value in values if value is not None)


def _uid(uid: str) -> tuple[int, ...]:
    return tuple(int(part) for part in uid.split(".") if part.isdigit())


# Criteria for the latest of several acquisitions, the most reliable first.
_AGES: tuple[tuple[str, Callable[[Images], float | None]], ...] = (
    ("acquisition time", lambda part: _first([image.moment.acquired_s for image in part])),
    ("series time", lambda part: part[0].series.begun_s),
    ("content time", lambda part: _first([image.moment.content_s for image in part])),
    ("series number", lambda part: part[0].series.number),
    ("acquisition number", lambda part: _first([image.moment.acquisition for image in part])),
    ("file number", lambda part: _first([image.moment.file for image in part])),
    ("instance number", lambda part: _first([image.moment.instance for image in part])),
)
