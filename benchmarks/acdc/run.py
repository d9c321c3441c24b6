"""Labels, and registration of ES to ED, on ACDC's validation patients: our weights compared with SyN and demons.

Run with `--help`; README.md explains the output.
"""

import argparse
import importlib.util
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.metrics import compute_hausdorff_distance

from cof.artefacts.parquet import read_table
from cof.cine.grid import Placement, place, to_canonical
from cof.cine.stage import stack_batch
from cof.cine.volume import Cine, read_cine, read_labels
from cof.cohort import build_cohort
from cof.config.data import CineSettings, CohortSettings, GridSettings
from cof.config.motion import PathSettings, RefinementSettings
from cof.heart.structures import STRUCTURES
from cof.labels.predict import Labeller
from cof.metrics.overlap import about_structures, dice
from cof.motion.jacobian import jacobian_determinant, regularity
from cof.motion.native import NativeCrop, native_displacement
from cof.motion.refinement import refine
from cof.motion.stage import Trained, load
from cof.motion.warp import fill_invalid, warp_labels
from cof.sheets.acdc import CITATION, GROUPS, write_acdc
from cof.tables.bootstrap import interval_of, resampled

sys.path.append(str(Path(__file__).parents[1] / "registration"))
from peers import demons, syn

PHASES = ("ED", "ES")
SHORT = {"LV": "LV", "myocardium": "Myo", "RV": "RV"}
WORST = 0.1  # share of the patients whose names are printed
LV_FLOOR = 0.8
MARGIN_MM = 10.0
# By validation pairs of phantoms: benchmarks/registration.
TUNED_SYN = {"type_of_transform": "SyNOnly", "syn_metric": "CC", "syn_sampling": 2, "reg_iterations": (40, 20, 10)}
TUNED_DEMONS = {"iterations": (100, 100, 50), "sigma_voxels": 1.0}
# Mean Dice of LV, myocardium and RV, ED to ES, on ACDC's test patients, as H. Zhang et al. report them: MemWarp, MICCAI
# 2024, arXiv 2407.08093, table 1.
PUBLISHED = {
    "no registration": "0.581",
    "VoxelMorph": "0.753",
    "TransMorph": "0.750",
    "LKU-Net": "0.765",
    "the same with labels in training": "0.811 to 0.831",
    "MemWarp": "0.896",
}


@dataclass(frozen=True)
class Heart:
    """One patient.

    Attributes:
        name: patientNNN.
        group: its diagnosis.
        frames: [2, Z, Y, X], ED and ES, slices from base to apex.
        labels: uint8, of the same shape, by the expert.
        spacing_mm: z, y, x.
    """

    name: str
    group: str
    frames: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Pair:
    """A heart prepared for registration: ES is fixed, ED is moving.

    Attributes:
        heart: the patient.
        placement: the canonical grid about the expert's ED labels, in the native stack.
        canonical: float32 [2, Z, Y, X] in [0, 1], for networks.
        native: float32 [2, z, y, x] in [0, 1], the native voxels under the canonical grid, for tools.
        box: where those lie.
    """

    heart: Heart
    placement: Placement
    canonical: np.ndarray
    native: np.ndarray
    box: tuple[slice, slice, slice]

    @classmethod
    def of(cls, heart: Heart, settings: GridSettings) -> "Pair":
        """Return the pair of a heart."""
        placement = place(heart.frames[0], heart.labels[0], heart.spacing_mm, settings)
        canonical = fill_invalid(torch.from_numpy(to_canonical(heart.frames, placement)), placement.valid).numpy()
        box = NativeCrop.of(placement).box
        dark, bright = placement.intensity
        native = np.clip((heart.frames[:, *box].astype(np.float32) - dark) / (bright - dark), 0, 1)
        return cls(heart, placement, canonical, native, box)


# Registers when called, and gives the rest of the work, after timing: displacement [1, 3, Z, Y, X], mm, native voxels.
Method = Callable[[Pair], Callable[[], torch.Tensor]]


def hearts(folder: Path, split: str, count: int | None) -> Iterator[Heart]:
    """Yield the patients of a split of `cof sheet acdc`, read as the workflow reads them."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        print(write_acdc(folder, root / "acdc.csv"), file=sys.stderr)
        subjects, key = root / "subjects.parquet", root / "key.parquet"
        build_cohort(sheet=root / "acdc.csv", out=subjects, key=key, settings=CohortSettings())
        cohort = read_table(subjects)
        cohort = cohort[cohort["split"] == split].head(count or len(cohort))
        cohort.to_parquet(root / "batch.parquet")
        stack_batch(
            sheet=root / "batch.parquet",
            key=key,
            out=root / "cine",
            annotations=root / "annotations",
            exclusions=root / "exclusions.parquet",
            settings=CineSettings(),
        )
        for _, gone in read_table(root / "exclusions.parquet").iterrows():
            print(f"left out: {gone['subject']}, {gone['reason']}: {gone['message']}")
        for _, row in cohort.iterrows():
            path = root / "cine" / f"{row['subject']}.nii"
            if path.is_file():
                cine: Cine = read_cine(path)
                drawn = read_labels(root / "annotations" / f"{row['subject']}.nii.gz")
                yield Heart(row["participant"], row["group"], np.array(cine.frames), drawn, cine.spacing_mm)


def agreement(made: np.ndarray, drawn: np.ndarray, spacing_mm: tuple[float, float, float]) -> Iterator[dict[str, Any]]:
    """Yield Dice and HD95 (mm) of every structure between labels [Z, Y, X] and the expert's labels."""
    made, drawn = about_structures(made[None], drawn[None])
    for name, code in STRUCTURES.items():
        masks = [torch.from_numpy(labels == code)[None] for labels in (made, drawn)]
        far = float("nan")
        if all(mask.any() for mask in masks):
            far = float(compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing_mm))
        yield {"structure": SHORT[name], "dice": float(dice(made, drawn, code)[0]), "hd95_mm": far}


def label(heart: Heart, labeller: Labeller) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return rows of the labeller's agreement with the expert by phase and structure, and both ejection fractions."""
    found, cpu, _ = timed(partial(labeller.label, heart.frames, heart.spacing_mm))
    who = {"patient": heart.name, "group": heart.group}
    rows = [
        who | {"phase": phase, "cpu_s": cpu / len(PHASES)} | row
        for phase, made, drawn in zip(PHASES, found, heart.labels)
        for row in agreement(made, drawn, heart.spacing_mm)
    ]
    ejected = []
    for labels in (found, heart.labels):
        ed, es = ((frame == STRUCTURES["LV"]).sum() for frame in labels)
        ejected.append(100 * (1 - es / ed) if ed else float("nan"))
    return rows, who | {"ef_pct": ejected[0], "ef_expert_pct": ejected[1]}


def by_network(trained: Trained, steps: int) -> Method:
    """Return the method of a trained network followed by some steps of refinement on the pair's images."""
    path = PathSettings(refinement=RefinementSettings(steps=steps))
    settings = trained.settings.model_copy(update={"path": path})

    def register(pair: Pair) -> Callable[[], torch.Tensor]:
        source, target = (torch.from_numpy(volume)[None, None] for volume in pair.canonical)
        u = refine(trained.network, source, target, pair.placement.valid, settings).displacement
        return lambda: native_displacement(u, pair.placement)

    return register


def by_tool(tool: Callable[..., np.ndarray], **options: object) -> Method:
    """Return the method of a tool of `benchmarks/registration/peers.py`, applied to native voxels."""

    def register(pair: Pair) -> Callable[[], torch.Tensor]:
        moving, fixed = pair.native
        u = tool(fixed, moving, pair.heart.spacing_mm, **options)

        def whole() -> torch.Tensor:
            native = torch.zeros(1, 3, *pair.heart.labels.shape[1:])
            native[0][:, *pair.box] = torch.from_numpy(u)
            return native

        return whole

    return register


def unmoved(fixed: np.ndarray, moving: np.ndarray, spacing_mm: object) -> np.ndarray:
    """Return the zero displacement (no registration)."""
    return np.zeros((3, *fixed.shape), np.float32)


def measure(pair: Pair, displacement: torch.Tensor) -> list[dict[str, Any]]:
    """Return rows of the agreement between warped ED labels and ES labels, and of the regularity near the heart."""
    heart = pair.heart
    moved = warp_labels(torch.from_numpy(heart.labels[:1]), displacement, heart.spacing_mm).numpy()[0]
    determinant = jacobian_determinant(displacement[(..., *about(heart))].contiguous(), heart.spacing_mm)
    found = regularity(determinant)
    topology = {"folded_pct": 100 * found.folded_share, "sd_log_jacobian": found.sd_log_jacobian}
    return [row | topology for row in agreement(moved, heart.labels[1], heart.spacing_mm)]


def about(heart: Heart) -> tuple[slice, slice, slice]:
    """Return the bounding box of the expert's labels with an in-plane margin of 10 mm."""
    box = []
    for axis, spacing in enumerate(heart.spacing_mm, 1):
        held = np.flatnonzero(heart.labels.any(axis=tuple(other for other in range(4) if other != axis)))
        margin = round(MARGIN_MM / spacing) if axis > 1 else 0
        box.append(slice(max(int(held[0]) - margin, 0), int(held[-1]) + margin + 1))
    return box[0], box[1], box[2]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run `work`; return its result, CPU seconds and wall seconds."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = work()
    after, end = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - start


def cell(values: pd.Series, digits: int = 3, interval: bool = False) -> str:
    """Return a mean as text, with its 95 % bootstrap interval over patients on request."""
    known = values.dropna().to_numpy()
    if not len(known):
        return "-"
    text = f"{known.mean():.{digits}f}"
    if interval and len(known) > 2:
        low, high = interval_of(resampled(known[:, None], 1000, 0))
        text += f" [{low:.{digits}f}, {high:.{digits}f}]"
    return text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def say_labels(rows: pd.DataFrame, ejection: pd.DataFrame) -> str:
    """Return the rows of the labeller as Markdown."""
    groups = [group for group in GROUPS if group in set(rows["group"])]
    body = []
    for structure in SHORT.values():
        for phase in PHASES:
            these = rows[(rows["structure"] == structure) & (rows["phase"] == phase)]
            by_group = [cell(these.loc[these["group"] == group, "dice"]) for group in groups]
            body.append(
                [f"{structure}, {phase}", cell(these["dice"], interval=True), *by_group, cell(these["hd95_mm"], 1)]
            )
    text = [table(["Dice", "all", *groups, "HD95, mm"], body), ""]
    means = rows.groupby("patient")["dice"].mean().sort_values()
    count = max(1, round(WORST * len(means)))
    worst = ", ".join(f"{name} {value:.3f}" for name, value in means.head(count).items())
    ventricle = rows[rows["structure"] == "LV"].groupby("patient")["dice"].mean()
    low = [f"{name} {value:.3f}" for name, value in ventricle[ventricle < LV_FLOOR].items()]
    error = ejection["ef_pct"] - ejection["ef_expert_pct"]
    text += [
        f"Worst tenth, mean of structures and phases: {worst}.",
        f"LV below {LV_FLOOR:g}, mean of ED and ES: {', '.join(low) or 'nobody'}.",
        f"EF by the labels less that by the expert's: {cell(error, 1)} points on average, "
        f"{cell(error.abs(), 1, True)} in size; not known of {int(error.isna().sum())} patients.",
        f"{cell(rows['cpu_s'], 2)} CPU s a stack.",
    ]
    return "\n".join(text)


def say_registration(rows: pd.DataFrame) -> str:
    """Return the rows of the registration as Markdown."""
    groups = [group for group in GROUPS if group in set(rows["group"])]
    body, by_group = [], []
    for method, these in rows.groupby("method", sort=False):
        means = these.groupby("patient")["dice"].mean()
        cells = [cell(these.loc[these["structure"] == name, "dice"]) for name in SHORT.values()]
        far = [cell(these.loc[these["structure"] == name, "hd95_mm"], 1) for name in SHORT.values()]
        one = these[these["structure"] == "LV"]
        whole = [
            cell(one["sd_log_jacobian"]),
            cell(one["folded_pct"], 4),
            cell(one["cpu_s"], 2),
            cell(one["wall_s"], 2),
        ]
        body.append([str(method), cell(means, interval=True), *cells, " / ".join(far), *whole])
        for group in groups:
            part = these[these["group"] == group]
            dices = [cell(part.loc[part["structure"] == name, "dice"]) for name in SHORT.values()]
            by_group.append([str(method), group, cell(part["dice"]), *dices])
    names = [f"{name} Dice" for name in SHORT.values()]
    columns = ["", "mean Dice", *names, "HD95, mm", "SD log J", "J <= 0, %", "CPU s", "wall s"]
    published = [[name, value] for name, value in PUBLISHED.items()]
    return "\n\n".join(
        [
            table(columns, body),
            table(["", "group", "mean Dice", *names], by_group),
            "Published mean Dice, on ACDC's test patients, which are others (MemWarp, MICCAI 2024, arXiv 2407.08093, "
            "table 1):",
            table(["", "mean Dice"], published),
        ]
    )


def main() -> None:
    """Label and register every patient by every method; write rows and tables, updated after each patient."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acdc", type=Path, required=True, help="ACDC's folder, as `cof sheet acdc` takes it")
    parser.add_argument("--weights", type=Path, required=True, help="folder with labeller/ and registrations/")
    parser.add_argument("--registration", default="toppr", help="which of registrations/")
    parser.add_argument("--split", default="validation", choices=("train", "validation"))
    parser.add_argument("--patients", type=int, help="only so many")
    parser.add_argument("--steps", type=int, nargs="*", default=[50], help="of refinement, a row each")
    parser.add_argument("--only", nargs="*", metavar="METHOD", help="these rows of the registration alone")
    parser.add_argument("--no-labels", action="store_true", help="the registration alone")
    parser.add_argument("--threads", type=int, default=1, help="of torch; ITK's and ANTs' by the environment")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    trained = load(arguments.weights / "registrations" / arguments.registration)
    labeller = None if arguments.no_labels else Labeller.load(arguments.weights / "labeller", mirroring=False)
    methods: dict[str, Method] = {
        "no registration": by_tool(unmoved),
        "demons, default": by_tool(demons, iterations=(10,)),
        "demons, tuned": by_tool(demons, **TUNED_DEMONS),
        "SyN, default": by_tool(syn),
        "SyN, tuned": by_tool(syn, **TUNED_SYN),
        "TOPPR": by_network(trained, 0),
        **{f"TOPPR, {steps} refinement steps": by_network(trained, steps) for steps in arguments.steps},
    }
    if unknown := set(arguments.only or ()) - methods.keys():
        parser.error(f"--only: no method is called {', '.join(sorted(unknown))}; there are {'; '.join(methods)}")
    methods = {name: one for name, one in methods.items() if arguments.only is None or name in arguments.only}
    if importlib.util.find_spec("ants") is None and any("SyN" in name for name in methods):
        parser.error("SyN needs antspyx: install it, or leave SyN out by --only")
    grid = GridSettings(shape=trained.shape, spacing_mm=trained.network.spacing_mm)
    arguments.out.mkdir(parents=True, exist_ok=True)
    drawn: list[dict[str, Any]] = []
    ejection: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for heart in hearts(arguments.acdc, arguments.split, arguments.patients):
        if labeller is not None:
            rows, ejected = label(heart, labeller)
            drawn += rows
            ejection.append(ejected)
        pair = Pair.of(heart, grid)
        if not moved:
            for register in methods.values():
                register(pair)  # what only the first call costs is no part of any
        for method, register in methods.items():
            finish, cpu, wall = timed(partial(register, pair))
            who = {"patient": heart.name, "group": heart.group, "method": method, "cpu_s": cpu, "wall_s": wall}
            moved += [who | row for row in measure(pair, finish())]
        _write(arguments, drawn, ejection, moved)
    print((arguments.out / "acdc.md").read_text())


def _write(arguments: argparse.Namespace, drawn: list, ejection: list, moved: list) -> None:
    """Write `labels.csv`, `ejection.csv`, `registration.csv` and `acdc.md`."""
    files = {"labels": drawn, "ejection": ejection, "registration": moved}
    tables = {name: pd.DataFrame(rows) for name, rows in files.items() if rows}
    for name, rows in tables.items():
        rows.to_csv(arguments.out / f"{name}.csv", index=False, float_format="%.6g")
    count = tables["registration"]["patient"].nunique()
    text = [f"{count} {arguments.split} patients of ACDC, {arguments.threads} thread(s), {arguments.weights}"]
    if "labels" in tables:
        text += ["## Labels", say_labels(tables["labels"], tables["ejection"])]
    text += ["## ED to ES", say_registration(tables["registration"]), f"Data: {CITATION}."]
    (arguments.out / "acdc.md").write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
