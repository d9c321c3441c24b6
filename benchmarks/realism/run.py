"""Measure the Dice on phantoms of a segmenter that was trained on real cine MR alone.

Trains a 2-D U-Net on real short-axis images with left-ventricular contours, then applies it to held-out real patients
and to the synthetic cohort, both through the same preprocessing. See README.md beside this file.
"""

import argparse
import io
import logging
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandAxisFlipd,
    RandBiasFieldd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandRotate90d,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import ndimage
from skimage.segmentation import find_boundaries
from tqdm import tqdm, trange

log = logging.getLogger("realism")

FIELD = 128  # pixels of the square field of view that every image is cut to
LEVELS = ("basal", "mid", "apical")
BATCH = 8


@dataclass(frozen=True)
class Slice:
    """One image with its left-ventricular cavity.

    Attributes:
        name: what the reports call it.
        patient: the unit of splitting and averaging.
        level: basal, mid or apical third of the slices that hold the LV.
        phase: ED or ES.
        image: float32 [FIELD, FIELD], preprocessed.
        cavity: bool [FIELD, FIELD].
    """

    name: str
    patient: str
    level: str
    phase: str
    image: np.ndarray
    cavity: np.ndarray


def preprocess(image: np.ndarray, cavity: np.ndarray, spacing_mm: float, target_mm: float) -> tuple[np.ndarray, ...]:
    """Preprocess a real or synthetic image: resample, cut the central field, scale, pad.

    Args:
        image: [Y, X], any intensity unit.
        cavity: bool [Y, X].
        spacing_mm: pixel spacing of both.
        target_mm: pixel spacing to resample to.

    Returns:
        image float32 [FIELD, FIELD], percentiles 1 and 99 of the field at 0 and 1, then zero mean and unit SD, and
        cavity bool [FIELD, FIELD]. Where the image ends before the field does, the field holds the image's minimum.
    """
    factor = spacing_mm / target_mm
    if abs(factor - 1) > 0.01:
        smooth = ndimage.gaussian_filter(image.astype(float), max(0.0, 0.5 / factor - 0.5))
        image = ndimage.zoom(smooth, factor, order=1, grid_mode=True, mode="nearest")
        cavity = ndimage.zoom(cavity.astype(float), factor, order=1, grid_mode=True, mode="nearest") > 0.5
    cut, placed = [], []
    for size in image.shape:
        inside = min(size, FIELD)
        cut.append(slice((size - inside) // 2, (size - inside) // 2 + inside))
        placed.append(slice((FIELD - inside) // 2, (FIELD - inside) // 2 + inside))
    field = image[tuple(cut)].astype(np.float32)
    low, high = np.percentile(field, (1, 99))
    field = np.clip((field - low) / max(high - low, 1e-6), 0, 1)
    field = (field - field.mean()) / max(float(field.std()), 1e-6)
    full = np.full((FIELD, FIELD), field.min(), np.float32)
    mask = np.zeros((FIELD, FIELD), bool)
    full[tuple(placed)] = field
    mask[tuple(placed)] = cavity[tuple(cut)]
    return full, mask


def level_of(rank: int, count: int) -> str:
    """Return the third of the ventricle of slice `rank` of `count`, counted from the base."""
    return LEVELS[min(3 * rank // max(count, 1), 2)]


def read_real(folder: Path, target_mm: float, frames: int) -> list[Slice]:
    """Read image and label pairs `Images/*.png`, `Labels/*.png` named {patient}-IM-{series}-{number}.

    `number` counts `frames` images a slice, slices from base to apex. Of a slice's two labelled frames, the one with
    the larger cavity is ED.
    """
    pattern = re.compile(r"(?P<patient>.+)-IM-\d+-(?P<number>\d+)\b")
    rows = []
    for path in sorted((folder / "Images").glob("*.png")):
        found = pattern.match(path.name)
        if found is None:
            raise SystemExit(f"{folder}: an image name does not follow patient-IM-series-number")
        cavity = np.asarray(Image.open(folder / "Labels" / path.name).convert("L")) > 127
        position = (int(found["number"]) - 1) // frames
        rows.append((found["patient"], position, int(cavity.sum()), path, cavity))
    table = pd.DataFrame(rows, columns=["patient", "position", "area", "path", "cavity"])
    table = table[table["area"] > 0]
    slices = []
    for patient, rows_of in table.groupby("patient"):
        order = sorted(rows_of["position"].unique())
        largest = rows_of.groupby("position")["area"].transform("max")
        for row, top in zip(rows_of.itertuples(), largest):
            image = np.asarray(Image.open(row.path).convert("L"), float)
            field, cavity = preprocess(image, row.cavity, target_mm, target_mm)
            level = level_of(order.index(row.position), len(order))
            slices.append(Slice(row.path.stem, str(patient), level, "ED" if row.area == top else "ES", field, cavity))
    return slices


def split(slices: list[Slice], held_out: float, seed: int) -> tuple[list[Slice], list[Slice]]:
    """Split slices into training and held-out ones by patient, in each disease group (name without last number)."""
    rng = np.random.default_rng(seed)
    groups: dict[str, list[str]] = {}
    for patient in sorted({item.patient for item in slices}):
        groups.setdefault(patient.rpartition("-")[0], []).append(patient)
    away: set[str] = set()
    for members in groups.values():
        away.update(rng.permutation(members)[: round(held_out * len(members))])
    return [s for s in slices if s.patient not in away], [s for s in slices if s.patient in away]


def network() -> UNet:
    """Return the segmenter: a residual U-Net with .84 M parameters and two classes."""
    return UNet(2, 1, 2, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=1, norm="instance")


def augmentation(seed: int) -> Compose:
    """Return the augmentation: geometry (any orientation, scale .65 to 1.4, shift), gamma, coil bias, blur, noise."""
    both = ["image", "cavity"]
    return Compose(
        [
            RandRotate90d(both, prob=0.75),
            RandAxisFlipd(both, prob=0.5),
            RandAffined(
                both,
                prob=0.95,
                rotate_range=0.5,
                scale_range=((-0.35, 0.4), (-0.35, 0.4)),
                translate_range=(18, 18),
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandAdjustContrastd(["image"], prob=0.6, gamma=(0.5, 2.0)),
            RandBiasFieldd(["image"], prob=0.4, degree=2, coeff_range=(0.0, 0.35)),
            RandGaussianSmoothd(["image"], prob=0.25, sigma_x=(0.3, 1.2), sigma_y=(0.3, 1.2)),
            RandGaussianNoised(["image"], prob=0.4, std=0.15),
        ]
    ).set_random_state(seed)


def batches(slices: list[Slice], steps: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield augmented batches: image [B, 1, FIELD, FIELD], z-scored, and cavity [B, 1, FIELD, FIELD]."""
    rng = np.random.default_rng(seed)
    augment = augmentation(seed)
    for _ in range(steps):
        drawn = []
        for index in rng.integers(len(slices), size=BATCH):
            item = slices[index]
            pair = {"image": torch.from_numpy(item.image)[None], "cavity": torch.from_numpy(item.cavity)[None].float()}
            drawn.append(augment(pair))
        image = torch.stack([pair["image"] for pair in drawn]).as_subclass(torch.Tensor)
        image = image - image.mean((2, 3), keepdim=True)
        image = image / image.std((2, 3), keepdim=True).clamp_min(1e-6)
        yield image, torch.stack([pair["cavity"] for pair in drawn]).as_subclass(torch.Tensor)


def train(slices: list[Slice], steps: int, seed: int) -> UNet:
    """Train a segmenter on real images: Dice and cross-entropy, AdamW with one learning-rate cycle."""
    torch.manual_seed(seed)
    net = network().train()
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps, pct_start=0.15)
    progress = trange(steps, desc="training on real cine MR", disable=None)
    for step, (image, cavity) in zip(progress, batches(slices, steps, seed)):
        loss = loss_of(net(image), cavity)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            log.info("step %d of %d, loss %.3f", step, steps, loss.item())
    return net.eval()


@torch.no_grad()
def segment(net: UNet, images: np.ndarray) -> np.ndarray:
    """Return the cavity, bool [N, FIELD, FIELD], of images [N, FIELD, FIELD]: argmax, then the largest component."""
    masks = []
    for start in range(0, len(images), 16):
        logits = net(torch.from_numpy(images[start : start + 16])[:, None])
        masks.append(logits.argmax(1).numpy().astype(bool))
    found = np.concatenate(masks)
    for index, mask in enumerate(found):
        components, count = ndimage.label(mask)
        if count > 1:
            found[index] = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    return found


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice coefficient of two masks, at least one of which is not empty."""
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def score(net: UNet, slices: list[Slice], kind: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return one row per slice (kind, name, patient, level, phase, dice, area_ratio), and the predicted masks."""
    found = segment(net, np.stack([item.image for item in slices]))
    rows = [
        {
            "kind": kind,
            "name": item.name,
            "patient": item.patient,
            "level": item.level,
            "phase": item.phase,
            "dice": dice(mask, item.cavity),
            "area_ratio": float(mask.sum() / item.cavity.sum()),
        }
        for item, mask in zip(slices, found)
    ]
    return pd.DataFrame(rows), found


def read_archive(path: Path) -> tuple[dict[tuple[int, int], np.ndarray], float]:
    """Return the pixels of a synthetic short-axis zip by (slice from base, frame), and the pixel spacing in mm.

    Of a slice that was acquired twice the last series counts; result series of the scanner are left out.
    """
    chosen: dict[tuple[int, int], tuple[str, np.ndarray]] = {}
    spacing = 0.0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith(".dcm"):
                continue
            data = pydicom.dcmread(io.BytesIO(archive.read(name)))
            found = re.fullmatch(r"CINE_segmented_SAX_b(\d+)", data.SeriesDescription)
            if found is None:
                continue
            key = (int(found[1]) - 1, int(data.InstanceNumber) - 1)
            if key not in chosen or chosen[key][0] < data.SeriesInstanceUID:
                chosen[key] = (str(data.SeriesInstanceUID), data.pixel_array)
            spacing = float(data.PixelSpacing[0])
    return {key: pixels for key, (_, pixels) in chosen.items()}, spacing


def read_phantom(folder: Path, target_mm: float) -> list[Slice]:
    """Return ED (frame 0) and ES (smallest exact LV volume) of every synthetic subject, with the exact LV cavity."""
    slices = []
    archives = sorted((folder / "raw" / "cine").glob("*_20209_*.zip"))
    for path in tqdm(archives, desc="reading phantoms", disable=None):
        participant, _, visit = path.name.split("_")[:3]
        labels = folder / "truth" / f"{participant}_{visit}.labels.nii.gz"
        cavity = np.asarray(nib.load(labels).dataobj).transpose(3, 2, 1, 0) == 1
        pixels, spacing = read_archive(path)
        volumes = cavity.sum(axis=(1, 2, 3))
        for phase, frame in (("ED", 0), ("ES", int(volumes.argmin()))):
            held = np.flatnonzero(cavity[frame].any(axis=(1, 2)))
            for rank, position in enumerate(held):
                if (position, frame) not in pixels:
                    log.info("%s: slice %d lacks frame %d", participant, position + 1, frame + 1)
                    continue
                image, mask = preprocess(pixels[position, frame], cavity[frame, position], spacing, target_mm)
                name = f"{participant}-{phase}-slice{position + 1}"
                slices.append(Slice(name, participant, level_of(rank, len(held)), phase, image, mask))
    if not slices:
        raise SystemExit(f"{folder}: no synthetic cine with exact labels")
    return slices


def tile_of(item: Slice) -> np.ndarray:
    """Return one image at twice its size, uint8 RGB."""
    window = np.clip((item.image - item.image.min()) / (np.percentile(item.image, 99.5) - item.image.min()), 0, 1)
    return np.repeat((255 * np.kron(window, np.ones((2, 2))))[..., None], 3, axis=2).astype(np.uint8)


def overlay(item: Slice, found: np.ndarray) -> np.ndarray:
    """Return a tile with the true outline in green and the segmenter's outline in red."""
    tile = tile_of(item)
    for mask, colour in ((item.cavity, (60, 255, 60)), (found, (255, 60, 60))):
        tile[find_boundaries(np.kron(mask, np.ones((2, 2))) > 0, mode="inner")] = colour
    return tile


def contact_sheet(slices: list[Slice], found: np.ndarray, table: pd.DataFrame, path: Path, columns: int = 8) -> None:
    """Return overlays from the worst to the best Dice, at even ranks per level and phase: two rows for each."""
    rows = []
    for level in LEVELS:
        for phase in ("ED", "ES"):
            chosen = table[(table["level"] == level) & (table["phase"] == phase)].sort_values("dice")
            ranks = np.unique(np.linspace(0, len(chosen) - 1, min(columns, len(chosen))).round().astype(int))
            tiles = [overlay(slices[index], found[index]) for index in chosen.index[ranks]]
            tiles += [np.zeros_like(tiles[0])] * (columns - len(tiles)) if tiles else []
            if tiles:
                rows.append(np.concatenate(tiles, axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def side_by_side(kinds: dict[str, list[Slice]], path: Path, columns: int = 5) -> None:
    """Return mid-ventricular ED slices of several patients, one row per kind in the order of `kinds`."""
    rows = []
    for slices in kinds.values():
        by_patient = {item.patient: item for item in slices if item.level == "mid" and item.phase == "ED"}
        shown = [by_patient[name] for name in sorted(by_patient)]
        ranks = np.linspace(0, len(shown) - 1, columns).round().astype(int)
        rows.append(np.concatenate([tile_of(shown[rank]) for rank in ranks], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, SD and median of Dice, area ratio and n by kind, level and phase, and over all levels."""
    whole = table.assign(level="all", phase="ED+ES")
    phases = table.assign(level="all")
    joined = pd.concat([whole, phases, table])
    grouped = joined.groupby(["level", "phase", "kind"], sort=False)
    result = grouped.agg(
        dice=("dice", "mean"),
        sd=("dice", "std"),
        median=("dice", "median"),
        area_ratio=("area_ratio", "median"),
        slices=("dice", "size"),
        patients=("patient", "nunique"),
    )
    order = {name: rank for rank, name in enumerate(("all", *LEVELS))}
    return result.reset_index().sort_values(
        ["level", "phase", "kind"], key=lambda column: column.map(order) if column.name == "level" else column
    )


def report(table: pd.DataFrame) -> str:
    """Return the result as Markdown."""
    lines = [
        "# LV Dice of a segmenter trained on real cine MR alone",
        "",
        "Area ratio: median of found over true area. Green is the truth, red what the segmenter found (overlays).",
        "",
        "| level | phase | images | Dice mean ± SD | median | area ratio | slices | patients |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in summary(table).itertuples():
        lines.append(
            f"| {row.level} | {row.phase} | {row.kind} | {row.dice:.3f} ± {row.sd:.3f} | {row.median:.3f} "
            f"| {row.area_ratio:.2f} | {row.slices} | {row.patients} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train or load the segmenter, score real and synthetic slices, write tables and overlays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder with Images/*.png and Labels/*.png")
    parser.add_argument("--phantom", type=Path, help="folder with raw/cine/*.zip and truth/*.labels.nii.gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="segmenter to use or write [OUT/segmenter.safetensors]")
    parser.add_argument("--spacing", type=float, default=1.37, help="pixel spacing of the real images in mm")
    parser.add_argument("--frames", type=int, default=20, help="frames a slice in the numbering of the real images")
    parser.add_argument("--held-out", type=float, default=0.25, help="share of the real patients that are held out")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of 8 images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.weights or arguments.out / "segmenter.safetensors"

    real = read_real(arguments.real, arguments.spacing, arguments.frames)
    known, held_out = split(real, arguments.held_out, arguments.seed)
    if weights.is_file():
        net = network()
        net.load_state_dict(load_file(weights))
        net.eval()
        log.info("segmenter: %s", weights)
    else:
        start = time.perf_counter()
        net = train(known, arguments.steps, arguments.seed)
        save_file(net.state_dict(), weights)
        log.info("segmenter trained in %.0f s: %s", time.perf_counter() - start, weights)

    kinds = {"real": held_out}
    if arguments.phantom:
        kinds["synthetic"] = read_phantom(arguments.phantom, arguments.spacing)
        side_by_side(kinds, arguments.out / "side-by-side.png")
    tables = []
    for kind, slices in kinds.items():
        table, found = score(net, slices, kind)
        contact_sheet(slices, found, table, arguments.out / f"overlays-{kind}.png")
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True)
    joined.to_csv(arguments.out / "slices.csv", index=False)
    (arguments.out / "realism.md").write_text(report(joined))
    print(report(joined))


if __name__ == "__main__":
    main()
