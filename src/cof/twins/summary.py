"""The parts of a heart's summary that describe what it was made from, as JSON values."""

from typing import Any

import pandas as pd

from cof.cine.volume import Cine


def ecg_record(beat: pd.Series, repairs: list[str]) -> dict[str, Any]:
    """Describe an ECG.

    Args:
        beat: its row of the table beats.
        repairs: what was repaired while reading it.
    """
    return {
        "rr_ms": round(float(beat["rr_ms"]), 1),
        "correlation": round(float(beat["correlation"]), 3),
        "low_quality": bool(beat["low_quality"]),
        "irregular": bool(beat["irregular"]),
        "ectopic_beats": int(beat["ectopic_beats"]),
        "paced": bool(beat["paced"]),
        "repairs": repairs,
    }


def scan_record(stack: Cine, lone: bool, anchor_phase: float) -> dict[str, Any]:
    """Describe a scan.

    Args:
        stack: the scan as read.
        lone: whether it is a single anchor volume.
        anchor_phase: phase in [0, 1) of the frame that the model saw.
    """
    return {
        "kind": "anchor" if lone else "cine",
        "anchor_phase": anchor_phase,
        "slices": stack.frames.shape[1],
        "frames": stack.frames.shape[0],
        "rolled_by": stack.rolled_by,
        "ed_by": stack.ed_by,
        "repairs": list(stack.repairs),
        "synthetic": stack.synthetic,
    }
