"""Writer of the truth, which only evaluation may read: exact labels, displacement and function, and latents."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from cof.cine.volume import write_labels
from cof.phantom.anatomy import MYOCARDIAL_DENSITY
from cof.phantom.dicom import Oddities
from cof.phantom.motion import Deformation
from cof.phantom.scanner import Acquisition
from cof.phantom.stack import SLICE_DISTANCE_MM, Stack


def describe(motion: Deformation, stack: Stack, labels: np.ndarray, oddities: Oddities) -> dict[str, Any]:
    """Return latents, exact function and acquisition of one visit as plain values.

    `*_ml` without a prefix are exact; `label_*` count the voxels of the exact labels, which include the discretisation
    by the slices.
    """
    beat, heart = motion.beat, motion.heart
    rr = beat.latents.rr_cmr_ms
    times = np.arange(len(labels)) * rr / len(labels)
    voxel_ml = stack.spacing_mm**2 * SLICE_DISTANCE_MM / 1000
    counted = {name: (labels == value).sum((1, 2, 3)) * voxel_ml for name, value in (("lv", 1), ("myo", 2), ("rv", 3))}

    def plain(values: Any) -> list[float]:
        return [round(float(v), 5) for v in np.ravel(values)]

    return {
        "latents": beat.latents.to_dict(),
        "rr_ms": rr,
        "t_es_ms": beat.t_es_ms,
        "es_frame": int(np.argmin(beat.volume_ml(times))),
        "lv_ml": plain(beat.volume_ml(times)),
        "rv_ml": plain(beat.rv_volume_ml(times)),
        "edv_ml": float(beat.volume_ml(0.0)),
        "esv_ml": float(beat.volume_ml(beat.t_es_ms)),
        "ef_pct": beat.latents.ef_pct,
        "label_lv_ml": plain(counted["lv"]),
        "label_rv_ml": plain(counted["rv"]),
        "label_lvm_g": round(float(MYOCARDIAL_DENSITY * counted["myo"][0]), 5),
        "segments": {
            "gain": plain(beat.gain),
            "delay_ms": plain(beat.delay_ms),
            "infarct_share": plain(heart.infarct_share),
            "cavity_share": plain(beat.share),
        },
        "stack": {
            "spacing_mm": [SLICE_DISTANCE_MM, stack.spacing_mm, stack.spacing_mm],
            "slice_shift_mm": [plain(shift) for shift in stack.shift_mm],
            "slice_height_mm": plain(stack.height_mm),
            "long_axis_pixel": plain(stack.centre),
        },
        "oddities": {
            "repeated_slice": oddities.repeated_slice,
            "missing": None if oddities.missing is None else list(oddities.missing),
            "mixed_file_order": oddities.mixed_file_order,
            "misspelt_manifest": oddities.misspelt_manifest,
            "inline_vf": oddities.inline_vf,
        },
    }


def write_truth(
    folder: Path,
    name: str,
    motion: Deformation,
    stack: Stack,
    scan: Acquisition,
    oddities: Oddities,
    stamp: dict[str, Any],
) -> None:
    """Write `{name}.labels.nii.gz`, `{name}.json` and, where the scan has it, `{name}.safetensors`.

    The displacement u is float16 [T, 3, Z, rows, columns] in mm along the image's z (towards the apex), y and x axes:
    the tissue at x in frame t lay at x + u in frame 0. It covers the part of the native slices that can move; its first
    voxel is native voxel `origin` (z, y, x), and outside it the displacement is zero. Breath-hold shifts are not part
    of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_labels(folder / f"{name}.labels.nii.gz", scan.labels, stack.affine())
    if scan.displacement is not None:
        geometry = {
            "origin": [0, stack.box[0], stack.box[2]],
            "native_shape": list(scan.labels.shape[1:]),
            "spacing_mm": [SLICE_DISTANCE_MM, stack.spacing_mm, stack.spacing_mm],
            "provenance": stamp,
        }
        # Only one key, since the library does not keep the order of several.
        save_file(
            {"displacement": scan.displacement},
            folder / f"{name}.safetensors",
            metadata={"geometry": json.dumps(geometry, sort_keys=True)},
        )
    record = describe(motion, stack, scan.labels, oddities) | {"provenance": stamp}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1, sort_keys=True))
