"""The workflow's graph, without running it."""

import json
import re
from pathlib import Path

import pytest
import yaml
from running import REPOSITORY, TINY, snakemake

from cof.config.figures import FIGURES

pytestmark = pytest.mark.slow  # Snakemake resolves the workflow for every test


def jobs(text: str) -> dict[str, int]:
    """Job counts of a dry run."""
    table = text.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}


def asked(text: str) -> dict[str, dict[str, str]]:
    """The resources of a job of each rule in a dry run."""
    found = {}
    for block in re.split(r"\n\s*(?=(?:local)?rule )", text):
        name = re.match(r"(?:local)?rule (\w+):", block)
        resources = re.search(r"resources: (.*)", block)
        if name and resources:
            found[name[1]] = dict(part.split("=", 1) for part in resources[1].split(", "))
    return found


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a dry run of everything says, with its commands."""
    return snakemake(tmp_path_factory.mktemp("planned"), "-n", "-p", "all").stdout


def test_slurm_profile_resolves_from_the_repository_and_gpu_rules_ask_for_an_a100(tmp_path: Path) -> None:
    resources = asked(snakemake(tmp_path, "--profile", str(REPOSITORY / "slurm"), "-n", "all").stdout)
    gpu = {name for name, has in resources.items() if (has.get("gpu"), has.get("gpu_model")) == ("1", "a100")}
    assert gpu == {"labeller", "label", "toppr", "fields", "train", "twins", "features", "real_features"}
    assert {"ecg", "beats", "cine", "grid", "evaluate", "table", "report"} <= resources.keys()


@pytest.mark.parametrize(("batches", "minutes"), [(1, "130"), (4, "55")])
def test_limits_grow_with_the_subjects_of_a_batch(tmp_path: Path, batches: int, minutes: str) -> None:
    (tmp_path / "subjects.csv").write_text("participant,visit\n" + "".join(f"sub-{n:04d},2\n" for n in range(1, 101)))
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(yaml.safe_load(TINY.read_text()) | {"cohort": {"sheet": "subjects.csv", "batches": batches}})
    )
    resources = asked(snakemake(tmp_path, "-n", "results/tiny/labels/b000", config=config).stdout)
    assert resources["label"]["runtime"] == minutes


def test_every_step_of_the_design_has_its_rule(planned: str) -> None:
    counts = jobs(planned)
    assert {
        "phantom",
        "ecg",
        "beats",
        "cine",
        "labeller",
        "label",
        "quality",
        "grid",
        "toppr",
        "fields",
    } <= counts.keys()
    assert counts["train"] == 5
    assert counts["evaluate"] == counts["twins"] == counts["features"] == 5 * counts["ecg"]
    assert counts["real_features"] == counts["ecg"]


def test_targets_that_people_type(tmp_path: Path) -> None:
    """Snakemake refuses all if it does not know one."""
    done = snakemake(tmp_path, "-n", "table1", "results/tiny/cine/b000", "results/tiny/beats/b001.parquet", "report")
    assert jobs(done.stdout)["report"] == 1


def test_every_figure_is_one_command_of_the_drawn_model_and_the_population_mean(tmp_path: Path, planned: str) -> None:
    done = snakemake(tmp_path, "-n", "-p", "figures")
    counts = jobs(done.stdout)
    assert counts["figure"] == len(FIGURES) == jobs(planned)["figure"]
    assert counts["train"] == 2  # COF, and the population mean that some figures draw beside it
    assert counts.keys().isdisjoint({"table", "report", "features"})
    commands = re.findall(r"cof figure (\w+) .*--settings '(\{.*?\})'", done.stdout)
    assert sorted(name for name, _ in commands) == sorted(FIGURES)
    assert {json.loads(settings)["model"] for _, settings in commands} == {"cof"}


def test_rows_that_are_laid_over_come_after_those_of_the_configuration(tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(
        "tables: { table1: { models: { again: Another static anchor } } }\nmodels: { again: { family: static } }"
    )
    done = snakemake(tmp_path, "-n", "-p", "results/tiny/tables/table1.csv", config=TINY, more=more)
    rows = re.search(r'cof table .*"models": (\{.*?\})', done.stdout)
    assert rows
    assert list(json.loads(rows[1])) == ["cof", "random", "static", "mean_motion", "oracle", "again"]


def test_table_three_trains_every_variant_once(tmp_path: Path) -> None:
    variants = REPOSITORY / "workflow/config/table3.yaml"
    done = snakemake(tmp_path, "-n", "table3", config=TINY, more=variants)
    counts = jobs(done.stdout)
    assert (counts["toppr"], counts["train"], counts["table"]) == (6, 10, 1)


def test_anchors_train_two_models_and_apply_them_at_other_phases(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "anchors", config=TINY, more=REPOSITORY / "workflow/config/anchors.yaml")
    counts = jobs(done.stdout)
    assert (counts["toppr"], counts["train"], counts["table"]) == (1, 10, 1)
    assert counts["twins"] == 10 * counts["ecg"]
    trained = [name for name in ("cof", "cof_any") if f"results/tiny/models/{name}\n" in done.stdout]
    assert len(trained) == 2


def test_intervals_are_calibrated_on_validation_subjects_before_coverage_is_measured(tmp_path: Path) -> None:
    more = REPOSITORY / "workflow/config/uncertainty.yaml"
    done = snakemake(tmp_path, "-n", "-p", "uncertainty", config=TINY, more=more)
    counts = jobs(done.stdout)
    assert (counts["train"], counts["intervals"], counts["table"]) == (4, 2, 1)
    assert counts["calibration_twins"] == counts["calibration_metrics"] == counts["twins"] == 2 * counts["ecg"]
    commands = [line for line in done.stdout.splitlines() if " cof " in line]
    validation = [line for line in commands if "cof twins" in line and "--split validation" in line]
    assert len(validation) == counts["calibration_twins"]
    assert all("--out results/tiny/calibration/twins/" in line for line in validation)
    told: dict[bool, set[str]] = {True: set(), False: set()}
    for line in commands:
        if "cof evaluate" in line:
            told["--intervals" in line].add(line.split("--out results/tiny/")[1].split("/")[0])
    assert told == {True: {"metrics"}, False: {"calibration"}}
    ensembles = [line for line in commands if "cof train" in line and "--member" in line]
    assert [line.count("--member ") for line in ensembles] == [3]


def test_chosen_subjects_are_a_batch_of_their_own(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "--config", "subjects=[sub-0001]", "--", "all")
    assert re.search(r"twins/cof/only-[0-9a-f]{8}", done.stdout)
    assert "report" not in jobs(done.stdout)


def test_a_failed_step_says_why_where_the_command_was_typed(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_text("subject,visit,ecg,cine\nsub-0001,2,,\n")
    own = tmp_path / "own.yaml"
    own.write_text("cohort: { sheet: subjects.csv }")
    done = snakemake(tmp_path, "--cores", "1", "results/tiny/cohort/subjects.parquet", more=own, check=False)
    assert "row 2, column 'cine': the cell is empty, and there is no anchor either" in done.stdout + done.stderr


def test_a_misspelt_key_is_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "config.yaml"
    broken.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | {"gird": {"frames": 10}}))
    done = snakemake(tmp_path, "-n", "all", config=broken, check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    lines = [line for line in said.splitlines() if "unknown key" in line]
    assert len(lines) == 1
    assert "'gird'" in lines[0]
    assert "did you mean 'grid'" in lines[0]
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_thousand_batches_have_names_and_commands_that_a_shell_takes(tmp_path: Path) -> None:
    config = yaml.safe_load(TINY.read_text()) | {"cohort": {"batches": 1001}}
    many = tmp_path / "config.yaml"
    many.write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, "-n", "-p", "results/tiny/labeller", config=many)
    assert jobs(done.stdout)["cine"] == 1001
    assert "results/tiny/cine/b1000" in done.stdout
    commands = [line for line in done.stdout.splitlines() if "cof labeller" in line]
    assert commands
    assert max(map(len, commands)) < 2_000


SHEET = "subject,visit,ecg,cine\nanna,2,a.xml,a.zip\nbert,2,b.xml,b.zip\nbert,3,c.xml,c.zip\n"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["sub-9999"], "no subject or participant 'sub-9999'; did you mean 'sub-0009'"),
        (["sub-0001-v3"], "no subject or participant 'sub-0001-v3'; did you mean 'sub-0001-v2'"),
    ],
)
def test_an_unknown_subject_is_refused_by_a_dry_run(tmp_path: Path, names: list[str], said: str) -> None:
    done = snakemake(tmp_path, "-n", "--config", f"subjects=[{','.join(names)}]", "--", "all", check=False)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_subjects_of_a_sheet_are_known_before_there_is_a_cohort(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_text(SHEET)
    more = tmp_path / "mine.yaml"
    more.write_text("cohort: { sheet: subjects.csv }\n")
    for names, refused in (("anna,bert-v3", ""), ("anna,bert-v4", "'bert-v4'; did you mean 'bert-v3'")):
        done = snakemake(
            tmp_path, "-n", "--config", f"subjects=[{names}]", "--", "results/tiny/cohort/subjects.parquet", more=more,
            check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == bool(refused)
        assert refused in done.stdout + done.stderr


def test_every_command_that_writes_says_overwrite(planned: str) -> None:
    commands = [line for line in planned.splitlines() if re.search(r"\bcof [a-z-]+ .*--out ", line)]
    assert len(commands) > 30
    assert all(" --overwrite " in line for line in commands)
