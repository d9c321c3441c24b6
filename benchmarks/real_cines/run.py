"""Real cines through a chain trained on phantoms alone: twins, and the labeller's error against real contours.

Run with `--help`; README.md explains the output.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from cof.cine.annotations import read_annotation
from cof.cine.reader import read_cine_source
from cof.labels.predict import Labeller
from cof.metrics.overlap import dice
from cof.twins.single import twin_from_files

# Sunnybrook's contours as 4D labels: 3 is the LV cavity (ED and ES), 2 the myocardium (ED alone).
STRUCTURES = {"LV": (1, 3), "myocardium": (2, 2)}
NOTICE = (
    "The ECGs are from other people: the pairing is arbitrary, and no number here measures the prediction of motion."
)


def compare(case: str, scan: Path, contours: Path, labeller: Labeller) -> tuple[list[dict[str, object]], int]:
    """Return rows of Dice and volumes of the labeller against the contours at ED and ES, and the ED frame.

    Args:
        case: name of the row.
        scan: cine of one patient.
        contours: 4D labels on the cine's voxels; unlabelled frames are zero.
        labeller: trained on phantoms.
    """
    cine = read_cine_source(scan, max_missing=0.1)
    drawn = read_annotation(contours, cine)
    area = (drawn == STRUCTURES["LV"][1]).sum((1, 2, 3))
    drawn_frames = np.flatnonzero(area)
    ed, es = int(drawn_frames[area[drawn_frames].argmax()]), int(drawn_frames[area[drawn_frames].argmin()])
    found = labeller.label(np.asarray(cine.frames[[ed, es]]), cine.spacing_mm)
    voxel_ml = float(np.prod(cine.spacing_mm)) / 1000
    rows: list[dict[str, object]] = []
    for phase, frame, labels in (("ED", ed, found[0]), ("ES", es, found[1])):
        for structure, (ours, theirs) in STRUCTURES.items():
            real = drawn[frame] == theirs
            if not real.any():
                continue
            # Contours exist only on the slices that the expert annotated; only these slices count.
            slices = (drawn[frame] > 0).any((1, 2))
            made = (labels == ours) & slices[:, None, None]
            rows.append(
                {
                    "case": case,
                    "phase": phase,
                    "structure": structure,
                    "slices": int(slices.sum()),
                    "contour_ml": round(real.sum() * voxel_ml, 1),
                    "labeller_ml": round(made.sum() * voxel_ml, 1),
                    "dice": round(float(dice(made[None].astype(np.uint8), real[None].astype(np.uint8), 1)[0]), 3),
                }
            )
    return rows, ed


def main() -> None:
    """Make a twin of every case and compare the labeller with the contours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results folder with the trained models")
    parser.add_argument("--model", default="cof")
    parser.add_argument(
        "--case",
        nargs=4,
        action="append",
        required=True,
        metavar=("NAME", "SCAN", "CONTOURS", "ECG"),
        help="repeatable",
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    labeller = Labeller.load(arguments.results / "labeller", mirroring=False)
    rows: list[dict[str, object]] = []
    for name, scan, contours, ecg in arguments.case:
        case, ed = compare(name, Path(scan), Path(contours), labeller)
        rows += case
        folder = arguments.out / name
        twin_from_files(
            ecg=Path(ecg), scan=Path(scan), weights=arguments.results, model=arguments.model, out=folder, ed_frame=ed
        )
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps({"pairing": NOTICE} | summary, indent=1))
    table = pd.DataFrame(rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "labeller.csv", index=False)
    text = table.astype(str)
    lines = ["| " + " | ".join(text.columns) + " |", "|" + " --- |" * len(text.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in text.to_numpy()]
    (arguments.out / "labeller.md").write_text(NOTICE + "\n\n" + "\n".join(lines) + "\n")
    print((arguments.out / "labeller.md").read_text())


if __name__ == "__main__":
    main()
