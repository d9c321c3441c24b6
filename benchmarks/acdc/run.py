"""Labels, registration of ES to ED, and EF from one frame, on ACDC's validation patients, beside what people use.

Labels and registration also on phantoms, with their exact labels.

Run with `--help`; README.md tells what comes out.
"""

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1] / "shared"))
from function import AS_IT_IS, CONTRACTED, Case, Fitted, Shipped, function_rows, in_folds, simulated_ecg
from hearts import PHANTOM, Heart, ejection_fraction, read_hearts, read_phantoms
from registration import Method, Pair, grid_of, networks, register, registration_rows, tools
from results import Results, Rows
from timing import timed
from weights import Weights

from cof.config.motion import PathSettings
from cof.labels.predict import Labeller
from cof.sheets.acdc import CITATION
from labels import label_rows

LABELS, REGISTRATION, FUNCTION = PARTS = ("labels", "registration", "function")
VALIDATION, TRAIN = SPLITS = ("validation", "train")


def main() -> None:
    """Measure every part on every patient; write rows and tables, renewed after each patient."""
    parser = _parser()
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights, *beside = (Weights.of(folder) for folder in (arguments.weights, *arguments.beside))
    _check(parser, arguments, [weights, *beside])
    methods = _methods(parser, arguments, [weights, *beside])
    shipped = _shipped(parser, arguments, weights)
    labellers = _labellers(arguments, weights, beside)
    trained, path = weights.registration(arguments.registration), weights.path(arguments.registration)
    grids = [grid_of(each.registration(arguments.registration)) for each in (weights, *beside)]
    whose = "phantoms" if arguments.phantoms else f"ACDC, {arguments.split} patients"
    results = Results(
        arguments.out,
        f"{whose}, {arguments.threads} thread(s), {weights.name}",
        "phantoms of this project" if arguments.phantoms else CITATION,
        CONTRACTED.format(arguments.model),
        AS_IT_IS.format(arguments.model),
    )
    cases: list[Case] = []
    for heart in _hearts(arguments, SPLITS if shipped else (arguments.split,)):
        measured = heart.group == PHANTOM or heart.split == arguments.split
        # A training patient is there for the mean motion and the regressions alone.
        used = {name: one for name, one in labellers.items() if measured or name == weights.name}
        labelled = {name: timed(partial(one.label, heart.frames, heart.spacing_mm)) for name, one in used.items()}
        pair = Pair.of(heart, grids, {name: found for name, (found, _, _) in labelled.items()})
        if measured and LABELS in arguments.parts:
            for name, (found, cpu, _) in labelled.items():
                who = heart.who | {"labeller": name}
                results.labels += [who | row for row in label_rows(heart, found)]
                ejected = {"ef_pct": ejection_fraction(found), "ef_expert_pct": heart.ef_pct, "cpu_s": cpu}
                results.ejection.append(who | ejected)
        if measured:
            results.registration += _registered(pair, methods, warm_up=not results.registration)
            results.write()
        if shipped is not None:
            motions = {"network alone": register(pair, trained, PathSettings(), weights.name)[0]}
            if path.refinement.steps:
                motions["as config.json"] = register(pair, trained, path, weights.name)[0]
            named = {f"registration of both frames, {how} (ceiling)": u for how, u in motions.items()}
            found, samples = pair.found[weights.name], shipped.trained.beat_samples
            cases.append(Case.of(heart, pair.canonical[grids[0]], found, samples, named))
    if shipped is not None:
        fitted = Fitted.of([case for case in cases if case.heart.split == TRAIN])
        for case in (case for case in cases if case.heart.split == VALIDATION):
            results.function += function_rows(case, fitted, shipped)
        results.write()
        if arguments.folds:
            for rows in in_folds(cases, shipped, arguments.folds):
                results.folds += rows
            results.write()
    print(results.page.read_text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--acdc", type=Path, help="ACDC's folder, as `cof sheet acdc` takes it")
    whose.add_argument(
        "--phantoms", type=Path, nargs="+", help="folders of `cof phantom`: their held-out hearts, without the function"
    )
    parser.add_argument("--weights", type=Path, required=True, help="shipped weights, or the results folder of a run")
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], help="further weights: labels and registration of the same hearts"
    )
    parser.add_argument("--registration", default="toppr", help="which of registrations/")
    parser.add_argument("--model", default="cof", help="which of models/")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--split", default=VALIDATION, choices=SPLITS)
    parser.add_argument("--patients", type=int, help="only so many of each split")
    parser.add_argument("--mirroring", action="store_true", help="labels also with mirroring (labels.mirroring)")
    parser.add_argument("--steps", type=int, nargs="*", default=[20, 50], help="of refinement on images, a row each")
    parser.add_argument("--bound", action="store_true", help="also a field that is fitted to the experts' labels")
    parser.add_argument("--only", nargs="*", metavar="METHOD", help="these rows of the registration alone")
    parser.add_argument("--folds", type=int, default=0, help="of all 100 patients, for the part function")
    parser.add_argument("--threads", type=int, default=1, help="of torch; ITK's and ANTs' by the environment")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def _hearts(arguments: argparse.Namespace, splits: Sequence[str]) -> Iterator[Heart]:
    """Yield the patients of some splits, or the phantoms."""
    if not arguments.phantoms:
        yield from read_hearts(arguments.acdc, splits, arguments.patients)
    for folder in arguments.phantoms or ():
        yield from read_phantoms(folder, arguments.patients)


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace, weights: list[Weights]) -> None:
    """Refuse weights of one name, which would share rows, and the function of phantoms."""
    if arguments.phantoms and FUNCTION in arguments.parts:
        parser.error("--phantoms: the part function is fitted to ACDC's patients: name --parts labels registration")
    names = [each.name for each in weights]
    if len(set(names)) < len(names):
        parser.error(f"--beside: two weights have the name {max(names, key=names.count)}: rename a folder")


def _methods(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, weights: list[Weights]
) -> dict[str, Method]:
    """Return the rows of the registration; none where that is not among the parts."""
    if REGISTRATION not in arguments.parts:
        return {}
    methods = tools()
    for each in weights:
        trained, path = each.registration(arguments.registration), each.path(arguments.registration)
        bound = arguments.bound and each is weights[0]
        methods |= networks(each.name, trained, path, each.name, arguments.steps, bound)
    if unknown := set(arguments.only or ()) - methods.keys():
        parser.error(f"--only: no method is called {', '.join(sorted(unknown))}; there are {'; '.join(methods)}")
    methods = {name: one for name, one in methods.items() if arguments.only is None or name in arguments.only}
    if importlib.util.find_spec("ants") is None and any("SyN" in name for name in methods):
        parser.error("SyN needs antspyx: install it, or leave SyN out by --only")
    return methods


def _shipped(parser: argparse.ArgumentParser, arguments: argparse.Namespace, weights: Weights) -> Shipped | None:
    """Return the model of the part function; None where that is not among the parts."""
    if FUNCTION not in arguments.parts:
        if arguments.folds:
            parser.error("--folds needs the part function")
        return None
    if arguments.split != VALIDATION:
        parser.error(f"the part function is fitted to the training patients: name other --parts for --split {TRAIN}")
    model = weights.model(arguments.model)
    if not model.settings.takes_absent_ecg:
        parser.error(
            f"{weights.folder}: the model {arguments.model} needs an ECG, which ACDC lacks: name other --parts"
        )
    registration = weights.registration(arguments.registration)
    if model.shape != registration.shape or model.spacing_mm != registration.network.spacing_mm:
        parser.error(f"{weights.folder}: model {arguments.model} and registration have not the same canonical grid")
    return Shipped(arguments.model, model, simulated_ecg(weights.settings))


def _labellers(arguments: argparse.Namespace, weights: Weights, beside: list[Weights]) -> dict[str, Labeller]:
    """Return the labellers that some part needs, by name: as config.json has them, and with mirroring if asked."""
    needed = [weights] if FUNCTION in arguments.parts else []
    for each in (weights, *beside):
        refined = REGISTRATION in arguments.parts and each.path(arguments.registration).needs_labels
        if LABELS in arguments.parts or refined:
            needed.append(each)
    labellers = {each.name: each.labeller(each.settings.labels.mirroring) for each in needed}
    if arguments.mirroring:
        labellers[f"{weights.name}, mirroring"] = weights.labeller(mirroring=True)
    return labellers


def _registered(pair: Pair, methods: dict[str, Method], warm_up: bool) -> Rows:
    """Register a pair by every method, before that once untimed: what the first call costs is no part of any."""
    if warm_up:
        for method in methods.values():
            method(pair)
    rows = []
    for name, method in methods.items():
        finish, cpu, wall = timed(partial(method, pair))
        who = pair.heart.who | {"method": name, "cpu_s": cpu, "wall_s": wall}
        rows += [who | row for row in registration_rows(pair, finish())]
    return rows


if __name__ == "__main__":
    main()
