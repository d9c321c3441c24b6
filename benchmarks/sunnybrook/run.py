"""The labeller on another scanner: the left ventricles of Sunnybrook's 45 patients, and two of its cines.

Run with `--help`; README.md explains the output.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from cof.cine.annotations import read_annotation
from cof.cine.reader import read_cine_source
from cof.config import parse
from cof.heart.structures import STRUCTURES
from cof.labels.predict import Labeller
from cof.metrics.overlap import dice
from cof.tables.bootstrap import interval_of, resampled

# Every scan has 20 frames a slice, and its images are numbered slice after slice.
FRAMES = 20
NAME = re.compile(r"(SC-(HF-I|HF-NI|HYP|N)-\d+)-IM-\d+-(\d+)")
# Sunnybrook's contours as 4D labels: 3 is the LV cavity (ED and ES), 2 the myocardium (ED alone).
CODES = {3: STRUCTURES["LV"], 2: STRUCTURES["myocardium"]}
# Both 4D cines have it; the PNGs do not tell theirs.
SPACING_MM = (10.0, 1.367, 1.367)
WORST = 0.1


@dataclass(frozen=True)
class Stack:
    """The slices of one frame that have a contour.

    Attributes:
        patient: name.
        group: HF-I (heart failure with infarct), HF-NI (without), HYP (hypertrophy) or N (normal).
        phase: ED or ES.
        images: [Z, Y, X].
        cavity: bool, of the same shape: the LV inside its endocardial contour.
    """

    patient: str
    group: str
    phase: str
    images: np.ndarray
    cavity: np.ndarray


def stacks(folder: Path) -> Iterator[Stack]:
    """Yield the two contoured frames of every patient; ED has the larger cavity in the slices that both have."""
    found: dict[tuple[str, str], dict[int, dict[int, Path]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted((folder / "Images").glob("*.png")):
        name = NAME.match(path.name)
        if name is None:
            raise SystemExit(f"{path.name} is no image of the Sunnybrook Cardiac Data")
        number = int(name[3])
        found[name[1], name[2]][number % FRAMES][number // FRAMES] = path
    for (patient, group), frames in sorted(found.items()):
        if len(frames) != 2:
            raise SystemExit(f"{patient} has contours in {len(frames)} frames; ED and ES are expected")
        common = set.intersection(*(set(slices) for slices in frames.values()))
        areas = {
            frame: sum(_cavity(folder, slices[index]).sum() for index in common) for frame, slices in frames.items()
        }
        for frame, slices in frames.items():
            paths = [slices[index] for index in sorted(slices)]
            images = np.stack([np.asarray(Image.open(path).convert("L")) for path in paths])
            cavity = np.stack([_cavity(folder, path) for path in paths])
            yield Stack(patient, group, "ED" if areas[frame] == max(areas.values()) else "ES", images, cavity)


def _cavity(folder: Path, image: Path) -> np.ndarray:
    """Return the filled contour of an image."""
    return np.asarray(Image.open(folder / "Labels" / image.name).convert("L")) > 0


def of_pngs(folder: Path, labeller: Labeller, spacing_mm: tuple[float, float, float]) -> pd.DataFrame:
    """Return one row per patient and phase: Dice of the LV over the stack, and the mean Dice of its slices."""
    rows = []
    for stack in stacks(folder):
        found = labeller.label(stack.images[None], spacing_mm)[0] == STRUCTURES["LV"]
        made, drawn = (mask.astype(np.uint8) for mask in (found, stack.cavity))
        rows.append(
            {
                "patient": stack.patient,
                "group": stack.group,
                "phase": stack.phase,
                "slices": len(made),
                "dice": float(dice(made[None], drawn[None], 1)[0]),
                "dice_of_slices": float(np.nanmean(dice(made[:, None], drawn[:, None], 1))),
                "area_ratio": float(made.sum() / drawn.sum()),
            }
        )
    return pd.DataFrame(rows)


def of_cine(name: str, scan: Path, contours: Path, labeller: Labeller) -> list[dict[str, object]]:
    """Return one row per phase and structure of one cine: Dice and volumes on the slices that have contours."""
    cine = read_cine_source(scan, max_missing=0.1)
    drawn = read_annotation(contours, cine, CODES)
    area = (drawn == STRUCTURES["LV"]).sum((1, 2, 3))
    frames = np.flatnonzero(area)
    ed, es = int(frames[area[frames].argmax()]), int(frames[area[frames].argmin()])
    found = labeller.label(np.asarray(cine.frames[[ed, es]]), cine.spacing_mm)
    voxel_ml = float(np.prod(cine.spacing_mm)) / 1000
    rows: list[dict[str, object]] = []
    for phase, frame, labels in (("ED", ed, found[0]), ("ES", es, found[1])):
        slices = drawn[frame].any((1, 2))
        for structure in ("LV", "myocardium"):
            real, made = (one[slices] == STRUCTURES[structure] for one in (drawn[frame], labels))
            if real.any():
                both = (mask.astype(np.uint8)[None] for mask in (made, real))
                rows.append(
                    {
                        "case": name,
                        "phase": phase,
                        "structure": structure,
                        "slices": int(slices.sum()),
                        "dice": round(float(dice(*both, 1)[0]), 3),
                        "contour_ml": round(real.sum() * voxel_ml, 1),
                        "labeller_ml": round(made.sum() * voxel_ml, 1),
                    }
                )
    return rows


def say(rows: pd.DataFrame, spacing_mm: tuple[float, float, float]) -> str:
    """Return means over patients of the PNGs' rows as Markdown."""
    groups = sorted(set(rows["group"]))
    lines = ["| LV Dice | all | " + " | ".join(groups) + " | of slices | area, ours over theirs |"]
    lines.append("|" + " --- |" * (len(groups) + 4))
    for phase in ("ED", "ES", "mean"):
        these = rows if phase == "mean" else rows[rows["phase"] == phase]
        means = these.groupby("patient")["dice"].mean().to_numpy()
        low, high = interval_of(resampled(means[:, None], 1000, 0))
        cells = [f"{these.loc[these['group'] == group, 'dice'].mean():.3f}" for group in groups]
        cells += [f"{these['dice_of_slices'].mean():.3f}", f"{these['area_ratio'].mean():.3f}"]
        lines.append(f"| {phase} | {means.mean():.3f} [{low:.3f}, {high:.3f}] | " + " | ".join(cells) + " |")
    ranked = rows.groupby("patient")["dice"].mean().sort_values()
    worst = ", ".join(f"{name} {value:.3f}" for name, value in ranked.head(round(WORST * len(ranked))).items())
    said = f"{rows['patient'].nunique()} patients, {int(rows['slices'].sum())} slices"
    assumed = "the images tell no spacing: " + " x ".join(f"{step:g}" for step in spacing_mm) + " mm (z, y, x) assumed"
    return "\n".join([f"{said}; {assumed}.", "", *lines, "", f"Worst tenth: {worst}."])


def main() -> None:
    """Label the given images; write rows and tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="folder with labeller/ and config.json")
    parser.add_argument("--png", type=Path, help="folder with Images/ and Labels/")
    parser.add_argument("--spacing", type=float, nargs=3, default=SPACING_MM, help="of the PNGs, mm (z, y, x)")
    parser.add_argument("--case", nargs=3, action="append", default=[], metavar=("NAME", "SCAN", "CONTOURS"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = parse(json.loads((arguments.weights / "config.json").read_text()), "config.json")
    labeller = Labeller.load(arguments.weights / "labeller", settings.labels.mirroring)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = [f"{arguments.weights}"]
    if arguments.png is not None:
        spacing = tuple(arguments.spacing)
        rows = of_pngs(arguments.png, labeller, spacing)
        rows.to_csv(arguments.out / "png.csv", index=False, float_format="%.6g")
        text.append(say(rows, spacing))
    cines = [
        row for name, scan, contours in arguments.case for row in of_cine(name, Path(scan), Path(contours), labeller)
    ]
    if cines:
        table = pd.DataFrame(cines)
        table.to_csv(arguments.out / "cines.csv", index=False)
        lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
        text.append("\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in table.to_numpy())]))
    (arguments.out / "sunnybrook.md").write_text("\n\n".join(text) + "\n")
    print((arguments.out / "sunnybrook.md").read_text())


if __name__ == "__main__":
    main()
