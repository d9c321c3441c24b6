"""Frames of every slice in order of time, with the same number and phases in all slices."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cof.cine.images import Image
from cof.cine.nifti import DEFAULT_RR_MS, PLAUSIBLE_RR_MS
from cof.cine.pixels import Grey
from cof.errors import CofError, Reason

_HOLE = 1.5  # time between neighbours above which a frame between them is missing, in frame durations
_MAX_HOLES = 0.25  # share of the frames; if more seem to be missing, frames are not evenly spaced
_HALF = 0.5  # largest deviation from the cycle's duration of frames that cover it, in frame durations
_SAME_START = 1.5  # largest difference of the first times of slices that begin together, in frame durations
_MOST = 0.75  # least share of the slices that begin together
_FEWEST, _MOST_FRAMES = 2 / 3, 3 / 2  # range of the number of frames that is resampled, as shares of the usual number
_TWO_BEATS = 1.75  # duration that shows more than one beat, in RR intervals
_COVERED = 0.85  # share of the scanner's RR interval below which a part of it was not recorded

# Criteria for the order of frames, the most reliable first. True marks a weak one, which a repair mentions.
_KEYS: tuple[tuple[str, Callable[[Image], object], bool], ...] = (
    ("trigger time", lambda image: image.moment.trigger_ms, False),
    ("temporal position", lambda image: image.moment.position, False),
    ("cardiac phase", lambda image: image.moment.percent, False),
    ("instance number", lambda image: image.moment.instance, False),
    ("file and frame number", lambda image: _pair(image.moment.file, image.moment.instance), False),
    ("acquisition time", lambda image: image.moment.acquired_s, True),
    ("content time", lambda image: image.moment.content_s, True),
)


def _pair(one: int | None, other: int | None) -> tuple[int, int] | None:
    return None if one is None or other is None else (one, other)


def _contradicted(images: list[Image]) -> bool:
    """Tell whether every frame has an acquisition time of its own, and these order frames unlike instance numbers."""
    acquired = {image.moment.instance: image.moment.acquired_s for image in images}
    times = [acquired[instance] for instance in sorted(acquired, key=lambda number: number or 0)]
    known = [time for time in times if time is not None]
    return len(set(known)) == len(images) and known != sorted(known)


def _alone(images: list[Image]) -> bool:
    """Tell whether frames, each in a file of its own, differ only in their instance numbers."""
    if len(images) == 1 or images[0].moment.file is not None:
        return False
    times = ([getattr(image.moment, name) for image in images] for name in ("trigger_ms", "acquired_s", "content_s"))
    return all(None in known or len(set(known)) == 1 for known in times)


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one slice in order of time.

    Attributes:
        images: images of the slice.
        times_ms: [n] ascending trigger times; None where they do not give the order.
    """

    images: list[Image]
    times_ms: np.ndarray | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def step_ms(self) -> float:
        """Median time between neighbours; NaN without trigger times."""
        return float(np.median(np.diff(self.times_ms))) if self.times_ms is not None and len(self) > 1 else np.nan

    @property
    def holes(self) -> int:
        """Number of frames that are missing between others by the trigger times."""
        if self.times_ms is None or len(self) < 3:
            return 0
        steps = np.diff(self.times_ms) / self.step_ms
        missing = float((np.rint(steps[steps > _HOLE]) - 1).sum())
        return int(missing) if missing <= _MAX_HOLES * len(self) else 0

    @property
    def interval_ms(self) -> float:
        """RR interval by the scanner; NaN where it states no plausible one."""
        intervals = [image.interval_ms for image in self.images if image.interval_ms]
        interval = float(np.median(intervals)) if intervals else np.nan
        return interval if PLAUSIBLE_RR_MS[0] <= interval <= PLAUSIBLE_RR_MS[1] else np.nan


def in_order(images: list[Image], number: int) -> tuple[Frames, str]:
    """Sort the frames of one slice by time; return them, and a remark where the order is doubtful ("" otherwise).

    Raises:
        CofError: CINE_UNREADABLE, no element gives the order.
    """
    for name, key, weak in _KEYS:
        values = [key(image) for image in images]
        if any(value is None or not np.isfinite(value).all() for value in values) or len(set(values)) < len(images):  # type: ignore[call-overload]
            continue
        doubt = ""
        if name == "instance number" and _contradicted(images):
            doubt = "frames in order of instance numbers, although acquisition times give another order"
        if name == "instance number" and not doubt and _alone(images):
            doubt = "frames in order of instance numbers; no other element confirms that this is the order of time"
        if weak and len(images) > 1:
            doubt = f"frames in order of {name}, since nothing more reliable gives an order"
        order = sorted(range(len(images)), key=values.__getitem__)  # type: ignore[arg-type]
        ordered = [images[k] for k in order]
        timed = name == "trigger time"
        return Frames(ordered, np.array([values[k] for k in order], float) if timed else None), doubt
    if len(images) == 1:
        return Frames(images, None), ""
    raise CofError(
        Reason.CINE_UNREADABLE,
        f"slice {number}: nothing tells the order of frames; export again with TriggerTime, TemporalPositionIdentifier "
        "or InstanceNumber, different in every frame",
    )


@dataclass(frozen=True)
class Cycle:
    """The cycle to which all slices are brought.

    Attributes:
        count: number of frames.
        rr_ms: duration; NaN for a single frame.
        delay_ms: time from the R peak to the first frame; NaN where it is not known.
        offset: that time in frame durations; 0 where it is not known.
        gated: whether trigger times are counted from the R peak.
        interval_ms: median RR interval by the scanner; NaN without one.
    """

    count: int
    rr_ms: float
    delay_ms: float
    offset: float
    gated: bool
    interval_ms: float


def common_cycle(slices: list[Frames], repairs: list[str]) -> Cycle:
    """Return the cycle with the most frequent number of frames, by the slices that lack none.

    Raises:
        CofError: CINE_UNREADABLE, the frames are of several beats.
    """
    # Of two equally frequent numbers, take the larger.
    sizes = Counter(len(frames) + frames.holes for frames in slices)
    count = max(sizes, key=lambda size: (sizes[size], size))
    complete = [frames for frames in slices if len(frames) == count and frames.times_ms is not None]
    first = np.array([frames.times_ms[0] for frames in complete if frames.times_ms is not None])
    intervals = [frames.interval_ms for frames in slices if np.isfinite(frames.interval_ms)]
    interval_ms = float(np.median(intervals)) if intervals else np.nan
    if count == 1:
        return Cycle(1, np.nan, float(np.median(first)) if len(first) else np.nan, 0.0, False, interval_ms)
    _check_one_beat(slices, count)
    steps = np.array([frames.step_ms for frames in slices if np.isfinite(frames.step_ms)])
    by_trigger = count * float(np.median(steps)) if len(steps) else np.nan
    rr_ms = _rr_ms(by_trigger, interval_ms, repairs)
    if not len(complete):
        return Cycle(count, rr_ms, np.nan, 0.0, False, interval_ms)
    begin, step = float(np.median(first)), by_trigger / count
    alike = np.abs(first - begin) <= _SAME_START * step
    gated = rr_ms == round(by_trigger, 3) and abs(begin) < rr_ms and bool(alike.mean() >= _MOST)
    if not gated:
        if rr_ms == round(by_trigger, 3):
            repairs.append(
                f"trigger times begin at {first.min():.0f} to {first.max():.0f} ms in the slices: not counted from "
                "the R peak, they are used only for the order of frames"
            )
        return Cycle(count, rr_ms, np.nan, 0.0, False, interval_ms)
    offset = float(np.median([start / frames.step_ms for start, frames in zip(first, complete)]))
    for number, frames in enumerate(slices, 1):
        if (
            len(frames) == count
            and frames.times_ms is not None
            and abs(frames.times_ms[0] - begin) > _SAME_START * step
        ):
            repairs.append(
                f"slice {number}: its trigger times begin at {frames.times_ms[0]:.0f} ms, those of the others at "
                f"{begin:.0f} ms; its first frame is used with the first frames of the others"
            )
    return Cycle(count, rr_ms, begin, offset, True, interval_ms)


def _check_one_beat(slices: list[Frames], count: int) -> None:
    """Raise CofError (CINE_UNREADABLE) where the scanner states that a fraction of these frames is a cycle."""
    counted = [frames.images[0].cycle_frames for frames in slices if frames.times_ms is None]
    for usual, times in Counter(number for number in counted if number and number > 1).most_common(1):
        if times > len(slices) / 2 and count >= 2 * usual and count % usual == 0:
            raise CofError(
                Reason.CINE_UNREADABLE,
                f"{count} frames per slice, but by the scanner (CardiacNumberOfImages) {usual:.0f} make a cycle: "
                "several beats, which cannot be told apart; export one acquisition",
            )


def _rr_ms(by_trigger: float, interval_ms: float, repairs: list[str]) -> float:
    """Return the RR interval: the duration of the frames by trigger times, or else the scanner's.

    Raises:
        CofError: CINE_UNREADABLE, the frames last several RR intervals.
    """
    low, high = PLAUSIBLE_RR_MS
    share = by_trigger / interval_ms
    # Implausibly long trigger times may be in another unit, unless they last a whole number of beats.
    whole = abs(share - round(share)) < 0.1 if np.isfinite(share) and share < 20 else False
    if share >= _TWO_BEATS and (by_trigger <= high or whole):
        raise CofError(
            Reason.CINE_UNREADABLE,
            f"the frames last {by_trigger:.0f} ms by TriggerTime, but an RR interval lasts {interval_ms:.0f} ms: more "
            "than one beat; export one beat",
        )
    if low <= by_trigger <= high:
        if share < _COVERED:
            repairs.append(
                f"the frames last {by_trigger:.0f} ms of the scanner's RR interval of {interval_ms:.0f} ms: the cycle "
                "lasts as long as the frames"
            )
        return round(by_trigger, 3)
    if np.isfinite(interval_ms):
        if np.isfinite(by_trigger):
            repairs.append(f"trigger times give no RR interval in ms: the scanner's of {interval_ms:.0f} ms is used")
        return round(interval_ms, 3)
    repairs.append(f"no plausible trigger times: RR interval assumed to be {DEFAULT_RR_MS:.0f} ms")
    return DEFAULT_RR_MS


def on_cycle(frames: Frames, cycle: Cycle, max_missing: float, number: int, repairs: list[str]) -> list[Image]:
    """Return the frames of one slice at the phases of the cycle.

    A slice whose frames cover its own cycle in another number is resampled in time by linear interpolation. A missing
    frame is replaced by the one before it; of surplus frames, the last are left out.

    Raises:
        CofError: CINE_TOO_FEW_FRAMES, the number of frames differs by more than `max_missing` allows.
    """
    count = cycle.count
    if len(frames) == count:
        return frames.images
    if _covers(frames, cycle):
        repairs.append(f"slice {number}: its {len(frames)} frames cover the cycle, resampled in time to {count}")
        return _resampled(frames, cycle)
    if abs(count - len(frames)) > max_missing * count:
        raise CofError(
            Reason.CINE_TOO_FEW_FRAMES,
            f"slice {number} has {len(frames)} of {count} frames; a difference of {max_missing:.0%} is allowed "
            "(cine.max_missing)",
        )
    if len(frames) > count:
        repairs.append(f"slice {number}: {len(frames) - count} surplus frames left out")
        return frames.images[:count]
    return _filled(frames, cycle, number, repairs)


def _covers(frames: Frames, cycle: Cycle) -> bool:
    """Tell whether frames in another number than usual cover the slice's own cycle."""
    spaced = len(frames) + frames.holes
    if not _FEWEST <= len(frames) / cycle.count <= _MOST_FRAMES or spaced == cycle.count:
        return False
    if len({image.plane for image in frames.images}) > 1 or len({image.pixels.shape for image in frames.images}) > 1:
        return False
    ratio = frames.interval_ms / cycle.interval_ms
    ratio = ratio if np.isfinite(ratio) else 1.0
    if frames.times_ms is None:
        return abs(spaced - cycle.count * ratio) < _HALF
    if abs(spaced * frames.step_ms - cycle.rr_ms * ratio) >= _HALF * frames.step_ms:
        return False
    return not cycle.gated or abs(frames.times_ms[0] - cycle.delay_ms) < _HALF * frames.step_ms


def _resampled(frames: Frames, cycle: Cycle) -> list[Image]:
    """Resample frames to the phases of the cycle by linear interpolation in time.

    The last and the first frame of a cycle are not mixed: between them, the nearer one is used.
    """
    spaced = len(frames) + frames.holes
    if frames.times_ms is None:
        own = np.arange(len(frames)) / len(frames)
    else:
        own = (frames.times_ms - frames.times_ms[0]) / (spaced * frames.step_ms)
    if cycle.gated and frames.times_ms is not None:  # align both by their delays after the R peak
        own += frames.times_ms[0] / (spaced * frames.step_ms) - cycle.delay_ms / cycle.rr_ms
    own = np.append(own, own[0] + 1)
    images = []
    for phase in np.arange(cycle.count) / cycle.count:
        phase += 0 if phase >= own[0] else 1
        later = int(np.searchsorted(own, phase, side="right"))
        before, after = frames.images[later - 1].pixels, frames.images[later % len(frames)].pixels
        weight = np.float32((phase - own[later - 1]) / (own[later] - own[later - 1]))
        weight = np.rint(weight) if later == len(frames) else weight
        mixed = before * (1 - weight) + after * weight
        whole = np.issubdtype(before.dtype, np.integer)
        grey = Grey((np.rint(mixed) if whole else mixed).astype(before.dtype))
        images.append(replace(frames.images[later - 1], grey=grey))
    return images


def _filled(frames: Frames, cycle: Cycle, number: int, repairs: list[str]) -> list[Image]:
    """Replace each missing frame by the one before it, and a missing first frame by the last."""
    places = _places(frames, cycle)
    if places is None:
        repairs.append(
            f"slice {number}: {len(frames)} of {cycle.count} frames, and nothing tells which are missing: "
            "the last one is repeated"
        )
        return frames.images + [frames.images[-1]] * (cycle.count - len(frames))
    at = dict(zip(places.tolist(), frames.images))
    repairs.extend(
        f"slice {number}: frame {frame + 1} is missing, the one before is repeated"
        for frame in range(max(at))
        if frame not in at
    )
    if short := cycle.count - 1 - max(at):
        repairs.append(
            f"slice {number}: its frames end {short} before those of the others, at frame {max(at) + 1} of "
            f"{cycle.count}; the last one is repeated"
        )
    filled = [at[max(at)]]
    for frame in range(cycle.count):
        filled.append(at.get(frame, filled[-1]))
    return filled[1:]


def _places(frames: Frames, cycle: Cycle) -> np.ndarray | None:
    """Return the number [n] of every frame within the cycle; None where it is not known."""
    candidates = []
    if frames.times_ms is not None and len(frames) > 2:
        begin = cycle.offset if cycle.gated else frames.times_ms[0] / frames.step_ms
        by_time = np.rint(frames.times_ms / frames.step_ms - begin)
        # Without gating, times show frames that are missing between others, but not before the first.
        if cycle.gated or by_time[-1] == cycle.count - 1:
            candidates.append(by_time)
    positions = [image.moment.position for image in frames.images]
    if None not in positions:
        candidates.append(np.array(positions, float) - 1)
    instances = [image.moment.instance for image in frames.images]
    if None not in instances:
        candidates.append((np.array(instances, float) - 1) % cycle.count)
    for places in candidates:
        fits = places.min() >= 0 and places.max() < cycle.count and (np.diff(places) > 0).all()
        if fits and (places == np.rint(places)).all():
            return places.astype(int)
    return None
