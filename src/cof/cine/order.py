"""The frames of every slice in order of time, as many in each slice, at the same phases of the cycle."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cof.cine.images import Image
from cof.cine.nifti import DEFAULT_RR_MS, PLAUSIBLE_RR_MS
from cof.cine.pixels import Grey
from cof.errors import CofError, Reason

_HOLE = 1.5  # frame durations between neighbours of which a frame between is missing
_MAX_HOLES = 0.25  # share of the frames; where more seem to be missing, frames are not evenly spaced
_HALF = 0.5  # frame durations within which frames cover a cycle
_SAME_START = 1.5  # frame durations within which slices begin alike
_MOST = 0.75  # share of the slices
_FEWEST, _MOST_FRAMES = 2 / 3, 3 / 2  # share of the usual number of frames that is resampled
_TWO_BEATS = 1.75  # RR intervals that frames of one beat cannot take
_COVERED = 0.85  # share of the scanner's RR interval below which a part of it was not recorded

# What tells the order of frames, in the order in which it counts; later ones are named in a repair.
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
    """Tell whether every frame has a time of acquisition, and these make another order than instance numbers."""
    acquired = {image.moment.instance: image.moment.acquired_s for image in images}
    times = [acquired[instance] for instance in sorted(acquired, key=lambda number: number or 0)]
    known = [time for time in times if time is not None]
    return len(set(known)) == len(images) and known != sorted(known)


def _alone(images: list[Image]) -> bool:
    """Tell whether nothing but instance numbers, each in a file of its own, tells frames apart."""
    if len(images) == 1 or images[0].moment.file is not None:
        return False
    times = ([getattr(image.moment, name) for image in images] for name in ("trigger_ms", "acquired_s", "content_s"))
    return all(None in known or len(set(known)) == 1 for known in times)


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one slice in order of time.

    Attributes:
        images: of the slice.
        times_ms: [n] ascending trigger times, None where they tell no order.
    """

    images: list[Image]
    times_ms: np.ndarray | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def step_ms(self) -> float:
        """The usual time between neighbours, nan without trigger times."""
        return float(np.median(np.diff(self.times_ms))) if self.times_ms is not None and len(self) > 1 else np.nan

    @property
    def holes(self) -> int:
        """The frames that are missing between others by the trigger times."""
        if self.times_ms is None or len(self) < 3:
            return 0
        steps = np.diff(self.times_ms) / self.step_ms
        missing = float((np.rint(steps[steps > _HOLE]) - 1).sum())
        return int(missing) if missing <= _MAX_HOLES * len(self) else 0

    @property
    def interval_ms(self) -> float:
        """The scanner's RR interval, nan where it names none that can be."""
        intervals = [image.interval_ms for image in self.images if image.interval_ms]
        interval = float(np.median(intervals)) if intervals else np.nan
        return interval if PLAUSIBLE_RR_MS[0] <= interval <= PLAUSIBLE_RR_MS[1] else np.nan


def in_order(images: list[Image], number: int) -> tuple[Frames, str]:
    """The frames of one slice in order of time, and what leaves doubt about it in words ("" for nothing).

    Raises:
        CofError: CINE_UNREADABLE, nothing tells it.
    """
    for name, key, weak in _KEYS:
        values = [key(image) for image in images]
        if any(value is None or not np.isfinite(value).all() for value in values) or len(set(values)) < len(images):  # type: ignore[call-overload]
            continue
        doubt = ""
        if name == "instance number" and _contradicted(images):
            doubt = "frames in order of instance numbers, though acquisition times make another order"
        if name == "instance number" and not doubt and _alone(images):
            doubt = "frames in order of instance numbers, and nothing else tells whether it is that of time"
        if weak and len(images) > 1:
            doubt = f"frames in order of {name}, for want of anything better"
        order = sorted(range(len(images)), key=values.__getitem__)  # type: ignore[arg-type]
        ordered = [images[k] for k in order]
        timed = name == "trigger time"
        return Frames(ordered, np.array([values[k] for k in order], float) if timed else None), doubt
    if len(images) == 1:
        return Frames(images, None), ""
    raise CofError(
        Reason.CINE_UNREADABLE,
        f"slice {number}: nothing tells the order of frames; export again with TriggerTime, TemporalPositionIdentifier "
        "or InstanceNumber, unlike for unlike frames",
    )


@dataclass(frozen=True)
class Cycle:
    """The cycle that all slices are brought to.

    Attributes:
        count: its frames.
        rr_ms: its duration, nan of a lone frame.
        delay_ms: time of the first frame after the R peak, nan where nothing tells.
        offset: that time in frame durations, 0 where nothing tells.
        gated: whether trigger times count from the R peak.
        interval_ms: the usual RR interval by the scanner, nan without.
    """

    count: int
    rr_ms: float
    delay_ms: float
    offset: float
    gated: bool
    interval_ms: float


def common_cycle(slices: list[Frames], repairs: list[str]) -> Cycle:
    """The cycle of the usual number of frames, by the slices that miss none.

    Raises:
        CofError: CINE_UNREADABLE, the frames are those of several beats.
    """
    # Of two equally usual numbers the larger.
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
                "the R peak, they tell no more than the order of frames"
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
                f"{begin:.0f} ms; its first frame is taken for theirs"
            )
    return Cycle(count, rr_ms, begin, offset, True, interval_ms)


def _check_one_beat(slices: list[Frames], count: int) -> None:
    """Raise CofError (CINE_UNREADABLE) where the scanner counts a fraction of these frames into a cycle."""
    counted = [frames.images[0].cycle_frames for frames in slices if frames.times_ms is None]
    for usual, times in Counter(number for number in counted if number and number > 1).most_common(1):
        if times > len(slices) / 2 and count >= 2 * usual and count % usual == 0:
            raise CofError(
                Reason.CINE_UNREADABLE,
                f"{count} frames a slice, and by the scanner (CardiacNumberOfImages) {usual:.0f} make a cycle: several "
                "beats, and nothing tells them apart; export one acquisition",
            )


def _rr_ms(by_trigger: float, interval_ms: float, repairs: list[str]) -> float:
    """The RR interval: that of the frames by trigger times, else the scanner's.

    Raises:
        CofError: CINE_UNREADABLE, the frames take several RR intervals.
    """
    low, high = PLAUSIBLE_RR_MS
    share = by_trigger / interval_ms
    # Trigger times beyond plausible ones may be in another unit; whole beats more are beats.
    whole = abs(share - round(share)) < 0.1 if np.isfinite(share) and share < 20 else False
    if share >= _TWO_BEATS and (by_trigger <= high or whole):
        raise CofError(
            Reason.CINE_UNREADABLE,
            f"the frames take {by_trigger:.0f} ms by TriggerTime, and an RR interval {interval_ms:.0f} ms: more "
            "than one beat; export one beat",
        )
    if low <= by_trigger <= high:
        if share < _COVERED:
            repairs.append(
                f"the frames take {by_trigger:.0f} ms of the scanner's RR interval of {interval_ms:.0f} ms: the cycle "
                "is that of the frames"
            )
        return round(by_trigger, 3)
    if np.isfinite(interval_ms):
        if np.isfinite(by_trigger):
            repairs.append(f"trigger times make no RR interval in ms: the scanner's of {interval_ms:.0f} ms taken")
        return round(interval_ms, 3)
    repairs.append(f"no plausible trigger times: RR taken as {DEFAULT_RR_MS:.0f} ms")
    return DEFAULT_RR_MS


def on_cycle(frames: Frames, cycle: Cycle, max_missing: float, number: int, repairs: list[str]) -> list[Image]:
    """The frames of one slice at the phases of the cycle.

    A slice whose frames cover its own cycle in another number is resampled in time by linear interpolation.
    Where a frame is missing, the one before it stands in; of too many the last are left out.

    Raises:
        CofError: CINE_TOO_FEW_FRAMES.
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
            f"slice {number} has {len(frames)} of {count} frames, and they may differ by {max_missing:.0%} "
            "(cine.max_missing)",
        )
    if len(frames) > count:
        repairs.append(f"slice {number}: {len(frames) - count} surplus frames left out")
        return frames.images[:count]
    return _filled(frames, cycle, number, repairs)


def _covers(frames: Frames, cycle: Cycle) -> bool:
    """Tell whether frames of another number than usual cover the slice's own cycle."""
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
    """Frames at the phases of the cycle, by linear interpolation in time.

    The last and the first frame of a cycle are not mixed: between them stands the nearer one.
    """
    spaced = len(frames) + frames.holes
    if frames.times_ms is None:
        own = np.arange(len(frames)) / len(frames)
    else:
        own = (frames.times_ms - frames.times_ms[0]) / (spaced * frames.step_ms)
    if cycle.gated and frames.times_ms is not None:  # both begin so long after the R peak
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
    """Frames with the one before in the place of each that is missing; before the first comes the last."""
    places = _places(frames, cycle)
    if places is None:
        repairs.append(
            f"slice {number}: {len(frames)} of {cycle.count} frames, and nothing tells which are missing: "
            "the last repeated"
        )
        return frames.images + [frames.images[-1]] * (cycle.count - len(frames))
    at = dict(zip(places.tolist(), frames.images))
    repairs.extend(
        f"slice {number}: frame {frame + 1} is missing, the one before repeated"
        for frame in range(max(at))
        if frame not in at
    )
    if short := cycle.count - 1 - max(at):
        repairs.append(
            f"slice {number}: its frames end {short} before those of the others, at frame {max(at) + 1} of "
            f"{cycle.count}; the last repeated"
        )
    filled = [at[max(at)]]
    for frame in range(cycle.count):
        filled.append(at.get(frame, filled[-1]))
    return filled[1:]


def _places(frames: Frames, cycle: Cycle) -> np.ndarray | None:
    """The number [n] of every frame within the cycle, None where nothing tells."""
    candidates = []
    if frames.times_ms is not None and len(frames) > 2:
        begin = cycle.offset if cycle.gated else frames.times_ms[0] / frames.step_ms
        by_time = np.rint(frames.times_ms / frames.step_ms - begin)
        # Without gating, times tell what is missing between frames, and not before the first.
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
