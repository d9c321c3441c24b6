import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import lines
from cof.config.training import TrialSettings
from cof.errors import UsageError
from cof.training import loop
from cof.training.run import Loss, Run, learning_rate
from lines import SETTINGS, Cloud, line, loss

SCRIPT = Path(lines.__file__)


def fit(folder: Path, objective=loss, source=None, run=None, log_every=4, **changes):
    settings = SETTINGS.model_copy(update=changes)
    run = run or Run(folder / "c.pt")
    return loop.fit(line(), objective, source or Cloud(settings.batch), settings, run, log_every=log_every)


def ended_by(number: int, at: int, objective=loss):
    """The loss, that sends a signal as it is computed for the so-manieth time (in training)."""
    calls: list[int] = []

    def signalled(network, points):
        calls.extend([1] * torch.is_grad_enabled())
        if len(calls) == at and torch.is_grad_enabled():
            os.kill(os.getpid(), number)
        return objective(network, points)

    return signalled


def same(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))


def test_it_is_adam_on_the_weighted_mean_of_the_whole_batch(tmp_path):
    """The same training, written out."""
    network = line()
    average = [parameter.detach().clone() for parameter in network.parameters()]
    optimiser = torch.optim.Adam(network.parameters())
    losses = []
    for iteration in range(1, SETTINGS.iterations + 1):
        points = Cloud().load(Cloud().draw(iteration))
        optimiser.param_groups[0]["lr"] = learning_rate(iteration, SETTINGS)
        optimiser.zero_grad()
        value = loss(network, points).value
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
        decay = min(0.5, iteration / (iteration + 9))
        average = [
            decay * mean + (1 - decay) * parameter.detach() for mean, parameter in zip(average, network.parameters())
        ]

    for micro_batch in (None, 3, 1):
        found, table = fit(tmp_path / str(micro_batch), micro_batch=micro_batch)
        for expected, parameter in zip(average, found.parameters()):
            torch.testing.assert_close(parameter.detach(), expected, atol=1e-6, rtol=1e-5)
        np.testing.assert_allclose(table["loss"], np.reshape(losses, (3, 4)).mean(1), rtol=1e-5)
        assert table["iteration"].tolist() == [4, 8, 12]
        assert table["learning_rate"].iloc[1] == learning_rate(8, SETTINGS)
        held_out = np.mean([float(loss(found, Cloud().load([item])).value) for item in Cloud.held_out])
        assert table["validation_loss"].iloc[-1] == pytest.approx(held_out)


@pytest.mark.parametrize("number", loop.STOPPING)
@pytest.mark.parametrize("at", [1, 3, 5, 11])
def test_a_signal_writes_the_running_iteration_and_the_next_start_resumes_to_the_same_bytes(
    tmp_path, caplog, number, at
):
    whole, log = fit(tmp_path / "whole")
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        fit(tmp_path / "stopped", ended_by(number, at))
    assert ended.value.code == 128 + number
    assert f"stopped by {number.name} at iteration {at}; the next start resumes" in caplog.text
    assert signal.getsignal(number) == before
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["c.pt"]
    source = Cloud()
    resumed, resumed_log = fit(tmp_path / "stopped", source=source)
    assert source.drawn == list(range(at + 1, SETTINGS.iterations + 1))
    assert same(whole, resumed)
    assert log.equals(resumed_log)


def test_a_signal_in_a_micro_batch_waits_for_the_whole_iteration(tmp_path):
    whole, _ = fit(tmp_path / "whole", micro_batch=2)
    with pytest.raises(SystemExit):
        fit(tmp_path / "stopped", ended_by(signal.SIGTERM, 6), micro_batch=2)
    state = torch.load(tmp_path / "stopped/c.pt", weights_only=True)
    assert state["iteration"] == 2
    assert same(whole, fit(tmp_path / "stopped", micro_batch=2)[0])


def test_a_crash_goes_back_to_the_last_checkpoint(tmp_path):
    whole, log = fit(tmp_path / "whole")

    def crash(*arguments):
        raise MemoryError

    previous = signal.signal(signal.SIGUSR2, crash)
    try:
        with pytest.raises(MemoryError):
            fit(tmp_path / "crashed", ended_by(signal.SIGUSR2, 9))
    finally:
        signal.signal(signal.SIGUSR2, previous)
    source = Cloud()
    resumed, resumed_log = fit(tmp_path / "crashed", source=source)
    assert source.drawn[0] == 6
    assert same(whole, resumed)
    assert log.equals(resumed_log)


def test_a_finished_training_is_not_done_again(tmp_path):
    whole, log = fit(tmp_path)
    source = Cloud()
    again, again_log = fit(tmp_path, source=source)
    assert source.drawn == []
    assert same(whole, again)
    assert log.equals(again_log)


def test_held_out_items_are_seen_in_evaluation_mode(tmp_path):
    modes = {True: set(), False: set()}

    def watching(network, points):
        modes[torch.is_grad_enabled()].add(network.training)
        return loss(network, points)

    fit(tmp_path, watching, ema=0.0)
    assert modes == {True: {True}, False: {False}}


def test_buffers_of_the_average_are_those_of_the_network(tmp_path):
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(lines.FEATURES), line())
    found, _ = loop.fit(network, loss, Cloud(), SETTINGS, Run(tmp_path / "c.pt"))
    assert found[0].num_batches_tracked == SETTINGS.iterations
    assert torch.equal(found[0].running_mean, network[0].running_mean)
    assert not torch.equal(found[1].weight, network[1].weight)


def test_the_global_generator_and_handlers_are_left_alone(tmp_path):
    torch.manual_seed(3)
    handlers = [signal.getsignal(number) for number in loop.STOPPING]
    expected = torch.get_rng_state()
    fit(tmp_path)
    assert torch.equal(torch.get_rng_state(), expected)
    assert [signal.getsignal(number) for number in loop.STOPPING] == handlers


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    def broken(network, points):
        found = loss(network, points)
        return Loss(found.value * math.nan, found.weight)

    with pytest.raises(FloatingPointError, match="iteration 1"):
        fit(tmp_path, broken)
    assert not (tmp_path / "c.pt").exists()


def test_a_batch_is_shared_evenly_or_not_at_all(tmp_path):
    with pytest.raises(UsageError, match="a batch of 8 cannot be shared evenly by 3 processes"):
        fit(tmp_path, run=Run(tmp_path / "c.pt", devices=3))


def test_loading_ahead_keeps_the_order():
    started = []

    def task(index):
        started.append(index)
        time.sleep(0.02 * (index % 3))
        return index

    tasks = ((lambda index=index: task(index)) for index in range(20))
    results = loop._ahead(tasks, 4)
    assert next(results) == 0
    assert len(started) < 10
    assert list(results) == list(range(1, 20))
    assert list(loop._ahead(iter([]), 4)) == []


def test_curves_go_on_in_one_file_that_names_no_process(tmp_path):
    folder = tmp_path / "curves"
    with pytest.raises(SystemExit):
        fit(tmp_path, ended_by(signal.SIGTERM, 6), run=Run(tmp_path / "c.pt", folder))
    _, table = fit(tmp_path, run=Run(tmp_path / "c.pt", folder))
    (file,) = folder.iterdir()
    assert file.name == "events.tfevents"
    values = [
        (event.step, value.tag, value.tensor.float_val[0])
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]
    for name in ("loss", "absolute", "validation_loss", "learning_rate"):
        found = pd.Series({step: number for step, tag, number in values if tag == name})
        assert found.index.tolist() == [4, 8, 12]
        np.testing.assert_allclose(found, table[name], rtol=1e-6)


def test_bfloat16_computes_in_bfloat16_and_keeps_weights_in_float32(tmp_path):
    seen = []

    def spying(network, points):
        seen.append((network(points.x).dtype, next(network.parameters()).dtype))
        return loss(network, points)

    exact, _ = fit(tmp_path / "exact")
    rounded, _ = fit(tmp_path / "rounded", spying, precision="bf16")
    assert seen[0] == (torch.bfloat16, torch.float32)
    assert not same(exact, rounded)
    for one, two in zip(exact.parameters(), rounded.parameters()):
        torch.testing.assert_close(one, two, atol=5e-3, rtol=0)
    assert rounded(torch.ones(1, lines.FEATURES)).dtype == torch.float32


def start(folder: Path, *options: str, launcher: tuple[str, ...] = (), output=subprocess.PIPE) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    called = [sys.executable, *launcher, str(SCRIPT), str(folder / "c.pt"), str(folder / "weights.pt"), *options]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(called, env=environment, stderr=output, text=True)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same_and_is_stored_as_any_other(tmp_path):
    called = []
    whole, log = fit(tmp_path / "eager")
    with pytest.MonkeyPatch.context() as patch:
        compiler = torch.compile
        patch.setattr(torch, "compile", lambda method: called.append(method) or compiler(method))
        with pytest.raises(SystemExit):
            fit(tmp_path / "compiled", ended_by(signal.SIGTERM, 5), compile=True)
        compiled, compiled_log = fit(tmp_path / "compiled", compile=True)
    assert len(called) == 2
    assert compiled.state_dict().keys() == whole.state_dict().keys()
    for expected, found in zip(whole.parameters(), compiled.parameters()):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    pd.testing.assert_frame_equal(compiled_log, log, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_and_a_signal_to_one_stops_both(tmp_path):
    """Stopped under Lightning's launcher by a signal to its second process, resumed under torchrun."""
    expected, table = fit(tmp_path / "one")
    folder = tmp_path / "two"
    stopped = start(folder, "--devices", "2", "--signal", "1", "7", str(int(signal.SIGTERM)))
    _, errors = stopped.communicate(timeout=300)
    assert stopped.returncode == 128 + signal.SIGTERM, errors
    assert "stopped by SIGTERM at iteration 7; the next start resumes" in errors
    assert torch.load(folder / "c.pt", weights_only=True)["iteration"] == 7
    assert not (folder / "weights.pt").exists()

    resumed = start(folder, launcher=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"))
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    found = torch.load(folder / "weights.pt", weights_only=True)
    np.testing.assert_allclose(found["loss"], table["loss"], rtol=1e-5)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found["network"][name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_two_processes_train_twice_in_a_row_and_resume_in_the_second_training(tmp_path):
    """Stopped under Lightning's launcher in the second training, resumed under torchrun and again to the end."""
    expected, _ = fit(tmp_path / "one")
    stopped = start(tmp_path, "--devices", "2", "--parts", "2", "--signal", "1", "7", str(int(signal.SIGTERM)))
    _, errors = stopped.communicate(timeout=300)
    assert stopped.returncode == 128 + signal.SIGTERM, errors
    assert torch.load(tmp_path / "c.1.pt", weights_only=True)["iteration"] == SETTINGS.iterations
    assert torch.load(tmp_path / "c.pt", weights_only=True)["iteration"] == 7

    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    resumed = start(tmp_path, "--parts", "2", launcher=launcher)
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found["network"][name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_other(tmp_path, rank):
    # A pipe would stay open, and hide the end of the first, as long as the second lives.
    with (tmp_path / "errors.txt").open("w") as output:
        both = start(tmp_path, "--devices", "2", "--signal", str(rank), "3", str(int(signal.SIGKILL)), output=output)
        assert both.wait(timeout=300) != 0
    other = int((tmp_path / "rank-1.pid").read_text())
    for _ in range(600):
        if not Path(f"/proc/{other}").exists():
            break
        time.sleep(0.1)
    else:
        os.kill(other, signal.SIGKILL)
        pytest.fail("the second process lives on")
    assert not (tmp_path / "weights.pt").exists()


def test_a_run_knows_what_its_networks_took_however_often_it_was_resumed(tmp_path):
    with pytest.raises(SystemExit):
        fit(tmp_path, ended_by(signal.SIGTERM, 6), run=Run(tmp_path / "c.pt"))
    run = Run(tmp_path / "c.pt")
    network, _ = fit(tmp_path, run=run)
    fit(tmp_path, run=replace(run, checkpoint=tmp_path / "second.pt"))  # a family of two networks
    first, second = run.efforts
    assert first == second
    assert first.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert (first.iterations, first.samples) == (SETTINGS.iterations, SETTINGS.iterations * SETTINGS.batch)
    assert first.processes == 1


def test_trials_choose_the_learning_rate_of_the_lowest_validation_loss(tmp_path):
    """Each trial, written out: the same short training from the same weights, without a moving average."""
    trials = TrialSettings(factors=(0.1, 30, 3), share=0.5)
    run = Run(tmp_path / "c.pt")
    found, _ = fit(tmp_path, run=run, trials=trials)
    rates = [1e-4, 3e-2, 3e-3]
    alone = [
        fit(tmp_path, run=Run(tmp_path / f"{rate}.pt"), iterations=6, ema=0.0, learning_rate=rate)[1]["validation_loss"]
        for rate in rates
    ]
    ended = [losses.iloc[-1] for losses in alone]
    best = rates[int(np.argmin(ended))]
    assert best == 3e-2  # neither the first nor the rate that is written
    assert [trial.learning_rate for trial in run.trials] == pytest.approx(rates)
    assert [trial.validation_loss for trial in run.trials] == pytest.approx(ended)
    assert [trial.chosen for trial in run.trials] == [rate == best for rate in rates]
    assert len(run.efforts) == 1
    assert same(found, fit(tmp_path, run=Run(tmp_path / "best.pt"), learning_rate=best)[0])
    run.clear()
    assert not list(tmp_path.glob("c.*"))


def test_a_stopped_trial_resumes_to_the_same_choice(tmp_path):
    trials = TrialSettings(factors=(0.1, 30), share=0.5)
    whole, kept = Run(tmp_path / "whole.pt"), Run(tmp_path / "kept.pt")
    found, _ = fit(tmp_path, run=whole, trials=trials)
    with pytest.raises(SystemExit):
        fit(tmp_path, ended_by(signal.SIGTERM, 8), run=kept, trials=trials)  # in the second trial
    again, _ = fit(tmp_path, run=kept, trials=trials)
    assert same(found, again)
    assert kept.trials == whole.trials


def test_a_trial_that_diverges_is_not_chosen(tmp_path):
    def loss_of_small_weights(network, points):
        large = float(network.weight.detach().abs().max()) > 100
        found = loss(network, points)
        return replace(found, value=found.value * math.nan) if large else found

    run = Run(tmp_path / "c.pt")
    fit(tmp_path, loss_of_small_weights, run=run, trials=TrialSettings(factors=(1, 1e6)))
    assert [trial.chosen for trial in run.trials] == [True, False]
    assert run.trials[1].validation_loss is None


def test_trials_without_validation_subjects_are_refused(tmp_path):
    nobody = Cloud()
    nobody.held_out = ()
    with pytest.raises(UsageError, match="training: trials need validation subjects"):
        fit(tmp_path, source=nobody, trials=TrialSettings())
