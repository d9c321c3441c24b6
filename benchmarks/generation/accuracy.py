"""Accuracy of faster solvers: motion of a trained model compared with a fine solution, for the subjects of one split.

Run with `--help`; README.md explains the comparison.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cof.artefacts.parquet import read_table
from cof.config.flow import CofSettings, OdeSettings
from cof.models.data import Artefacts
from cof.models.flow.cof import CofModel
from cof.models.flow.matching import heart_mask
from cof.models.trained import load

FINE = OdeSettings(method="dopri5", tolerance=1e-7, closure="none")
SOLVERS = {
    "Simpson, 2T + 1 velocities": OdeSettings(method="simpson", closure="none"),
    "16 harmonics, 33 velocities": OdeSettings(method="fourier", harmonics=16, closure="none"),
    "12 harmonics, 25 velocities": OdeSettings(method="fourier", harmonics=12, closure="none"),
    "8 harmonics, 17 velocities": OdeSettings(method="fourier", harmonics=8, closure="none"),
    "4 harmonics, 9 velocities": OdeSettings(method="fourier", harmonics=4, closure="none"),
}


def errors(results: Path, name: str, split: str) -> dict[str, list[tuple[float, float]]]:
    """Return mean and largest length in mm of the difference inside the heart, for each solver and subject."""
    trained = load(results / "models" / name)
    assert isinstance(trained.settings, CofSettings)
    assert isinstance(trained.model, CofModel)
    network, settings = trained.model.network, trained.settings
    cohort = read_table(results / "cohort/subjects.parquet")
    folders = [sorted((results / stage).glob("b*")) for stage in ("grid", "labels")]
    artefacts = Artefacts.of(sorted((results / "beats").glob("*.parquet")), *folders, [])
    found: dict[str, list[tuple[float, float]]] = {solver: [] for solver in SOLVERS}
    for subject in cohort.loc[cohort["split"] == split, "subject"]:
        person = artefacts.open(subject, with_displacement=False, with_cine=False)
        if person is None:
            continue
        heart = heart_mask(person.anchor_labels).bool()

        def motion(ode: OdeSettings, person=person) -> torch.Tensor:
            model = CofModel(network, settings.model_copy(update={"ode": ode}))
            return model.generate(person, trained.frames, 0).displacement

        fine = motion(FINE)
        for solver, ode in SOLVERS.items():
            length = (motion(ode) - fine).norm(dim=1)[1:, heart]
            found[solver].append((float(length.mean()), float(length.max())))
    return found


def main() -> None:
    """Compare the solvers and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a run, such as results/bench")
    parser.add_argument("--model", default="cof")
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    found = errors(arguments.results, arguments.model, arguments.split)
    print("| solver | subjects | mean difference, mm | largest, mm |\n|---|---:|---:|---:|")
    for solver, pairs in found.items():
        mean, largest = np.array(pairs).T
        print(f"| {solver} | {len(pairs)} | {mean.mean():.4f} | {largest.max():.3f} |")


if __name__ == "__main__":
    main()
