import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cof.config import Config, parse
from cof.config.base import TRUTH
from cof.config.baselines import EchoPulseSettings, VideoCodecSettings
from cof.config.controls import OracleSettings
from cof.config.motion import RegistrationSettings
from cof.estimate.calibration import Calibration, Unit, _Bench, cost_key, parts, shortened
from cof.estimate.cost import batch_jobs, estimate, to_json, to_markdown, total

MODELS = ("models", "twins", "metrics")
STAGES = ("ecg", "beats", "cine", "hashes", "labels", "quality", "grid")


@pytest.fixture
def config() -> Config:
    return parse(
        {
            "cohort": {"sheet": "subjects.csv", "batches": 10, "split": {"train": 0.8, "test": 0.2}},
            "labels": {"epochs": 5, "iterations": 20},
            "registrations": {"toppr": {"iterations": 30}},
            "models": {"cof": {"family": "cof", "iterations": 60}, "random": {"family": "random", "donors": 8}},
            "tables": {},
        }
    )


def units(gpu: bool) -> Calibration:
    """An hour, ten bytes and two files a unit of everything."""
    unit = Unit(3600.0, 10.0, 2.0)
    models = {"cof": unit, "random": unit}
    one = {"toppr": unit}
    return Calibration(dict.fromkeys(STAGES, unit), unit, one, one, models, models, models, 36.0, gpu)


def test_counts_are_those_of_the_configuration(config: Config) -> None:
    rows = {row.stage: row for row in estimate(config, 1000, units(gpu=False), gpu_factor=10)}
    assert rows["ecg"].core_hours == 1000
    assert rows["ecg"].files == 2 * 1000 + 10
    assert rows["cine"].files == 2 * 1000 + 2 * 10
    assert rows["labels"].gpu_hours == 100
    assert rows["labeller"].gpu_hours == 5 * 20 / 10
    assert (rows["labeller"].bytes, rows["labeller"].files) == (10, 4)
    assert rows["registrations/toppr"].gpu_hours == 3
    assert rows["models/cof"].gpu_hours == 6
    assert rows["models/random"].gpu_hours == pytest.approx(80)
    assert rows["models/random"].bytes == 10 * 8
    assert rows["twins/cof"].gpu_hours == 20
    assert rows["metrics/cof"].core_hours == 200
    assert batch_jobs(config) == 13
    assert rows["logs, benchmarks, exclusions"].core_hours == pytest.approx(130 * 36 / 3600)
    assert total(list(rows.values())).core_hours == pytest.approx(6 * 1000 + 2 * 200 + 1.3)


def test_a_measured_gpu_needs_no_assumption(config: Config) -> None:
    rows = {row.stage: row for row in estimate(config, 1000, units(gpu=True), gpu_factor=10)}
    assert rows["labels"].gpu_hours == 1000
    assert "assumption" not in to_markdown(list(rows.values()), 1000, units(gpu=True), 10)
    text = to_markdown(list(rows.values()), 1000, units(gpu=False), 10)
    assert "assume that one GPU does the work of 10" in text
    assert json.loads(json.dumps(to_json(list(rows.values()), units(gpu=True))))["total"]["stage"] == "in all"


def test_of_what_another_run_has_trained_there_is_a_copy(config: Config) -> None:
    counted = units(gpu=False)
    borrowed = config.model_copy(update={"trained": "results/other"})
    rows = {row.stage: row for row in estimate(borrowed, 1000, counted, gpu_factor=10)}
    for stage in ("labeller", "registrations/toppr", "models/cof"):
        assert (rows[stage].core_hours, rows[stage].gpu_hours, rows[stage].bytes) == (0, 0, 10)
    assert rows["twins/cof"].gpu_hours == 20


def test_exact_motion_is_a_stage_of_the_held_out_hearts(config: Config) -> None:
    counted = units(gpu=False)
    counted = replace(counted, fields={**counted.fields, TRUTH: Unit(3600.0, 5.0, 1.0)})
    models = config.models | {"true": OracleSettings(registration=TRUTH)}
    counted = replace(counted, **{name: getattr(counted, name) | {"true": Unit(0.0)} for name in MODELS})
    exact = config.model_copy(update={"models": models})
    assert batch_jobs(exact) == batch_jobs(config) + 3
    row = next(row for row in estimate(exact, 1000, counted) if row.stage == "fields/truth")
    assert (row.core_hours, row.bytes, row.files) == (200, 1000, 220)


def test_calibration_and_features_are_jobs_where_the_configuration_asks_for_them(config: Config) -> None:
    table = {"title": "one", "models": {"cof": "COF"}, "metrics": ["ssim"]}
    plain = config.model_dump(mode="json") | {"tables": {"one": table}}
    assert batch_jobs(parse(plain)) == batch_jobs(config)
    asked = plain | {
        "tables": {"one": table | {"metrics": ["ssim", "fd_imagenet"]}},
        "intervals": {"models": ["cof"]},
        "cohort": plain["cohort"] | {"split": {"train": 0.7, "validation": 0.1, "test": 0.2}},
    }
    more = parse(asked)
    assert more.featured == ("real", "cof")
    assert batch_jobs(more) == batch_jobs(config) + 2 + 2
    rows = {row.stage: row for row in estimate(more, 1000, units(gpu=False), gpu_factor=10)}
    assert (rows["calibration/twins/cof"].gpu_hours, rows["calibration/metrics/cof"].core_hours) == (10, 100)
    assert rows["logs, benchmarks, exclusions"].files == 3 * 10 * batch_jobs(more) - 20


def test_only_what_changes_the_cost_is_measured_again() -> None:
    one = RegistrationSettings(lambda_seg=1.0)
    assert cost_key(one) == cost_key(RegistrationSettings(lambda_seg=3.0, learning_rate=1e-4))
    assert cost_key(one) != cost_key(RegistrationSettings(lambda_seg=0.0))
    assert cost_key(one) != cost_key(RegistrationSettings(channels=(8, 16)))


def test_a_model_of_several_networks_is_trained_part_by_part() -> None:
    codec = VideoCodecSettings(iterations=900, batch=4)
    settings = EchoPulseSettings(iterations=1800, batch=2, codec=codec)
    assert {name: part.iterations for name, part in parts(settings).items()} == {"codec": 900, "": 1800}
    short = shortened(settings, {"codec": 4})
    assert {name: (part.iterations, part.batch) for name, part in parts(short).items()} == {"codec": (4, 1), "": (1, 1)}
    assert cost_key(settings) != cost_key(settings.model_copy(update={"codec": VideoCodecSettings(batch=8)}))
    assert cost_key(settings) == cost_key(settings.model_copy(update={"seed": 1, "learning_rate": 1.0}))


def test_the_steps_of_earlier_networks_are_spread_over_those_of_the_last(config: Config, tmp_path: Path) -> None:
    settings = EchoPulseSettings(iterations=100, batch=2, codec=VideoCodecSettings(iterations=300, batch=4))
    bench = _Bench(config, 0, tmp_path)
    spent = [0.0]

    def train(chosen: EchoPulseSettings) -> None:  # two seconds a step of the codec and three of the transformer
        spent[0] += 2 * chosen.codec.iterations * chosen.codec.batch + 3 * chosen.iterations * chosen.batch

    def seconds(work: Callable[[], object]) -> float:
        before = spent[0]
        work()
        return spent[0] - before

    bench._seconds = seconds  # type: ignore[method-assign]
    assert bench._steps(train, settings) * 100 == pytest.approx(2 * 300 * 4 + 3 * 100 * 2)
