import math

import numpy as np
import pytest
import torch

from cof.models.video.masked import fill_in, hide, masked_count

MASK, CODES = 9, 9


def test_the_schedule_is_a_cosine_from_all_to_none():
    assert [masked_count(step / 6, 100) for step in range(7)] == [100, 96, 86, 70, 50, 25, 0]
    for tokens in (1, 2, 7, 864):
        assert masked_count(0, tokens) == tokens
        assert masked_count(1, tokens) == 0


def test_an_example_hides_what_the_schedule_says_at_a_uniform_progress():
    for seed in range(20):
        progress = np.random.default_rng(seed).random()
        hidden = hide(50, np.random.default_rng(seed))
        assert hidden.sum() == max(1, math.floor(50 * math.cos(math.pi / 2 * progress)))
    drawn = np.stack([hide(200, np.random.default_rng(seed)) for seed in range(3000)])
    assert drawn.mean() == pytest.approx(2 / math.pi, abs=0.02)  # the mean of the cosine, less the rounding
    assert np.ptp(drawn.mean(0)) < 0.1  # no place is preferred
    assert all(hide(1, np.random.default_rng(seed)).all() for seed in range(20))


class Knowing:
    """A network that knows the tokens, and of which it is how sure; it keeps what it was asked."""

    def __init__(self, answer: torch.Tensor) -> None:
        self.answer = answer
        self.sure = torch.rand(answer.shape, generator=torch.Generator().manual_seed(1)) * 5 + 30
        self.asked: list[torch.Tensor] = []

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        self.asked.append(tokens.clone())
        return torch.nn.functional.one_hot(self.answer, CODES) * self.sure[..., None]


@pytest.mark.parametrize("steps", [1, 4, 18, 40])
def test_who_knows_the_answer_decodes_it_by_the_schedule(steps):
    answer = torch.randint(CODES, (3, 2, 3, 4), generator=torch.Generator().manual_seed(0))
    network = Knowing(answer)
    found = fill_in(network, torch.full_like(answer, MASK), MASK, steps, 0.9, rng=np.random.default_rng(0))
    assert torch.equal(found, answer)
    for step, tokens in enumerate(network.asked):
        open_ = tokens != MASK
        assert ((~open_).flatten(1).sum(1) == masked_count(step / steps, 24)).all()
        assert torch.equal(tokens[open_], answer[open_])
    assert len(network.asked) == steps


def test_the_most_confident_come_first_and_stay():
    answer = torch.zeros((1, 24), dtype=torch.long)
    network = Knowing(answer)
    network.sure = torch.linspace(0.1, 4, 24)[None]
    fill_in(network, torch.full_like(answer, MASK), MASK, 6, 0.0, rng=np.random.default_rng(0))
    for step, tokens in enumerate(network.asked):
        assert (tokens == MASK)[0].tolist() == [place < masked_count(step / 6, 24) for place in range(24)]


def test_draws_follow_the_probabilities_alike_in_all_sequences_and_the_seed_decides():
    scores = torch.tensor([0.0, 1.0, 2.0])

    def logits(tokens):
        return scores.expand(*tokens.shape, -1)

    masked = torch.full((2, 6000), MASK)
    found = fill_in(logits, masked, MASK, 1, 1.0, rng=np.random.default_rng(3))
    shares = torch.bincount(found[0], minlength=3) / found.shape[1]
    torch.testing.assert_close(shares, scores.softmax(0), atol=0.02, rtol=0)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found, fill_in(logits, masked, MASK, 1, 1.0, rng=np.random.default_rng(3)))
    assert not torch.equal(found, fill_in(logits, masked, MASK, 1, 1.0, rng=np.random.default_rng(4)))
    assert (fill_in(logits, masked, MASK, 1, 0.0, rng=np.random.default_rng(3)) == 2).all()
