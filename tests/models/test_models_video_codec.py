import pytest
import torch
from torch import distributed, multiprocessing

from cof.config.baselines import VideoCodecSettings
from cof.models.video.video_codec import VideoCodec, codec_loss, gradient_l1

SETTINGS = VideoCodecSettings(channels=(8, 16), blocks=1, codes=32, code_channels=8, decay=0.9)


@pytest.fixture(scope="module")
def clips(beating_hearts):
    hearts = beating_hearts(4, frames=8)
    return torch.stack([torch.from_numpy(heart.cine[:, 1]) for heart in hearts])[:, None]


def started(clips):
    torch.manual_seed(0)
    codec = VideoCodec(SETTINGS)
    codec.start(clips, torch.Generator().manual_seed(0))
    return codec


def test_a_codec_learns_to_give_back_videos_and_uses_its_codes(clips):
    codec = started(clips).train()
    optimiser = torch.optim.Adam(codec.parameters(), 4e-3)
    losses, perplexities = [], []
    for _ in range(50):
        optimiser.zero_grad()
        found = codec_loss(codec, clips)
        found.value.backward()
        optimiser.step()
        losses.append(float(found.terms["image"].detach()))
        perplexities.append(float(found.terms["perplexity"]))
    print(losses[0], losses[-1], perplexities[-1])
    assert losses[-1] < 0.35 * losses[0]
    assert perplexities[-1] > 4

    codec.eval()
    tokens = codec.tokens(clips)
    assert tokens.shape == (4, 2, 8, 8)
    assert codec.decode(tokens).shape == clips.shape
    torch.testing.assert_close(codec.decode(tokens), codec(clips)[0].clamp(0, 1), atol=1e-4, rtol=0)
    assert (codec.decode(tokens) - clips).abs().mean() < 0.4 * losses[0]


def test_codes_follow_what_they_stand_for_in_training_alone(clips):
    codec = started(clips)
    codes = codec.vqvae.quantizer.quantizer.embedding.weight
    before = codes.clone()
    codec.eval()(clips)
    assert torch.equal(codes, before)
    codec.train()(clips)
    assert not torch.equal(codes, before)
    # A code of which the mean is one encoding, which n encodings then join: a moving average.
    codec = started(clips).train()
    quantizer = codec.vqvae.quantizer.quantizer
    codes, tokens = quantizer.embedding.weight.clone(), codec.tokens(clips)
    encodings = codec.encode(clips).movedim(1, -1).flatten(0, -2)
    codec(clips)
    chosen = tokens.flatten() == tokens.flatten()[0]
    number, total = int(chosen.sum()), encodings[chosen].sum(0)
    expected = (0.9 * codes[tokens.flatten()[0]] + 0.1 * total) / (0.9 + 0.1 * number)
    torch.testing.assert_close(quantizer.embedding.weight[tokens.flatten()[0]], expected, atol=1e-3, rtol=1e-3)


def test_a_codec_starts_with_many_codes_in_use(clips):
    codec = started(clips).eval()
    codec(clips)
    assert codec.perplexity > 16
    encodings = codec.vqvae.encode(clips)
    torch.testing.assert_close(encodings.mean((0, 2, 3, 4)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(encodings.std((0, 2, 3, 4)), torch.ones(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(codec.encode(clips).square().sum(1), torch.full((4, 2, 8, 8), 8.0))


def test_still_tokens_are_those_of_a_video_that_does_not_move(clips):
    codec = started(clips).eval()
    images = clips[:3, 0, :3]
    tokens = codec.still_tokens(images)
    assert tokens.shape == (3, 3, 8, 8)
    still = images[1, 2].expand(1, 1, 9 * codec.stride, -1, -1)
    assert torch.equal(tokens[1, 2], codec.tokens(still[:, :, : 3 * codec.stride])[0, 1])
    far_from_the_ends = codec.tokens(still)[0, 4]
    alike = [float((found == far_from_the_ends).float().mean()) for found in (tokens[1, 2], codec.tokens(still)[0, 0])]
    assert alike[0] > 1.5 * alike[1]


def test_the_gradient_term_is_the_mean_over_axes_of_differences():
    real = torch.zeros(1, 1, 4, 4, 4)
    ramp = torch.arange(4.0)[:, None, None].expand(4, 4, 4)[None, None]
    assert float(gradient_l1(ramp + 5, real)) == pytest.approx(1 / 3)
    assert float(gradient_l1(real + 5, real)) == 0


def test_a_code_that_nothing_is_near_begins_anew_where_encodings_are():
    torch.manual_seed(0)
    codec = VideoCodec(SETTINGS)
    clips = torch.rand(4, 1, 8, 16, 16)
    codec.start(clips, torch.Generator().manual_seed(0))
    quantizer = codec.vqvae.quantizer.quantizer
    quantizer.embedding.weight[5:] = 1000.0
    quantizer.ema_w[5:] = 1000.0
    quantizer.ema_cluster_size[5:] = 0.0

    codec.eval()
    codec(clips)
    assert (quantizer.embedding.weight[5:] == 1000).all()
    assert len(codec.tokens(clips).unique()) <= 5

    encodings = codec.encode(clips)
    codec.train()
    codec(clips)
    flat = encodings.movedim(1, -1).flatten(0, -2)
    away = torch.cdist(quantizer.embedding.weight[5:], flat).min(1).values
    assert away.max() < 1e-2
    codec.eval()
    assert len(codec.tokens(clips).unique()) > 20


def _revived(rank, folder):
    """One of two processes, each with videos of its own, after which nothing but shared codes is left."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    codec = VideoCodec(SETTINGS).train()
    codec.start(torch.rand(2, 1, 8, 16, 16), torch.Generator().manual_seed(0))
    codec.vqvae.quantizer.quantizer.ema_cluster_size.zero_()
    torch.manual_seed(rank)
    codec.revive(codec.encode(torch.rand(2, 1, 8, 16, 16)))
    torch.save(codec.vqvae.quantizer.quantizer.state_dict(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_that_train_together_keep_the_same_codes(tmp_path):
    multiprocessing.spawn(_revived, (tmp_path,), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
