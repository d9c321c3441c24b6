"""A tiny results folder by the documented contracts: ring hearts whose volumes are known in closed form."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.parquet import read_table, write_table
from cof.artefacts.provenance import digest, versions
from cof.cine.volume import Cine, write_cine, write_labels
from cof.config import parse
from cof.ecg.record import Ecg
from cof.errors import Reason
from cof.phantom.card import write_card
from cof.phantom.population import sample
from cof.quality.catalogue import MEASURES
from cof.tables.renderings import to_csv
from cof.tables.stage import make_cost
from cof.tables.table import build_table, catalogued, summarise

SPLITS = {
    "sub-0001-v2": "train",
    "sub-0002-v2": "train",
    "sub-0002-v3": "train",
    "sub-0003-v2": "validation",
    "sub-0004-v2": "test",
    "sub-0005-v2": "test",
    "sub-0006-v2": "test",
}
BATCH = {subject: f"b00{index % 2}" for index, subject in enumerate(SPLITS)}
BLURRED = "sub-0003-v2"
BROKEN_ECG, FEW_SLICES, BAD_ANNOTATION = "sub-0001-v2", "sub-0006-v2", "sub-0002-v2"
SCORES = {"ssim": {"cof": 0.9, "static": 0.8}, "m_corr": {"cof": 0.4, "static": 0.0}}
FRAMES, SLICES, SIZE, RATE = 12, 7, 64, 500.0
SPACING = (10.0, 2.0, 2.0)

CONFIG = {
    "report": {"subjects": 2, "model": "cof", "qc_others": 2},
    "models": {"cof": {"family": "cof"}, "static": {"family": "static"}},
    "tables": {
        "table1": {
            "title": "ECG-conditioned 4D heart generation",
            "models": {"cof": "COF", "static": "Static anchor"},
            "metrics": ["ssim", "m_corr"],
            "paper": "table1",
        }
    },
}


def radius_mm(phase: np.ndarray, amplitude: float) -> np.ndarray:
    """Endocardial radius of the ring heart over the cycle."""
    return 24.0 - amplitude * np.sin(np.pi * phase) ** 2


def amplitude_mm(subject: str, model: str | None = None) -> float:
    """How far a subject's ring contracts: in its real cine, as a model generates it, or by the exact labels."""
    real = 6.0 + int(subject[7])
    return {None: real, "cof": real - 2.0, "static": 0.0, "exact": real + 1.0}[model]


def blur(subject: str) -> float:
    """The blur that the table of quality holds: one subject is beyond the flag limit."""
    return 0.9 if subject == BLURRED else 0.3 + int(subject[7]) / 100


def ring_heart(amplitude: float) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and labels [T, Z, Y, X] of a contracting ring with a crescent beside it."""
    phase = np.arange(FRAMES) / FRAMES
    inner = radius_mm(phase, amplitude)[:, None, None, None]
    taper = np.linspace(1.0, 0.55, SLICES)[None, :, None, None]
    rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    from_left = np.hypot(rows - 32, columns - 38)[None, None] * SPACING[1]
    from_right = np.hypot(rows - 32, columns - 22)[None, None] * SPACING[1]
    cavity = from_left < inner * taper
    wall = (from_left < (inner + 9) * taper) & ~cavity
    right = (from_right < 22 * taper) & ~cavity & ~wall
    labels = (1 * cavity + 2 * wall + 3 * right).astype(np.uint8)
    intensity = np.choose(labels, [150, 1000, 350, 950]) + 20 * np.sin(rows / 3) * np.cos(columns / 4)
    return intensity.astype(np.int16), labels


def cine(frames: np.ndarray) -> Cine:
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    times = np.arange(FRAMES) * 1000.0 / FRAMES
    repairs = ("a missing frame was repeated",) if frames[0, 0, 0, 0] % 2 == 0 else ()
    return Cine(frames, affine, times, 1000.0, ("CINE_segmented_SAX_b1",), repairs)


def strip() -> np.ndarray:
    """A 10 s ECG [12, N] in mV with R peaks every second."""
    times = np.arange(int(10 * RATE)) / RATE
    beat = sum(
        height * np.exp(-(((times + 0.5) % 1 - 0.5 - at) ** 2) / (2 * width**2))
        for height, at, width in ((0.15, -0.16, 0.02), (1.1, 0.0, 0.011), (-0.25, 0.03, 0.012), (0.3, 0.28, 0.05))
    )
    gains = np.array([0.6, 1.0, 0.5, -0.8, 0.2, 0.7, -0.5, 0.3, 0.6, 1.1, 1.2, 0.9])
    return (gains[:, None] * beat).astype(np.float32)


def make_results(root: Path) -> Path:
    """Fill `root` with every artefact that the report reads, as the stages write them."""
    subjects = pd.DataFrame(
        {
            "subject": list(SPLITS),
            "participant": [name[:8] for name in SPLITS],
            "visit": [int(name[-1]) for name in SPLITS],
            "split": list(SPLITS.values()),
            "batch": [BATCH[name] for name in SPLITS],
            "annotated": [split == "train" for split in SPLITS.values()],
        }
    )
    write_table(root / "cohort/subjects.parquet", subjects, {"split": "the split, and why"})
    key = subjects[["subject", "participant", "visit"]]
    write_table(root / "cohort/key.parquet", key, {})
    truth = root / "phantom/truth"
    for name, split in SPLITS.items():
        if split == "test":
            labels = ring_heart(amplitude_mm(name, "exact"))[1]
            stem = f"{name[:8]}_{name[-1]}"
            write_labels(truth / f"{stem}.labels.nii.gz", labels, np.eye(4))
            (truth / f"{stem}.json").write_text(json.dumps({"t_es_ms": 500.0}))
    signal = strip()
    for batch in ("b000", "b001"):
        members = [name for name in SPLITS if BATCH[name] == batch]
        with_ecg = [name for name in members if name != BROKEN_ECG]
        with_cine = [name for name in members if name != FEW_SLICES]
        record = Ecg(signal, RATE, {"qrs_ms": 92.0}, ("Normal sinus rhythm", "Normal ECG"), "CardioSoft V6.73")
        ecgs = [
            {"subject": name}
            | record.to_row()
            | {"categories": ["normal"], "soft_categories": [], "primary_category": "normal"}
            for name in with_ecg
        ]
        write_table(root / f"ecg/{batch}.parquet", pd.DataFrame(ecgs), {})
        beats = [
            {
                "subject": name,
                "beat": signal[:, 2000:2500].ravel(),
                "rr_ms": 1000.0,
                "correlation": 0.987,
                "low_quality": False,
                "irregular": False,
                "first_sample": 2000,
                "last_sample": 2500,
                "rate_hz": RATE,
            }
            for name in with_ecg
        ]
        write_table(root / f"beats/{batch}.parquet", pd.DataFrame(beats), {})
        measured = [
            {"subject": name} | dict.fromkeys((measure.key for measure in MEASURES), math.nan) | {"blur": blur(name)}
            for name in with_cine
        ]
        write_table(root / f"quality/{batch}.parquet", pd.DataFrame(measured), {})
        for folder in ("cine", "labels", "grid", "fields/toppr", "twins/cof", "twins/static"):
            (root / folder / batch).mkdir(parents=True)
        for name in with_cine:
            frames, labels = ring_heart(amplitude_mm(name))
            write_cine(root / f"cine/{batch}/{name}.nii", cine(frames))
            write_cine(root / f"grid/{batch}/{name}.nii", cine(frames))
            write_labels(root / f"labels/{batch}/{name}.nii.gz", labels, np.eye(4))
            (root / f"fields/toppr/{batch}/{name}.safetensors").touch()
            if SPLITS[name] == "test" and name in with_ecg:
                for model in ("cof", "static"):
                    frames, labels = ring_heart(amplitude_mm(name, model))
                    write_cine(root / f"twins/{model}/{batch}/{name}.nii", cine(frames))
                    write_labels(root / f"twins/{model}/{batch}/{name}.labels.nii.gz", labels, np.eye(4))
        for model in ("cof", "static"):
            rows = [
                (name, "", -1, -1, metric, value[model] + 0.01 * int(name[7]), "1")
                for name in with_cine
                if SPLITS[name] == "test"
                for metric, value in SCORES.items()
            ]
            columns = ["subject", "structure", "frame", "slice", "metric", "value", "version"]
            write_table(root / f"metrics/{model}/{batch}.parquet", pd.DataFrame(rows, columns=columns), {})
        for folder in (
            "ecg", "beats", "cine", "labels", "quality", "grid", "fields/toppr",
            "twins/cof", "twins/static", "metrics/cof", "metrics/static",
        ):  # fmt: skip
            excluded = Exclusions(folder.split("/")[0])
            if folder == "ecg" and BROKEN_ECG in members:
                # Built at run time: what has the shape of a participant id must not stand in any file.
                excluded.rows.append(
                    {
                        "subject": BROKEN_ECG,
                        "stage": "ecg",
                        "reason": str(Reason.ECG_UNREADABLE),
                        "message": f"no XML <b>at all</b> in {'4' * 7}_20205_2_0.xml",
                    }
                )
            if folder == "cine" and FEW_SLICES in members:
                excluded.add(FEW_SLICES, Reason.CINE_TOO_FEW_SLICES, "3 slices, at least 5 are needed")
            if folder == "cine" and BAD_ANNOTATION in members:
                drawn = Exclusions("annotations")
                drawn.add(BAD_ANNOTATION, Reason.ANNOTATION_UNREADABLE, "no frame is labelled")
                excluded.rows += drawn.rows
            excluded.write(root / f"exclusions/{folder}/{batch}.parquet")
    steps = np.arange(0, 400, 10)
    for folder, columns in (
        ("labeller", {"epoch": steps // 10, "train_loss": np.exp(-steps / 90), "dice_lv": 1 - np.exp(-steps / 60)}),
        ("registrations/toppr", {"iteration": steps, "loss": np.exp(-steps / 120) + 0.2, "ncc": 0.8 - 0 * steps}),
        ("models/cof", {"iteration": steps, "loss": np.exp(-steps / 150) + 0.3}),
    ):
        (root / folder).mkdir(parents=True)
        pd.DataFrame(columns).to_csv(root / folder / "log.csv", index=False)
    effort = {
        "thousand_parameters": 1234.567,
        "thousand_samples": 3.2,
        "iterations": 400,
        "device": "cpu",
        "processes": 1,
    }
    record = {"settings": {"family": "cof", "registration": "toppr"}, "subjects": {"train": 3}, "trainings": [effort]}
    (root / "models/cof/settings.json").write_text(json.dumps(record))
    (root / "benchmarks/train").mkdir(parents=True)
    (root / "benchmarks/train/cof.tsv").write_text("s\tmax_rss\tcpu_time\n5400\t2048\t7200\n")
    scores = {"n": 2, "dice": 0.97, "dice_sd": 0.01, "volume_ml": 140.0, "bias_ml": -1.2, "bias_ml_sd": 2.0,
              "bias_percent": -0.9}  # fmt: skip
    labeller = {"held_out": {phase: {"LV": scores, "myocardium": scores, "RV": scores} for phase in ("ED", "ES")}}
    labeller |= {"left_out": [], "cases": {"training": 4, "held_out": 2}}
    (root / "labeller/labeller.json").write_text(json.dumps(labeller))
    config = parse(CONFIG)
    population = [sample(f"sub-{number:04d}", 0, "population") for number in range(1, 7)]
    write_card(root / "phantom", population, config.phantom, 0, {})
    chosen = config.tables["table1"]
    rows = {
        model: summarise(
            [read_table(root / f"metrics/{model}/{batch}.parquet") for batch in ("b000", "b001")],
            catalogued(chosen.metrics),
        )
        for model in ("cof", "static")
    }
    stamped = {"config_hash": digest(config.model_dump(mode="json")), "versions": versions(), "definitions": "1"}
    table = build_table(rows, chosen, config.evaluation, stamped)
    (root / "tables").mkdir()
    (root / "tables/table1.csv").write_text(to_csv(table))
    (root / "config.json").write_text(json.dumps(parse(CONFIG).model_dump(mode="json")))
    make_cost(results=root, settings=chosen, out=root / "cost/table1", config_hash="abc123")
    return root
