"""Errors that a user can act on, and the removal of participant ids from text."""

import errno
import re
from enum import StrEnum

# Besides CofError, what faulty data can raise where a stage computes with them: no beat, no voxel, no inverse. No other
# error (no memory, a full disk, a bug) is the fault of a subject.
DATA_ERRORS = (ValueError, IndexError, ArithmeticError)

# Errors of the operating system that no file's content can cause: disk, network, limits of open files or memory.
_OF_THE_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EROFS,
     errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, errno.ENOTCONN, errno.EREMOTEIO)
)  # fmt: skip

# The shape of a UK Biobank participant id, which must not appear in any log, message or report.
_PARTICIPANT_ID = re.compile(r"(?<!\d)[1-6]\d{6}(?!\d)")


class Reason(StrEnum):
    """Why a subject was left out. docs/reference/exclusions.md explains each code."""

    ECG_MISSING = "ecg_missing"
    ECG_UNREADABLE = "ecg_unreadable"
    ECG_LEAD_MISSING = "ecg_lead_missing"
    ECG_UNITS = "ecg_units"
    ECG_NOT_FINITE = "ecg_not_finite"
    ECG_TOO_SHORT = "ecg_too_short"
    ECG_POOR_QUALITY = "ecg_poor_quality"
    BEAT_NONE = "beat_none"
    BEAT_RATE_MISMATCH = "beat_rate_mismatch"
    CINE_MISSING = "cine_missing"
    CINE_UNREADABLE = "cine_unreadable"
    CINE_NO_SHORT_AXIS = "cine_no_short_axis"
    CINE_TOO_FEW_SLICES = "cine_too_few_slices"
    CINE_TOO_FEW_FRAMES = "cine_too_few_frames"
    CINE_GEOMETRY = "cine_geometry"
    CINE_NOT_FINITE = "cine_not_finite"
    CINE_SYNTHETIC = "cine_synthetic"
    ANCHOR_MISMATCH = "anchor_mismatch"
    PAIR_MISMATCH = "pair_mismatch"
    ANNOTATION_UNREADABLE = "annotation_unreadable"
    ANNOTATION_MISMATCH = "annotation_mismatch"
    ANNOTATION_CODES = "annotation_codes"
    HEART_NOT_FOUND = "heart_not_found"
    QUALITY_ECG = "quality_ecg"
    QUALITY_BEAT = "quality_beat"
    QUALITY_RHYTHM = "quality_rhythm"
    QUALITY_RATE = "quality_rate"
    QUALITY_SLICE_SHIFT = "quality_slice_shift"
    QUALITY_BASE = "quality_base"
    QUALITY_APEX = "quality_apex"
    QUALITY_BLUR = "quality_blur"
    QUALITY_GHOST = "quality_ghost"
    QUALITY_CLOSURE = "quality_closure"
    QUALITY_DROPOUT = "quality_dropout"
    QUALITY_LABELS = "quality_labels"
    UNEXPECTED = "unexpected"


class CofError(Exception):
    """A fault in one subject's input, with the reason code that its exclusion row carries."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UsageError(Exception):
    """A fault in what the user typed or configured: printed as one line, without a traceback."""


def raise_if_broken(error: Exception) -> None:
    """Re-raise an error that comes from a broken machine or installation, not from a faulty file.

    Call it first in every handler that reports a foreign file as unreadable. It re-raises missing memory, a full or
    faulty disk, a lost network drive, too many open files, and a missing package.
    """
    if isinstance(error, MemoryError | ImportError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE):
        raise error


def redact(text: str) -> str:
    """Return `text` with everything that is shaped like a participant id replaced by `<id>`."""
    return _PARTICIPANT_ID.sub("<id>", text)
