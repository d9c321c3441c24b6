"""Old names are understood in this release, and say the new one."""

from contextlib import suppress
from pathlib import Path

import pytest

from cof import config, renamed
from cof.cli import main
from cof.errors import UsageError

CONFIG = Path(__file__).parents[1] / "workflow/config"


@pytest.mark.parametrize(("old", "new"), renamed.VERBS.items())
def test_an_old_verb_does_what_the_new_one_does_and_names_it(
    old: str, new: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    helped = []
    for verb in (new, old):
        with pytest.raises(SystemExit) as ended:
            main(["-v", verb, "--help"])
        assert ended.value.code == 0
        helped.append(capsys.readouterr().out)
    assert helped[0] == helped[1]
    assert f" {new} [OPTIONS]" in helped[1]
    assert [record.message for record in caplog.records] == [
        f"cof {old} is now called cof {new}; the next release removes the old name"
    ]


def test_no_other_word_of_a_command_is_changed() -> None:
    assert renamed.with_new_names(["lookup", "who", "--key", "fairness"]) == ["lookup", "who", "--key", "fairness"]
    assert renamed.with_new_names(["-v", "who", "who"]) == ["-v", "lookup", "who"]
    assert renamed.with_new_names(["--version"]) == ["--version"]
    assert renamed.with_new_names([]) == []


@pytest.mark.parametrize(("old", "new"), renamed.FILES.items())
def test_an_old_file_is_the_new_one_and_names_it(
    old: str, new: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (CONFIG / old).read_bytes() == (CONFIG / new).read_bytes()
    assert renamed.remarks([CONFIG / old, CONFIG / new]) == [renamed.remark(str(CONFIG / old), str(CONFIG / new))]
    own = tmp_path / old  # a user's own file
    own.write_text("models: {}\n")
    assert renamed.remarks([own]) == []
    with suppress(UsageError):  # it is to lay over another one
        config.load(CONFIG / old)
    assert f"is now called {CONFIG / new}" in caplog.text
