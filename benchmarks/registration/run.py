"""TOPPR compared with widely used registration tools: the same ED to ES pairs, the same grid, one run.

Run with `--help`; README.md explains the output.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from cof.artefacts.parquet import read_table
from cof.cine.annotations import read_annotation
from cof.cine.grid import Placement, place, read_grid, to_canonical
from cof.cine.reader import read_cine_source
from cof.cine.volume import read_cine
from cof.config.data import GridSettings
from cof.config.motion import PathSettings, RefinementSettings
from cof.heart.structures import STRUCTURES
from cof.metrics.overlap import dice
from cof.motion.cycle import register_cycle
from cof.motion.jacobian import jacobian_determinant
from cof.motion.labels import warp_labels
from cof.motion.native import native_displacement
from cof.motion.refinement import refine
from cof.motion.resolution import to_canonical as motion_to_canonical
from cof.motion.resolution import to_motion
from cof.motion.stage import Trained, load
from cof.motion.warp import fill_invalid
from cof.tables.bootstrap import interval_of, resampled
from cof.truth.artefacts import Truth

sys.path.append(str(Path(__file__).parents[1] / "shared"))
from peers import TUNED_DEMONS, TUNED_SYN, demons, syn, unmoved
from timing import timed

SUNNYBROOK_LV, SUNNYBROOK_MYOCARDIUM = 3, 2
FRAMES = 50
REPEATS = 7
COLUMNS = {
    "dice_lv": "LV Dice",
    "dice_myo": "Myo Dice",
    "dice_rv": "RV Dice",
    "epe_mm": "EPE, mm",
    "epe_in_plane_mm": "EPE in-plane, mm",
    "folded_pct": "J <= 0, %",
    "jacobian_myo": "J in myocardium",
    "cpu_s": "CPU s a pair",
    "wall_s": "wall s a pair",
}


@dataclass(frozen=True)
class Pair:
    """An ED volume (moving) and an ES volume (fixed) of one heart, with the known truth.

    Attributes:
        name: of the heart.
        cohort: `synthetic` or `real`.
        moving: float32 [Z, Y, X] in [0, 1] on the canonical grid.
        fixed: the same shape.
        placement: the canonical grid in the native stack.
        labels: uint8 [2, Z, Y, X], native, of ED and ES.
        slices: bool [Z], native slices that count.
        displacement: exact, [3, Z, Y/2, X/2] in mm on the motion grid, and where it counts; None where not known.
        cycle: float32 [T, Z, Y, X], the canonical cine.
    """

    name: str
    cohort: str
    moving: np.ndarray
    fixed: np.ndarray
    placement: Placement
    labels: np.ndarray
    slices: np.ndarray
    displacement: tuple[np.ndarray, np.ndarray] | None
    cycle: np.ndarray


@dataclass(frozen=True)
class Found:
    """A displacement in mm (z, y, x): [1, 3, Z, Y, X] on the canonical and on the native grid."""

    canonical: Tensor
    native: Tensor


Method = Callable[
    [Pair], Callable[[], Found]
]  # registers when called, and gives the rest of the work to do after timing


def synthetic(results: Path, split: str, count: int | None) -> Iterator[Pair]:
    """Yield the pairs of a split of the synthetic cohort: ED is frame 0, ES the frame with the smallest exact LV."""
    cohort, key = read_table(results / "cohort/subjects.parquet"), read_table(results / "cohort/key.parquet")
    rows = cohort.merge(key, on="subject", suffixes=("", "_raw"))
    for _, row in rows[rows["split"] == split].sort_values("subject").head(count or len(rows)).iterrows():
        path = results / "grid" / row["batch"] / f"{row['subject']}.nii"
        if not path.is_file():
            continue
        frames, placement, _ = read_grid(path)
        frames = fill_invalid(torch.from_numpy(frames), placement.valid).numpy()
        native = read_cine(results / "cine" / row["batch"] / path.name)
        truth = Truth.read(results / "phantom/truth", f"{row['participant_raw']}_{row['visit_raw']}", native)
        es = int((truth.labels == STRUCTURES["LV"]).sum((1, 2, 3)).argmin())
        exact = truth.on_motion_grid(placement, len(frames))
        yield Pair(
            row["subject"],
            "synthetic",
            frames[0],
            frames[es],
            placement,
            truth.labels[[0, es]],
            np.ones(len(truth.labels[0]), bool),
            None if exact is None else (exact[0][es], exact[1][es]),
            frames,
        )


def real(name: str, scan: Path, contours: Path, grid: GridSettings) -> Pair:
    """Return the pair of a contoured cine: ED and ES are the contoured frames with the largest and the smallest LV."""
    cine = read_cine_source(scan, max_missing=0.1)
    drawn = read_annotation(contours, cine)
    area = (drawn == SUNNYBROOK_LV).sum((1, 2, 3))
    frames = np.flatnonzero(area)
    ed, es = int(frames[area[frames].argmax()]), int(frames[area[frames].argmin()])
    codes = [STRUCTURES["LV"], STRUCTURES["myocardium"]]
    labels = np.select([drawn == SUNNYBROOK_LV, drawn == SUNNYBROOK_MYOCARDIUM], codes, 0).astype(np.uint8)[[ed, es]]
    placement = place(np.asarray(cine.frames[ed]), labels[0], cine.spacing_mm, grid)
    cycle = to_canonical(np.roll(cine.frames, -ed, axis=0), placement)
    cycle = fill_invalid(torch.from_numpy(cycle), placement.valid).numpy()
    # Contours exist only on the slices that the expert annotated; only these slices count.
    slices = (labels == STRUCTURES["LV"]).any((2, 3)).all(0)
    moving, fixed = cycle[0], cycle[(es - ed) % len(cycle)]
    return Pair(name, "real", moving, fixed, placement, labels, slices, None, cycle)


def by_network(trained: Trained, steps: int = 0) -> Method:
    """Return the method of a trained network followed by some steps of refinement."""
    path = PathSettings(refinement=RefinementSettings(steps=steps))
    settings = trained.settings.model_copy(update={"path": path})

    def register(pair: Pair) -> Callable[[], Found]:
        source, target = (torch.from_numpy(volume)[None, None] for volume in (pair.moving, pair.fixed))
        u = refine(trained.network, source, target, pair.placement.valid, settings).displacement
        return lambda: Found(motion_to_canonical(u), native_displacement(u, pair.placement))

    return register


def by_tool(tool: Callable[..., np.ndarray], **options: object) -> Method:
    """Return the method of a tool of `peers`."""

    def register(pair: Pair) -> Callable[[], Found]:
        u = tool(pair.fixed, pair.moving, pair.placement.spacing_mm, **options)
        return lambda: Found(torch.from_numpy(u)[None], torch.from_numpy(to_native(u, pair.placement))[None])

    return register


def to_native(displacement: np.ndarray, placement: Placement) -> np.ndarray:
    """Return a displacement [3, Z, Y, X] of the canonical grid at native voxels, by linear interpolation; 0 outside."""
    axes = [
        (np.arange(size) - offset) / scale
        for size, offset, scale in zip(placement.native_shape, placement.offset, placement.scale)
    ]
    at = np.stack(np.meshgrid(*axes, indexing="ij"))
    last = np.array(placement.shape).reshape(3, 1, 1, 1) - 0.5
    inside = ((at > -0.5) & (at < last)).all(0)
    return np.stack([map_coordinates(part, at, order=1, mode="nearest") * inside for part in displacement])


def measure(pair: Pair, found: Found) -> dict[str, float]:
    """Return the quality of a displacement: overlap on the native grid, end-point error, and topology."""
    spacing = pair.placement.native_spacing_mm
    warped = warp_labels(torch.from_numpy(pair.labels[0]), found.native, spacing).numpy()[:, pair.slices]
    target = pair.labels[1:][:, pair.slices]
    structures = {"lv": "LV"} if pair.cohort == "real" else {"lv": "LV", "myo": "myocardium", "rv": "RV"}
    row = {f"dice_{name}": float(dice(warped, target, STRUCTURES[label])[0]) for name, label in structures.items()}
    determinant = jacobian_determinant(found.canonical, pair.placement.spacing_mm)[:, list(pair.placement.valid)]
    row["folded_pct"] = 100 * float((determinant <= 0).float().mean())
    if pair.displacement is not None:
        native = jacobian_determinant(found.native, spacing)[0].numpy()
        row["jacobian_myo"] = float(native[pair.labels[1] == STRUCTURES["myocardium"]].mean())
        exact, known = pair.displacement
        error = (to_motion(found.canonical)[0].numpy() - exact)[:, known]
        row["epe_mm"] = float(np.linalg.norm(error, axis=0).mean())
        row["epe_in_plane_mm"] = float(np.linalg.norm(error[1:], axis=0).mean())
    return row


def speed(trained: Trained, pairs: list[Pair]) -> str:
    """Return the times of a cycle of `FRAMES` frames by a network and by default SyN on each of its pairs, as Markdown.

    They run in turn, so that other load disturbs both alike; the fastest repeat counts.
    """
    found = []
    for pair in pairs:
        frames = torch.from_numpy(pair.cycle[np.arange(FRAMES) * len(pair.cycle) // FRAMES])
        cycle = partial(register_cycle, trained.network, frames, pair.placement.valid, trained.settings)
        found.append([*timed(cycle)[1:], *timed(partial(by_tool(syn), pair))[1:]])
    cpu, wall, syn_cpu, syn_wall = np.min(found, axis=0) * [1, 1, FRAMES - 1, FRAMES - 1]
    return (
        f"A cycle of {FRAMES} frames: TOPPR {cpu:.2f} s CPU, {wall:.2f} s wall; SyN (default, {FRAMES - 1} pairs) "
        f"{syn_cpu:.1f} s CPU, {syn_wall:.1f} s wall; ratio {syn_cpu / cpu:.0f} in CPU, {syn_wall / wall:.0f} in wall "
        f"(least of {len(found)})."
    )


def summarise(rows: pd.DataFrame, seed: int = 0) -> str:
    """Return means over the pairs with 95 % bootstrap intervals, as Markdown."""
    shown = [name for name in COLUMNS if name in rows and rows[name].notna().any()]
    lines = ["| | n | " + " | ".join(COLUMNS[name] for name in shown) + " |", "|" + " --- |" * (len(shown) + 2)]
    for method, group in rows.groupby("method", sort=False):
        cells = []
        for name in shown:
            values = group[name].to_numpy()
            digits = 4 if name == "folded_pct" else 3
            text = f"{values.mean():.{digits}f}"
            if len(values) > 2 and not name.endswith("_s"):
                low, high = interval_of(resampled(values[:, None], 1000, seed))
                text += f" [{low:.{digits}f}, {high:.{digits}f}]"
            cells.append(text)
        lines.append(f"| {method} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Register every pair by every method; write one row per pair and method, and tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results folder of a synthetic cohort")
    parser.add_argument("--toppr", type=Path, required=True, help="trained registration")
    parser.add_argument("--voxelmorph", type=Path, required=True, help="trained registration without any constraint")
    parser.add_argument("--split", default="test")
    parser.add_argument("--subjects", type=int, help="only so many pairs of the split")
    parser.add_argument("--case", nargs=3, action="append", default=[], metavar=("NAME", "SCAN", "CONTOURS"))
    parser.add_argument("--steps", type=int, nargs="*", default=[20, 50], help="of refinement, a row each")
    parser.add_argument("--only", nargs="*", metavar="METHOD", help="these rows alone, for example TOPPR")
    parser.add_argument("--threads", type=int, default=1, help="of torch, ITK and ANTs alike")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    toppr, voxelmorph = load(arguments.toppr), load(arguments.voxelmorph)
    methods: dict[str, Method] = {
        "no registration": by_tool(unmoved),
        "TOPPR": by_network(toppr),
        **{f"TOPPR, {steps} refinement steps": by_network(toppr, steps) for steps in arguments.steps},
        "VoxelMorph-style": by_network(voxelmorph),
        "SyN, default": by_tool(syn),
        "SyN, tuned": by_tool(syn, **TUNED_SYN),
        "demons, default": by_tool(demons, iterations=(10,)),
        "demons, tuned": by_tool(demons, **TUNED_DEMONS),
    }
    if unknown := set(arguments.only or ()) - methods.keys():
        parser.error(f"--only: no method is called {', '.join(sorted(unknown))}; there are {'; '.join(methods)}")
    methods = {name: register for name, register in methods.items() if arguments.only is None or name in arguments.only}
    grid = GridSettings(shape=toppr.shape, spacing_mm=toppr.network.spacing_mm)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pairs = [
        *(real(name, Path(scan), Path(contours), grid) for name, scan, contours in arguments.case),
        *synthetic(arguments.results, arguments.split, arguments.subjects),
    ]
    for register in methods.values():
        register(pairs[0])  # what only the first call costs is no part of any
    rows = []
    for pair in pairs:
        for method, register in methods.items():
            finish, cpu, wall = timed(partial(register, pair))
            row = {"cohort": pair.cohort, "pair": pair.name, "method": method, "cpu_s": cpu, "wall_s": wall}
            rows.append(row | measure(pair, finish()))
        _write(pd.DataFrame(rows), arguments.out, arguments.threads)  # a run that is stopped has its tables
    text = speed(toppr, (pairs * REPEATS)[:REPEATS])
    (arguments.out / "speed.md").write_text(text + "\n")
    print((arguments.out / "registration.md").read_text(), text, sep="\n")


def _write(rows: pd.DataFrame, out: Path, threads: int) -> None:
    """Write `pairs.csv` and `registration.md`."""
    rows.to_csv(out / "pairs.csv", index=False, float_format="%.6g")
    text = []
    for cohort, group in rows.groupby("cohort", sort=False):
        text += [f"{cohort}, {group['pair'].nunique()} pairs, {threads} thread(s)", "", summarise(group), ""]
    (out / "registration.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
