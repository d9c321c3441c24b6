import torch

from cof.models.video.guidance import guided


def test_guidance_is_its_formula():
    one, two = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])
    torch.testing.assert_close(guided(one, two, 3.0), torch.tensor([2.0, -14.0]))
    assert torch.equal(guided(one, two, 1.0), one)
    assert torch.equal(guided(one, two, 0.0), two)
