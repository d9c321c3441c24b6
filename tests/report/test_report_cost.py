"""What each model has cost: counts of its folder, times of Snakemake's benchmarks, nothing guessed."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cof.config.evaluation import TableSettings
from cof.privacy import numbers
from cof.report.plots import THEMES
from cof.report.sections.training import learning_curves
from cof.tables.costs import Benchmark, cells, costs, late_change, learnt, panel, read_csv, read_logs
from cof.tables.stage import make_cost

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path: Path, seconds: float, memory_mb: float | str, cpu: float | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + f"{seconds}\t0:00:01\t{memory_mb}\t1\t1\t1\t0\t0\t0\t{cpu}\n")


def effort(parameters: float, iterations: int, samples: float, device: str = "cpu", processes: int = 1) -> dict:
    return {
        "thousand_parameters": parameters, "thousand_samples": samples, "iterations": iterations, "device": device,
        "processes": processes,
    }  # fmt: skip


def model(folder: Path, family: str, trainings: list[dict], registration: str | None = None) -> None:
    folder.mkdir(parents=True)
    settings = {"family": family} | ({"registration": registration} if registration else {})
    record = {"settings": settings, "subjects": {"train": 24, "validation": 2}, "trainings": trainings}
    (folder / "settings.json").write_text(json.dumps(record))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """COF on a CPU, a baseline of two networks on four GPUs, and a control without any."""
    model(tmp_path / "models/cof", "cof", [effort(1234.567, 300, 2.4)], "toppr")
    log = pd.DataFrame({"iteration": np.arange(50, 301, 50), "train_loss": [9, 5, 3, 2.5, 2.0, 1.0]})
    log.assign(validation_loss=[9, 5, 3, 2.5, 2.0, 2.1]).to_csv(tmp_path / "models/cof/log.csv", index=False)
    benchmark(tmp_path / "benchmarks/train/cof.tsv", 3600, 900, 5400)
    baseline = [effort(2000, 100, 1, "gpu", 4), effort(500, 900, 9, "gpu", 4)]
    model(tmp_path / "models/baseline", "lfdm", baseline)
    benchmark(tmp_path / "benchmarks/train/baseline.tsv", 1800, 900, 9000)
    model(tmp_path / "models/static", "static", [])
    benchmark(tmp_path / "benchmarks/train/static.tsv", 5, "-", "-")
    for name, hearts in (("cof", (3, 1)), ("static", (3, 1))):
        for batch, count in enumerate(hearts):
            folder = tmp_path / f"twins/{name}/b00{batch}"
            folder.mkdir(parents=True)
            for heart in range(count):
                (folder / f"sub-{batch}{heart}-v2.function.json").touch()
            benchmark(tmp_path / f"benchmarks/twins/{name}/b00{batch}.tsv", 10 * count + 5, 1024 * (batch + 1), 30)
    (tmp_path / "registrations/toppr").mkdir(parents=True)
    record = {"settings": {}, "subjects": 24, "trainings": [effort(120, 600, 2.4)]}
    (tmp_path / "registrations/toppr/settings.json").write_text(json.dumps(record))
    benchmark(tmp_path / "benchmarks/toppr/toppr.tsv", 720, 900, 720)
    return tmp_path


TABLE = TableSettings(
    title="T",
    models={"cof": "COF", "baseline": "LFDM", "static": "Static anchor", "elsewhere": "Other"},
    metrics=("ssim",),
)


def test_counts_times_and_memory_are_those_of_folder_and_benchmarks(results: Path) -> None:
    cof, baseline, static, elsewhere, toppr = costs(results, TABLE)
    assert (cof.row, cof.family, cof.training_hearts) == ("COF", "cof", 24)
    assert (cof.parameters, cof.iterations, cof.samples) == (1_234_567, 300, 2400)
    assert (cof.hours, cof.cpu_hours, cof.gpu_hours, cof.device) == (1, 1.5, 0, "cpu")
    assert cof.train_change == pytest.approx(-0.5)
    assert cof.validation_change == pytest.approx(0.05)
    assert (cof.hearts, cof.seconds_a_heart, cof.memory_gb) == (4, (35 + 15) / 4, 2)
    # Both networks count, and four GPUs at once are four times as many hours.
    assert (baseline.parameters, baseline.iterations, baseline.samples) == (2_500_000, 1000, 10_000)
    assert (baseline.device, baseline.processes, baseline.gpu_hours, baseline.cpu_hours) == ("gpu", 4, 2, 2.5)
    assert math.isnan(baseline.train_change)
    assert math.isnan(baseline.seconds_a_heart)
    assert (static.parameters, static.samples, static.device) == (0, 0, "")
    assert math.isnan(static.cpu_hours)
    assert all(math.isnan(value) for value in vars(elsewhere).values() if isinstance(value, float))
    assert toppr.row == "Registration 'toppr', of COF"
    assert (toppr.parameters, toppr.hours) == (120_000, 0.2)


def test_times_of_what_another_run_has_trained_are_that_runs(results: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("train/cof", "toppr/toppr"):
        benchmark(elsewhere / f"benchmarks/{name}.tsv", 7200, 900, 10800)
    before = costs(results, TABLE, elsewhere)
    assert (before[0].hours, before[-1].hours) == (1, 0.2)  # trained here, whatever there is elsewhere
    for name in ("train/cof", "train/baseline", "toppr/toppr"):
        (results / f"benchmarks/{name}.tsv").unlink()
    cof, baseline, *_, toppr = costs(results, TABLE, elsewhere)
    assert (cof.hours, cof.cpu_hours, cof.seconds_a_heart) == (2, 3, 12.5)
    assert math.isnan(baseline.hours)
    assert toppr.cpu_hours == 3
    assert math.isnan(costs(results, TABLE)[0].hours)


def test_an_older_training_does_not_pass_for_one_without_gpus(results: Path) -> None:
    file = results / "models/cof/settings.json"
    record = json.loads(file.read_text())
    del record["trainings"]
    file.write_text(json.dumps(record))
    cof = costs(results, TABLE)[0]
    assert cof.hours == 1
    assert all(math.isnan(value) for value in (cof.parameters, cof.samples, cof.gpu_hours))


def test_trials_are_counted_beside_the_trainings(results: Path) -> None:
    file = results / "models/cof/settings.json"
    record = json.loads(file.read_text())
    assert math.isnan(costs(results, TABLE)[0].trials)
    file.write_text(json.dumps(record | {"trials": [{}, {}, {}]}))
    cof = costs(results, TABLE)[0]
    assert (cof.trials, cof.iterations, cof.samples) == (3, 300, 2400)


def test_a_model_that_applies_another_has_the_others_counts(results: Path) -> None:
    folder = results / "models/shuffled"
    model(folder, "shuffled", [])
    model(folder / "model", "cof", [effort(1234.567, 300, 2.4)])
    assert learnt(folder, "S", "shuffled", "shuffled").parameters == 1_234_567


def test_the_last_fifth_tells_convergence() -> None:
    iteration = np.arange(1, 1001)
    falling = pd.DataFrame({"iteration": iteration, "train_loss": 1000.0 - 0.9 * iteration})
    assert late_change(falling, "train_loss") == pytest.approx((1000 - 0.9 * 950.5) / (1000 - 0.9 * 850.5) - 1)
    flat = falling.assign(train_loss=3.0)
    assert late_change(flat, "train_loss") == 0
    assert math.isnan(late_change(flat, "validation_loss"))
    assert math.isnan(late_change(falling.tail(1), "train_loss"))


def test_networks_trained_in_a_row_have_a_log_each_and_the_last_one_tells_convergence(results: Path) -> None:
    codec = pd.DataFrame({"iteration": np.arange(10, 101, 10), "train_loss": 7.0, "part": "codec"})
    # Sorting by name would put it first.
    last = pd.DataFrame({"iteration": np.arange(50, 301, 50), "train_loss": [9, 5, 3, 2.5, 2.0, 1.0], "part": "a"})
    pd.concat([codec, last]).to_csv(results / "models/baseline/log.csv", index=False)
    logs = read_logs(results / "models/baseline")
    assert list(logs) == ["codec", "a"]
    assert logs["codec"]["iteration"].is_monotonic_increasing
    assert set(logs["codec"]["train_loss"]) == {7}
    assert logs["a"]["train_loss"].tolist() == last["train_loss"].tolist()
    assert learnt(results / "models/baseline", "R", "baseline", "lfdm").train_change == pytest.approx(-0.5)
    assert list(read_logs(results / "models/cof")) == [""]
    assert read_logs(results / "models/static") == {}
    drawn = learning_curves({panel("baseline", part): log for part, log in logs.items()})(THEMES[0])
    titles = [axes.get_title(loc="left") for axes in drawn.axes]
    assert titles == ["baseline: codec", "baseline: a"]
    assert [len(axes.lines) for axes in drawn.axes] == [1, 1]


def test_a_rule_that_ran_again_counts_its_last_run(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    benchmark(file, 10, 100, 10)
    file.write_text(file.read_text() + "20\t0:00:20\t2048\t1\t1\t1\t0\t0\t0\t18\n")
    assert Benchmark.read(file) == Benchmark(20, 18, 2)
    assert math.isnan(Benchmark.read(tmp_path / "absent.tsv").seconds)


def test_the_files_say_the_same_and_hold_nothing_shaped_like_an_id(results: Path) -> None:
    make_cost(results=results, settings=TABLE, out=results / "cost/t", config_hash="abc123")
    rows = costs(results, TABLE)
    back = read_csv(results / "cost/t.csv")
    assert list(map(cells, back)) == list(map(cells, rows))
    assert back[0].parameters == pytest.approx(rows[0].parameters)
    markdown, latex = ((results / f"cost/t{suffix}").read_text() for suffix in (".md", ".tex"))
    for text in (markdown, latex):
        for part in ("1,234,567", "2,400", "abc123", "Registration"):
            assert part in text
    assert "| COF | 24 | 1,234,567 | 300 | 2,400 | – | -50.0% | +5.0% | 1 CPU | 1 | 1.5 | 0 | 12.5 | 2.0 |" in markdown
    assert r"-50.0\%" in latex
    for suffix in (".csv", ".md", ".tex"):
        assert not list(numbers((results / f"cost/t{suffix}").read_bytes()))
