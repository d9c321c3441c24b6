"""Share of hearts with known volumes that the plausibility checks warn about.

Run with `--help`; README.md has the numbers.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np

from cof.heart.function import MYOCARDIAL_DENSITY_G_PER_ML
from cof.quality.plausibility import CHECKS, Heart, doubts, measure

# ACDC's label codes, which differ from ours.
LV, MYOCARDIUM, RV = 3, 2, 1


def acdc(folder: Path) -> dict[str, Heart]:
    """Return the hearts of ACDC's training set: `patient*/Info.cfg` and the experts' labels at ED and ES."""
    hearts = {}
    for patient in sorted(folder.glob("patient*")):
        lines = (line.split(":") for line in (patient / "Info.cfg").read_text().splitlines() if ":" in line)
        info = {key.strip(): value.strip() for key, value in lines}
        volumes = []
        for moment in ("ED", "ES"):
            image = nib.load(patient / f"{patient.name}_frame{int(info[moment]):02d}_gt.nii.gz")
            labels = np.asarray(image.dataobj).astype(np.uint8)
            voxel_ml = float(np.prod(image.header.get_zooms()[:3])) / 1000
            volumes.append([float((labels == code).sum()) * voxel_ml for code in (LV, MYOCARDIUM, RV)])
        lv, wall, rv = np.array(volumes).T
        hearts[f"{info['Group']}/{patient.name}"] = Heart(lv, rv, MYOCARDIAL_DENSITY_G_PER_ML * float(wall[0]))
    return hearts


def phantoms(folder: Path) -> dict[str, Heart]:
    """Return the hearts of a synthetic cohort by the exact labels of every frame: `phantom/truth/*.json`."""
    hearts = {}
    for file in sorted((folder / "truth").glob("*.json")):
        truth = json.loads(file.read_text())
        hearts[file.stem] = Heart(
            np.array(truth["label_lv_ml"]),
            np.array(truth["label_rv_ml"]),
            float(truth["label_lvm_g"]),
            float(truth["rr_ms"]),
            60_000 / float(truth["latents"]["hr_ecg_bpm"]),
        )
    return hearts


def report(title: str, hearts: dict[str, Heart]) -> None:
    """Print the rate of warnings of every check, and of all together."""
    found = {name: doubts(measure(heart)) for name, heart in hearts.items()}
    counts = Counter(doubt.check.key for warned in found.values() for doubt in warned)
    defined = {check.key: sum(np.isfinite(check.value(heart)) for heart in hearts.values()) for check in CHECKS}
    print(f"## {title}: {len(hearts)} hearts\n\n| check | limits | defined for | warned about |\n|---|---|---:|---:|")
    for check in CHECKS:
        print(f"| {check.label} | {check.limits} | {defined[check.key]} | {counts[check.key]} |")
    print(f"| any | | {len(hearts)} | {sum(map(bool, found.values()))} |\n")


def main() -> None:
    """Print one table per set of hearts that is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acdc", type=Path, help="ACDC's training set, a folder for each patient")
    parser.add_argument("--phantom", type=Path, help="folder phantom/ of a run")
    arguments = parser.parse_args()
    if arguments.acdc:
        report("ACDC", acdc(arguments.acdc))
    if arguments.phantom:
        report("Phantoms", phantoms(arguments.phantom))


if __name__ == "__main__":
    main()
