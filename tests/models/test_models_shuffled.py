import json

import numpy as np
import pytest
import torch

from cof.config.controls import ShuffledSettings
from cof.config.flow import CofSettings, VelocitySettings
from cof.models.controls.shuffled import MODEL, ShuffledFamily
from cof.models.flow.cof import CofFamily
from cof.training.run import Run

FIELD = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4)


def test_the_heart_is_the_one_that_the_model_makes_of_the_donors_ecg(toy_hearts, tmp_path):
    train, unseen = toy_hearts(3), toy_hearts(5, seed=4)
    settings = CofSettings(field=FIELD, iterations=3, batch=2, phases=2)
    out = tmp_path / "shuffled"
    (out / MODEL).mkdir(parents=True)
    run = Run(tmp_path / "checkpoint.pt")
    CofFamily().fit(train, [], settings, 0, run)(out / MODEL)
    record = {"settings": settings.model_dump(mode="json"), "frames": 12, "shape": [5, 32, 32]}
    record |= {"spacing_mm": [10, 4, 4], "beat_samples": 128, "provenance": {}}
    (out / MODEL / "settings.json").write_text(json.dumps(record))
    ShuffledFamily().fit(unseen, [], ShuffledSettings(permutation=3), 0, run)(out)

    shuffled, model = ShuffledFamily().load(out, ShuffledSettings()), CofFamily().load(out / MODEL, settings)
    by_name = {heart.subject: heart for heart in unseen}
    for heart in unseen:
        made = shuffled.generate(heart, 12, 0)
        donor = by_name[made.measures["ecg_of"]]
        assert donor.subject != heart.subject
        assert torch.equal(made.displacement, model.generate(heart.with_ecg_of(donor), 12, 0).displacement)
        assert not torch.equal(made.displacement, model.generate(heart, 12, 0).displacement)
    stranger = toy_hearts(1, seed=5)[0]
    assert shuffled.generate(stranger, 12, 0).measures["ecg_of"] in by_name


def test_shuffled_in_training_keeps_hearts_and_moves_ecgs(toy_hearts, tmp_path, monkeypatch):
    hearts, seen = toy_hearts(6), {}

    def fit(network, loss, source, *others, **more):
        seen.update({heart.subject: heart for heart in source.train})
        raise StopIteration

    monkeypatch.setattr("cof.training.loop.fit", fit)
    with pytest.raises(StopIteration):
        CofFamily().fit(hearts, [], CofSettings(shuffled_ecg=True), 1, Run(tmp_path / "checkpoint.pt"))
    beats = [heart.beat.tobytes() for heart in hearts]
    for heart in hearts:
        given = seen[heart.subject]
        assert np.array_equal(given.displacement, heart.displacement)
        assert np.array_equal(given.anchor, heart.anchor)
        assert given.beat.tobytes() in beats
        assert not np.array_equal(given.beat, heart.beat)
        donor = hearts[beats.index(given.beat.tobytes())]
        assert np.array_equal(given.features, donor.features, equal_nan=True)
    assert len({heart.beat.tobytes() for heart in seen.values()}) == 6
