"""The native short-axis cine in memory and on disk."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from cof.errors import CofError, Reason, raise_if_broken

# Intensities that are not whole numbers of 16 bits are scaled to this maximum.
_STRETCHED_MAXIMUM = 30_000
_PAIR = 2  # number of frames of a pair of ED and ES; no canonical cycle has so few


def shows_cycle(frames: int) -> bool:
    """Tell whether a canonical stack of so many frames is a cycle: one frame is an anchor, two are a pair."""
    return frames > _PAIR


@dataclass(frozen=True)
class Cine:
    """A short-axis cine on its native grid, slices from base to apex, frame 0 at ED.

    A subject with an anchor and no cine has a cine of one frame, without an RR interval. A subject with only ED and ES
    has a pair: two frames with the phase of the second, without an RR interval.

    Attributes:
        frames: int16 [T, Z, Y, X]; may be memory-mapped.
        affine: [4, 4], voxel index (x, y, z, 1) to RAS millimetres.
        frame_times_ms: [T], times after frame 0; the cycle lasts `rr_ms`. In a pair, the time of ES is NaN.
        rr_ms: RR interval of the scan; NaN for an anchor and for a pair.
        series: names of the series that the slices came from.
        repairs: repairs made while reading, one sentence each.
        rolled_by: number of frames by which the recorded cycle was rolled so that frame 0 is ED.
        provenance: record of what made the cine.
        ed_by: how frame 0 was found, as `cof.cine.ed.find_ed` names it.
        delay_ms: time from the R peak to frame 0 by trigger times; NaN where it is not known.
        oriented: whether the file states the orientation of the stack in the patient. Otherwise slices are assumed to
            run from base to apex, images to be views from the apex, and the directions of `affine` have no meaning.
        synthetic: whether the file states that its images are synthetic, as those of a generated heart are.
        es_phase: phase of a pair's second frame in (0, 1), with ED at 0; NaN for anything else.
    """

    frames: np.ndarray
    affine: np.ndarray
    frame_times_ms: np.ndarray
    rr_ms: float
    series: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    rolled_by: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)
    ed_by: str = ""
    delay_ms: float = math.nan
    oriented: bool = True
    es_phase: float = math.nan
    synthetic: bool = False

    @property
    def kind(self) -> Literal["anchor", "pair", "cycle"]:
        """Kind of the cine: "anchor" for one frame, "pair" for ED and ES only, "cycle" otherwise."""
        if len(self.frames) == 1:
            return "anchor"
        return "pair" if math.isfinite(self.es_phase) else "cycle"

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along z, y, x in mm; along z it is the distance of slice centres."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    def rolled(self, first: int) -> "Cine":
        """Return the same cycle, beginning at frame `first`; times are counted from there.

        Raises:
            CofError: CINE_TOO_FEW_FRAMES, there is no such frame; PAIR_MISMATCH, a pair would begin at ES.
        """
        if not 0 <= first < len(self.frames):
            raise CofError(
                Reason.CINE_TOO_FEW_FRAMES,
                f"frame {first} is named as ED, but there are only {len(self.frames)} frames, counted from 0",
            )
        if first == 0:
            return self
        if self.kind == "pair":
            raise CofError(Reason.PAIR_MISMATCH, "a pair of ED and ES begins with ED, its first frame")
        times = np.roll(self.frame_times_ms - self.frame_times_ms[first], -first) % self.rr_ms
        return replace(
            self,
            frames=np.roll(self.frames, -first, axis=0),
            frame_times_ms=times,
            rolled_by=self.rolled_by + first,
            delay_ms=(self.delay_ms + self.frame_times_ms[first]) % self.rr_ms,
        )


def uniform_times(frames: int, rr_ms: float) -> np.ndarray:
    """Return the times [T] in ms of evenly spaced frames over one cycle; a single frame is at 0."""
    return np.zeros(1) if frames == 1 else np.arange(frames) * rr_ms / frames


def to_int16(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return intensities as int16: unchanged if they are whole numbers in that range, and scaled otherwise.

    Returns:
        The intensities, and a sentence for the repair if they were scaled.

    Raises:
        CofError: CINE_NOT_FINITE, an intensity is not finite, or all are the same.
    """
    integer = np.issubdtype(values.dtype, np.integer)
    if not (integer or np.isfinite(values).all()):
        bad = int((~np.isfinite(values)).sum())
        raise CofError(
            Reason.CINE_NOT_FINITE,
            f"{bad} of {values.size} intensities are not finite (NaN or infinite): export again, or set them to the "
            "background's value",
        )
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise CofError(Reason.CINE_NOT_FINITE, f"all intensities are the same ({low:g}): the images are blank")
    whole = integer or bool((values == np.rint(values)).all())
    if whole and low >= -(2**15) and high < 2**15:
        return values.astype(np.int16), ()
    factor = _STRETCHED_MAXIMUM / max(abs(low), abs(high))
    return np.rint(values * factor).astype(np.int16), (f"intensities multiplied by {factor:.6g} to fit 16 bits",)


def sidecar(path: Path) -> Path:
    """Return the path of the JSON file beside a NIfTI."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def write_cine(path: Path, cine: Cine, more: dict[str, Any] | None = None) -> None:
    """Write an uncompressed NIfTI (x, y, z, t; int16, unscaled, so that frames can be memory-mapped) and its sidecar.

    Args:
        path: path that ends in `.nii`.
        cine: cine to write; an RR interval of NaN becomes null in the sidecar.
        more: further entries for the sidecar.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = math.isfinite(cine.rr_ms)
    # No contiguous copy is needed: in the NIfTI's order of axes, the frames already lie as it stores them.
    image = nib.Nifti1Image(cine.frames.astype(np.int16, copy=False).transpose(3, 2, 1, 0), cine.affine)
    image.header.set_xyzt_units("mm", "msec")
    zooms = image.header.get_zooms()[:3]
    image.header.set_zooms((*zooms, cine.rr_ms / len(cine.frames) if known else 0.0))
    nib.save(image, path)
    record = {
        "frame_times_ms": [round(float(time), 3) if math.isfinite(time) else None for time in cine.frame_times_ms],
        "rr_ms": float(cine.rr_ms) if known else None,
        "heart_rate_bpm": 60000.0 / float(cine.rr_ms) if known else None,
        "series": list(cine.series),
        "repairs": list(cine.repairs),
        "rolled_by": cine.rolled_by,
        "ed_by": cine.ed_by,
        "delay_ms": round(float(cine.delay_ms), 3) if math.isfinite(cine.delay_ms) else None,
        "oriented": cine.oriented,
        "provenance": cine.provenance,
    } | (more or {})
    if cine.kind == "pair":
        record["es_phase"] = cine.es_phase
    if cine.synthetic:
        record["synthetic"] = True
    sidecar(path).write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False))


def read_cine(path: Path) -> Cine:
    """Read what `write_cine` wrote; the frames stay memory-mapped as a [T, Z, Y, X] view.

    Raises:
        CofError: CINE_UNREADABLE, the file or its sidecar is broken or not of this form.
    """
    try:
        image: Any = nib.load(path)
        record = json.loads(sidecar(path).read_text())
        cine = Cine(
            np.asanyarray(image.dataobj).transpose(3, 2, 1, 0),
            np.asarray(image.affine),
            np.asarray(record["frame_times_ms"], float),  # null becomes NaN
            math.nan if record["rr_ms"] is None else float(record["rr_ms"]),
            tuple(record["series"]),
            tuple(record["repairs"]),
            int(record["rolled_by"]),
            dict(record["provenance"]),
            str(record["ed_by"]),
            math.nan if record["delay_ms"] is None else float(record["delay_ms"]),
            bool(record.get("oriented", True)),
            float(record.get("es_phase", math.nan)),
            bool(record.get("synthetic", False)),
        )
    except Exception as error:  # the parsers can raise anything
        raise_if_broken(error)
        raise CofError(
            Reason.CINE_UNREADABLE,
            f"the cine or its sidecar cannot be read ({type(error).__name__}): run the stage again",
        ) from None
    timed = np.isfinite(cine.frame_times_ms).all() or cine.kind == "pair"
    if cine.frame_times_ms.shape != cine.frames.shape[:1] or not timed:
        raise CofError(Reason.CINE_UNREADABLE, "the sidecar does not hold one time for every frame")
    return cine


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write uint8 labels [T, Z, Y, X] (0 background, 1 LV, 2 myocardium, 3 RV) as a compressed 4D NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels.astype(np.uint8, copy=False).transpose(3, 2, 1, 0), affine), path)


def read_labels(path: Path) -> np.ndarray:
    """Read labels [T, Z, Y, X] as uint8."""
    return np.asarray(nib.load(path).dataobj).transpose(3, 2, 1, 0).astype(np.uint8)  # type: ignore[attr-defined]


def read_frame(path: Path, frame: int) -> np.ndarray:
    """Read one frame [Z, Y, X] of a 4D NIfTI as stored; a compressed file is unpacked only up to that frame."""
    return np.asarray(nib.load(path).dataobj[..., frame]).transpose(2, 1, 0)  # type: ignore[attr-defined]


def read_anchor_labels(path: Path) -> np.ndarray:
    """Read the labels [Z, Y, X] of frame 0 as uint8."""
    return read_frame(path, 0).astype(np.uint8)


@dataclass(frozen=True)
class StoredFrames:
    """The frames of a 4D NIfTI, each read on access: a whole cohort needs neither memory nor open files.

    Attributes:
        path: path of the NIfTI.
        shape: (T, Z, Y, X).
    """

    path: Path
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> "StoredFrames":
        """Return the frames of a file; only its header is read."""
        return cls(path, tuple(reversed(nib.load(path).shape)))  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frame: int) -> np.ndarray:
        """Read a frame [Z, Y, X] as stored."""
        return read_frame(self.path, frame)
