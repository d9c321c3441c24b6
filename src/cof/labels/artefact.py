"""The trained labeller on disk: an nnU-Net model folder whose files are checked before they are used.

The folder has the layout that nnU-Net's own tools expect (`plans.json`, `dataset.json`,
`fold_0/checkpoint_final.pth`), so `nnUNetv2_predict_from_modelfolder` works on it too. The checkpoint holds only
tensors and plain values, and is read without unpickling objects.
"""

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from cof.errors import UsageError
from cof.heart.structures import CLASSES
from cof.labels.environment import quiet

CONFIGURATION = "2d"
CHECKPOINT = "fold_0/checkpoint_final.pth"
DESCRIPTION = "labeller.json"
_MODEL_FILES = ("plans.json", "dataset.json", CHECKPOINT)


@dataclass(frozen=True)
class Trained:
    """A trained nnU-Net: the network in evaluation mode on `device`, and its plans."""

    network: torch.nn.Module
    plans: PlansManager
    dataset: dict[str, Any]
    mirroring_axes: tuple[int, ...] | None
    device: torch.device

    @property
    def channels(self) -> int:
        """Number of input channels: 1, or 3 if the network also gets the neighbours of a slice."""
        return len(self.dataset["channel_names"])

    @property
    def configuration(self) -> ConfigurationManager:
        """The 2D configuration of the plans."""
        return self.plans.get_configuration(CONFIGURATION)


def write_model(
    folder: Path,
    plans: dict[str, Any],
    dataset: dict[str, Any],
    weights: dict[str, torch.Tensor],
    mirroring_axes: tuple[int, ...] | None,
) -> None:
    """Write plans, dataset description and weights as an nnU-Net model folder.

    Args:
        folder: an existing folder.
        plans: nnU-Net's plans.
        dataset: nnU-Net's dataset description.
        weights: `state_dict` of the network.
        mirroring_axes: axes along which the training mirrored its images; prediction may mirror only these. None if
            the training did not mirror.
    """
    (folder / CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))
    # nnU-Net's networks hold the same tensor under several names; the file holds each tensor once.
    once: dict[tuple[int, torch.Size], torch.Tensor] = {}
    checkpoint = {
        "network_weights": {
            name: once.setdefault((tensor.data_ptr(), tensor.shape), tensor.detach().cpu().clone())
            for name, tensor in weights.items()
        },
        # The architecture is nnU-Net's own. With the name of its own trainer, its tools can load the folder anywhere.
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": CONFIGURATION, "fold": 0},
        "inference_allowed_mirroring_axes": mirroring_axes,
    }
    torch.save(checkpoint, folder / CHECKPOINT)


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that defines the network, by its name in the folder."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _MODEL_FILES}


def describe(folder: Path, description: dict[str, Any]) -> None:
    """Write `labeller.json` with `description` and the hashes of the model files."""
    record = description | {"sha256": hashes(folder)}
    (folder / DESCRIPTION).write_text(json.dumps(record, indent=1, sort_keys=True))


def load(folder: Path) -> Trained:
    """Check the files of a labeller and load it.

    Raises:
        UsageError: a file is missing, was changed since the training, or holds more than tensors and plain values.
    """
    missing = [name for name in (DESCRIPTION, *_MODEL_FILES) if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder} is not a trained labeller: {missing[0]} is missing")
    recorded = json.loads((folder / DESCRIPTION).read_text())["sha256"]
    for name, found in hashes(folder).items():
        if recorded.get(name) != found:
            raise UsageError(
                f"{folder / name} does not match the SHA-256 in {DESCRIPTION}, so it was changed after the training: "
                "copy or train the labeller again"
            )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        checkpoint = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UsageError(
            f"{folder / CHECKPOINT} holds more than tensors and plain values, and such a file can run code: refused"
        ) from None
    dataset = json.loads((folder / "dataset.json").read_text())
    plans = PlansManager(json.loads((folder / "plans.json").read_text()))
    configuration = plans.get_configuration(CONFIGURATION)
    with quiet():
        # As nnUNetTrainer.build_network_architecture, whose module takes a second or two to import.
        network = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            len(dataset["channel_names"]),
            CLASSES,
            deep_supervision=False,
        )
    network.load_state_dict(checkpoint["network_weights"])
    network = network.to(device).eval().requires_grad_(False)
    return Trained(network, plans, dataset, checkpoint["inference_allowed_mirroring_axes"], device)
