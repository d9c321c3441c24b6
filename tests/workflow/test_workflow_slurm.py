"""`snakemake --profile slurm all` on a real SLURM, which tests/slurm starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import REPOSITORY, fingerprints

sys.path.insert(0, str(REPOSITORY / "tests/slurm"))

from cluster import Cluster, Unavailable, gpus, rule, running
from submission import Submission, fresh_copy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

GPU_RULES = {"labeller", "label", "toppr", "fields", "train", "twins", "features", "real_features"}
CPU_JOBS = {"phantom", "ingest", "place", "evaluate", "twins_export", "report"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with running(tmp_path_factory.mktemp("slurm") / "cluster") as started:
            yield started
    except Unavailable as reason:
        if os.environ.get("COF_SLURM_TESTS") == "required":
            raise
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def submission(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submission]:
    """A run of the whole workflow, two of whose trainings are cancelled in the middle."""
    submission = Submission(fresh_copy(tmp_path_factory.mktemp("clone")), cluster)
    try:
        disturbed_run(submission)
        yield submission
    finally:
        submission.stop()


def disturbed_run(submission: Submission) -> None:
    """Run all; the labeller's training is cancelled once it has left a checkpoint, TOPPR's in its first iterations."""
    run = submission.start("--", "all")
    subprocess.run(["scancel", submission.wait_for_checkpoint()], check=True)
    subprocess.run(["scancel", submission.hold_at_first_step("toppr", "logs/toppr/toppr")], check=True)
    submission.finish(run)


def test_the_command_reaches_the_tables_and_the_report(submission: Submission) -> None:
    assert (submission.results / "tables/table1.csv").is_file()
    assert (submission.results / "report/index.html").is_file()


def test_exactly_the_gpu_rules_asked_for_an_a100(submission: Submission) -> None:
    asked = {(rule(job), gpus(job)) for job in submission.jobs()}
    assert asked == {(name, "gpu:a100:1") for name in GPU_RULES} | {(name, "") for name in CPU_JOBS}


def test_jobs_asked_for_the_time_and_memory_of_profile_and_rules(submission: Submission) -> None:
    asked = {name: submission.jobs(name)[0] for name in ("labeller", "label", "place")}
    assert asked["labeller"]["TimeLimit"] == "1-00:00:00"
    assert "mem=62.50G" in asked["labeller"]["TRES"]  # 64000 MB, as SLURM prints them
    assert asked["label"]["TimeLimit"] == "00:35:00"  # 30 minutes and one for each of a batch's 5 subjects
    assert "mem=16000M" in asked["label"]["TRES"]
    assert asked["place"]["TimeLimit"] == "00:36:00"  # quality, then grid


def test_short_steps_share_jobs(submission: Submission) -> None:
    counts = {name: len(submission.jobs(name)) for name in CPU_JOBS}
    assert counts == {"phantom": 1, "ingest": 2, "place": 2, "evaluate": 2, "twins_export": 1, "report": 1}


def test_a_cancelled_job_came_back_with_more(submission: Submission) -> None:
    for training, log in (("labeller", "logs/labeller.log"), ("toppr", "logs/toppr/toppr.log")):
        first, second = submission.jobs(training)
        assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
        assert "mem=62.50G" in first["TRES"]
        assert "mem=80000M" in second["TRES"]
        assert "resum" in (submission.results / log).read_text().lower()


def test_the_results_are_those_of_an_undisturbed_run_on_one_machine(submission: Submission, finished: Path) -> None:
    assert fingerprints(submission.results) == fingerprints(finished / "results/tiny")


def test_the_gres_form_is_accepted_and_asks_for_an_a100(submission: Submission) -> None:
    profile = submission.copy / "slurm/config.yaml"
    profile.write_text(profile.read_text().replace("gpu: 1\n    gpu_model: a100", 'gres: "gpu:a100:1"'))
    submission.finish(submission.start("--forcerun", "train", "--", "results/tiny/models/random"))
    job = submission.jobs("train")[-1]
    assert (job["JobState"], job["TresPerNode"]) == ("COMPLETED", "gres:gpu:a100:1")


def test_a_training_can_have_several_gpus_and_processes(submission: Submission) -> None:
    # The launcher of docs/how-to/cluster.md, but of a command that shows what each process of a training would be told.
    launcher = "srun --nodes=1 --ntasks-per-node=2 --output=rank_%t printenv SLURM_STEP_NUM_TASKS &&"
    asked = {"gpu": 2, "gpu_model": "a100", "nodes": 1, "tasks_per_node": 2, "mpi": "srun", "launcher": launcher}
    resources = [f"train:{key}={value}" for key, value in asked.items()]
    target = "results/tiny/models/random"
    submission.finish(submission.start("--forcerun", "train", "--set-resources", *resources, "--", target))
    job = submission.jobs("train")[-1]
    assert (job["JobState"], gpus(job)) == ("COMPLETED", "gpu:a100:2")
    assert {path.name: path.read_text() for path in submission.copy.glob("rank_*")} == {
        "rank_0": "2\n",
        "rank_1": "2\n",
    }
