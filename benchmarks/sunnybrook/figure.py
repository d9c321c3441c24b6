"""Figure of all slices of a real cine and its twin at ED and ES with contours: `figure.py --case GT TWIN --out PNG`."""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

COLOURS = {1: "#ff5a5f", 2: "#4cc9f0", 3: "#ffd166"}
MARGIN = 12


def box(labels: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns around all labels [..., Y, X]."""
    y, x = np.nonzero(labels.reshape(-1, *labels.shape[-2:]).any(0))
    return tuple(  # type: ignore[return-value]
        slice(max(0, low - MARGIN), high + MARGIN) for low, high in ((y.min(), y.max()), (x.min(), x.max()))
    )


def main() -> None:
    """Draw the figure: rows are the twin at ED and ES, and the real cine where the expert has contours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cine", type=Path, required=True, help="the real cine, 4-D NIfTI")
    parser.add_argument("--contours", type=Path, required=True, help="its contours, 3 for the LV's cavity")
    parser.add_argument("--twin", type=Path, required=True, help="folder of cof twin")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    mpl.use("Agg")

    def frames(path: Path) -> np.ndarray:
        return np.asarray(nib.load(path).dataobj).transpose(3, 2, 1, 0)

    scan = json.loads((arguments.twin / "summary.json").read_text())["scan"]
    twin, labels = frames(arguments.twin / "twin.nii"), frames(arguments.twin / "twin.labels.nii.gz")
    real = np.roll(frames(arguments.cine), -scan["rolled_by"], 0)
    drawn = np.roll(frames(arguments.contours), -scan["rolled_by"], 0)
    if any("reversed" in repair for repair in scan["repairs"]):
        real, drawn = real[:, ::-1], drawn[:, ::-1]
    es = int((labels == 1).sum((1, 2, 3)).argmin())
    annotated = np.flatnonzero((drawn == 3).any((1, 2, 3)))
    real_es = int(annotated[np.argmin((drawn[annotated] == 3).sum((1, 2, 3)))])
    rows = [
        ("scan at ED: labels, contours white", real[0], labels[0], drawn[0]),
        ("generated, ES: labels", twin[es], labels[es], None),
        ("real, ES: contours white", real[real_es], None, drawn[real_es]),
    ]
    y, x = box(labels[:1] > 0)
    count = twin.shape[1]
    figure, axes = plt.subplots(len(rows), count, figsize=(1.15 * count, 1.35 * len(rows)), squeeze=False)
    for line, (title, image, coloured, white) in zip(axes, rows):
        top = np.percentile(image, 99.5)
        for z, axis in enumerate(line):
            axis.imshow(image[z, y, x], cmap="gray", vmin=0, vmax=top)
            for structure, colour in COLOURS.items() if coloured is not None else ():
                axis.contour(coloured[z, y, x] == structure, [0.5], colors=colour, linewidths=0.7)
            if white is not None and (white[z] == 3).any():
                axis.contour(white[z, y, x] == 3, [0.5], colors="white", linewidths=0.7)
            axis.set_axis_off()
        line[0].set_title(title, fontsize=7, loc="left")
    figure.tight_layout(pad=0.2)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
