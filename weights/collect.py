"""Copy what a run has trained into a folder to give away: `python weights/collect.py --results R --out OUT MODEL ...`.

With each goes Snakemake's benchmark of its training, from which a run that borrows it tells what it has cost.

Weights of models are stored in half precision, for files of half the size; labeller and registrations are copied as is.
`--cohort` and `--terms` are written into what each has learnt from, so that whatever shows its results says them.
Models that hold participants' cines or ECGs are refused; those that hold sizes and EF of single participants need
`--public`, which says that everybody may have them. The hashes of the training subjects' ECGs and anchors
(`learnt_from.txt`) are left out unless `--hashes` is given: they name nobody, but tell whoever has a subject's files
whether the subject was trained on.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cof.artefacts.contents import HASHES

HOLDS_SUBJECTS = ("random", "shuffled")
HOLDS_SHAPES = ("contracted",)


def copy_folder(source: Path, target: Path, hashes: bool) -> None:
    """Copy a folder's files, readable for everybody, without Snakemake's marks, and without hashes unless asked for."""
    left_out = shutil.ignore_patterns(".snakemake_timestamp", *([] if hashes else [HASHES]))
    shutil.copytree(source, target, ignore=left_out, copy_function=shutil.copyfile)


def halved(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of floats in half precision, any other as it is."""
    return tensor.half().contiguous() if tensor.is_floating_point() else tensor


def copy_model(source: Path, target: Path, public: bool, hashes: bool) -> None:
    """Copy the folder of one model."""
    family = json.loads((source / "settings.json").read_text())["settings"]["family"]
    if family in HOLDS_SUBJECTS:
        raise SystemExit(f"{source.name}: a model of the family '{family}' holds data of participants")
    if family in HOLDS_SHAPES and not public:
        raise SystemExit(
            f"{source.name}: a model of the family '{family}' holds heart size and EF of every training participant; "
            "where everybody may have those, say --public"
        )
    copy_folder(source, target, hashes)
    for weights in target.rglob("weights.safetensors"):
        save_file({name: halved(tensor) for name, tensor in load_file(weights).items()}, weights)


def say(folder: Path, told: dict[str, str]) -> None:
    """Add what the cohort was, and the terms of the weights, to the record of a trained artefact."""
    for file in (folder / name for name in ("labeller.json", "settings.json")):
        if file.is_file():
            record = json.loads(file.read_text())
            record["learnt_from"] |= {key: text for key, text in told.items() if text}
            file.write_text(json.dumps(record, indent=1, sort_keys=True))


def copy_benchmark(results: Path, out: Path, kind: str, name: str) -> None:
    """Copy time and memory of a training, where they were measured."""
    source, target = (root / "benchmarks" / kind / f"{name}.tsv" for root in (results, out))
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def main() -> None:
    """Copy labeller, registrations, the run's settings and the models that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a run, such as results/bench")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets them; what lies there stays")
    parser.add_argument("--cohort", default="", help="what the training cohort is called")
    parser.add_argument("--terms", default="", help="licence of the weights, such as 'weights CC BY-NC-SA 4.0'")
    parser.add_argument("--public", action="store_true", help="the cohort's numbers are anybody's")
    parser.add_argument(
        "--hashes",
        action="store_true",
        help="also give away the hashes of the training subjects' ECGs and anchors: runs that borrow the weights then "
        "refuse to be tested on these subjects, and whoever has a subject's files learns that it was trained on",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "config.json").exists():
        shutil.copyfile(arguments.results / "config.json", out / "config.json")
    if not (out / "labeller").exists():
        copy_folder(arguments.results / "labeller", out / "labeller", arguments.hashes)
    if not (out / "registrations").exists():
        copy_folder(arguments.results / "registrations", out / "registrations", arguments.hashes)
        for registration in (out / "registrations").iterdir():
            copy_benchmark(arguments.results, out, "toppr", registration.name)
    for name in arguments.models:
        target = out / "models" / name
        copy_model(arguments.results / "models" / name, target, arguments.public, arguments.hashes)
        copy_benchmark(arguments.results, out, "train", name)
    told = {"cohort": arguments.cohort, "terms": arguments.terms}
    for folder in (out / "labeller", *(out / "registrations").iterdir(), *(out / "models").iterdir()):
        say(folder, told)


if __name__ == "__main__":
    main()
