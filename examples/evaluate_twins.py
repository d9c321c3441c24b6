"""Compare a folder of generated hearts (anchor at frame 0) with the labels of the real hearts.

python examples/evaluate_twins.py results/twins/cof/b000 results/labels/b000
"""

import sys
from pathlib import Path

import pandas as pd

from cof.cine.volume import read_cine, read_labels
from cof.heart.function import ventricular_function, volume_curve
from cof.heart.structures import STRUCTURES
from cof.metrics.overlap import dice

twins, real = map(Path, sys.argv[1:])
rows = []
for file in sorted(twins.glob("*.labels.nii.gz")):
    name = file.name.removesuffix(".labels.nii.gz")
    cine, pair = read_cine(twins / f"{name}.nii"), (read_labels(file), read_labels(real / f"{name}.nii.gz"))
    scores = {f"Dice {key}": dice(*pair, label)[1:].mean() for key, label in STRUCTURES.items()}  # without the anchor
    curves = [volume_curve(labels, STRUCTURES["LV"], cine.spacing_mm) for labels in pair]
    made, true = (ventricular_function(curve, cine.rr_ms).ef_pct for curve in curves)
    rows.append({"subject": name, **scores, "EF": made, "real EF": true})
print(pd.DataFrame(rows).set_index("subject").round(3).to_string())
