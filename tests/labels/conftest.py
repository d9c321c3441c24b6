"""Fixtures of the labelling tests."""

from pathlib import Path

import pytest
from ring_phantom import Cohort, make_cohort

from cof.artefacts.exclusions import Exclusions
from cof.config.data import LabelSettings


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("rings"))


@pytest.fixture(scope="session")
def untrained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labeller folder with nnU-Net's plan of the small cohort and random weights."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from cof.labels import artefact, dataset, training

    root = tmp_path_factory.mktemp("untrained")
    cases = dataset.find_cases(cohort.subjects, [cohort.cine], [cohort.annotations], Exclusions("labeller"))
    training.prepare(cases, {cases[0].participant}, LabelSettings(batch=3, levels=4), root / "work")
    plans, description = training.planned(root / "work")
    torch.manual_seed(3)
    manager = PlansManager(plans)
    network = nnUNetTrainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, 4, False)
    artefact.write_model(root / "labeller", plans, description, network.state_dict(), (0, 1))
    artefact.describe(root / "labeller", {})
    return root / "labeller"
