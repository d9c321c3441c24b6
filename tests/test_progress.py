"""Long work is never silent: a line after some seconds, with rate and time left, and what it took in the end."""

import io
import logging
import time

import pytest

from cof import progress
from cof.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Lines as often as a test can wait for."""
    monkeypatch.setattr(progress, "SILENT_S", 0.05)
    monkeypatch.setattr(progress, "_EVERY_S", 0.05)
    caplog.set_level(logging.INFO, logger="cof.progress")
    return caplog


def test_what_is_short_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="cof.progress")
    assert list(progress.progress(range(3), "counting")) == [0, 1, 2]
    assert caplog.messages == []


def test_lines_tell_rate_and_time_left(hasty: pytest.LogCaptureFixture) -> None:
    for _ in progress.progress(iter(range(4)), "labels", "subject", total=4):
        time.sleep(0.1)
    lines = hasty.messages
    assert any(line.startswith("labels: 1 of 4 subjects, ") and "per second, about " in line for line in lines)
    assert all(line.endswith("left") for line in lines if ", about " in line)
    assert lines[-1].startswith("labels: 4 of 4 subjects in 0.")


def test_one_long_step_is_no_silence(hasty: pytest.LogCaptureFixture) -> None:
    with Progress("planning", None):
        time.sleep(0.3)
    assert len(hasty.messages) >= 3
    assert hasty.messages[0] == "planning: 0.1 s so far"


def test_a_failure_is_not_said_to_be_done(hasty: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), Progress("work", 2):  # noqa: PT012
        time.sleep(0.15)
        raise ZeroDivisionError
    assert not [line for line in hasty.messages if " in " in line]
    said = len(hasty.messages)
    time.sleep(0.15)
    assert len(hasty.messages) == said


def test_steps_of_before_do_not_count_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Progress("TOPPR", 100, "iteration", done=90)
    monkeypatch.setattr(Progress, "seconds", 50.0)
    shown.step(5, noted="loss 0.125")
    assert shown.line() == "TOPPR: 95 of 100 iterations, 10 s each, about 50 s left, loss 0.125"
    shown.step(0.5)
    assert shown.line().startswith("TOPPR: 95.5 of 100 iterations")
    shown.reach(96)
    assert shown.ended() == "TOPPR: 96 of 100 iterations, loss 0.125 in 50 s"


def test_uneven_steps_tell_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Progress("twin", 6, even=False)
    monkeypatch.setattr(Progress, "seconds", 20.0)
    shown.step(3)
    assert shown.line() == "twin: 3 of 6 steps, 20 s so far"


def test_lines_become_rare_with_time() -> None:
    assert progress._SHARE * 10 * 3600 > progress._AT_MOST_S >= 600 > progress._EVERY_S


def test_a_terminal_has_a_bar_and_no_lines(hasty: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("labels", 2, "subject") as shown:
        time.sleep(0.15)
        shown.step(2, noted="Dice .9")
    assert "labels" in terminal.getvalue()
    assert "2.0/2" in terminal.getvalue() or "2/2" in terminal.getvalue()
    assert hasty.messages == []


def test_other_processes_of_a_training_are_silent(hasty: pytest.LogCaptureFixture) -> None:
    with Progress("TOPPR", 2, shown=False) as shown:
        time.sleep(0.15)
        shown.step()
    assert hasty.messages == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7260, "2 h 1 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_step_says_once_how_long_it_took(hasty: pytest.LogCaptureFixture) -> None:
    with progress.step("labels of the scan"):
        for _ in progress.progress(iter(range(2)), "labels", "subject", total=2):
            time.sleep(0.1)
    assert hasty.messages[-1] == "labels of the scan: 0.2 s"
    assert not any(" in 0." in line for line in hasty.messages)


def test_a_step_that_fails_says_nothing(hasty: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="broken"), progress.step("reading"):
        raise ValueError("broken")
    assert hasty.messages == []
