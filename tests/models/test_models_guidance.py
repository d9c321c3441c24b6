import torch

from cof.models.video.guidance import guided


def test_guidance_is_its_formula_and_asks_once_where_there_is_none():
    outputs = {"told": torch.tensor([1.0, -2.0]), "untold": torch.tensor([0.5, 4.0])}
    asked = []

    def network(condition):
        asked.append(condition)
        return outputs[condition]

    torch.testing.assert_close(guided(network, "told", "untold", 3.0), torch.tensor([2.0, -14.0]))
    assert torch.equal(guided(network, "told", "untold", 0.0), outputs["untold"])
    asked.clear()
    assert torch.equal(guided(network, "told", "untold", 1.0), outputs["told"])
    assert asked == ["told"]
