"""A labeller with random weights, and TorchScript files with the interfaces of the published ones."""

import hashlib
from pathlib import Path

import pytest
import torch

from cof.config.evaluation import WeightsSettings

FEATURES = (4, 8, 16)


@pytest.fixture(scope="session")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An nnU-Net model folder of three levels, planned for 2 mm."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from cof.labels import artefact

    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3, "features_per_stage": FEATURES, "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * 3, "strides": [[1, 1], [2, 2], [2, 2]], "n_conv_per_stage": [1] * 3,
            "n_conv_per_stage_decoder": [1] * 2, "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d", "norm_op_kwargs": {"affine": True},
            "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip
    plans = {
        "dataset_name": "hearts", "plans_name": "plans", "image_reader_writer": "SimpleITKIO",
        "configurations": {"2d": {"spacing": [2.0, 2.0], "patch_size": [32, 32], "batch_size": 2,
                                  "architecture": architecture}},
    }  # fmt: skip
    manager = PlansManager(plans)
    torch.manual_seed(0)
    network = nnUNetTrainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, 4, False)
    folder = tmp_path_factory.mktemp("labels") / "labeller"
    artefact.write_model(folder, plans, {"channel_names": {"0": "cine"}}, network.state_dict(), None)
    artefact.describe(folder, {})
    return folder


class Inception(torch.nn.Module):
    """Takes what the published file takes: the mean and the largest value of an image, 2048 wide."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        assert list(images.shape[1:]) == [3, 299, 299]
        return torch.cat([images.mean((1, 2, 3))[:, None], images.amax((1, 2, 3))[:, None]], 1).repeat(1, 1024)


class I3d(torch.nn.Module):
    """Takes what the published file takes: the mean of every video, and its smallest value."""

    def forward(
        self, video: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        assert return_features and not rescale and not resize  # noqa: PT018
        assert video.shape[1] == 3 and list(video.shape[3:]) == [224, 224]  # noqa: PT018
        return torch.cat([video.mean((1, 2, 3, 4))[:, None], video.amin((1, 2, 3, 4))[:, None]], 1).repeat(1, 200)


def saved(network: torch.nn.Module, path: Path) -> WeightsSettings:
    torch.jit.script(network).save(str(path))
    return WeightsSettings(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WeightsSettings]:
    folder = tmp_path_factory.mktemp("weights")
    return {"inception": saved(Inception(), folder / "inception.pt"), "i3d": saved(I3d(), folder / "i3d.pt")}
