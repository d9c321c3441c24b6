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
    return _untrained(cohort, tmp_path_factory.mktemp("untrained"), LabelSettings(batch=3, levels=4))


@pytest.fixture(scope="session")
def between(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network that sees neighbours."""
    return _untrained(cohort, tmp_path_factory.mktemp("between"), LabelSettings(batch=3, levels=4, neighbours=True))


def _untrained(cohort: Cohort, root: Path, settings: LabelSettings) -> Path:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from cof.labels import artefact, dataset, training
    from cof.labels.neighbours import channel_names

    cases = dataset.find_cases(cohort.subjects, [cohort.cine], [cohort.annotations], Exclusions("labeller"))
    training.prepare(cases, {cases[0].participant}, settings, root / "work")
    plans, description = training.planned(root / "work")
    torch.manual_seed(3)
    manager = PlansManager(plans)
    seen = len(channel_names(settings.neighbours))
    network = nnUNetTrainer.build_network_architecture(manager, manager.get_configuration("2d"), seen, 4, False)
    artefact.write_model(root / "labeller", plans, description, network.state_dict(), (0, 1))
    artefact.describe(root / "labeller", {})
    return root / "labeller"
