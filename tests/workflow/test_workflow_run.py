"""The smallest run of the whole workflow, for real."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import ENVIRONMENT, FEWER, REPOSITORY, TINY, fingerprints, snakemake
from test_workflow_dag import jobs

from cof.artefacts.contents import HASHES, read_learnt
from unseen import BENCH

pytestmark = pytest.mark.slow

MODELS = ("cof", "random", "static", "mean_motion", "oracle")


def test_the_chain_reaches_its_report(finished: Path) -> None:
    results = finished / "results/tiny"
    assert (results / "report/index.html").stat().st_size > 10_000
    table = pd.read_csv(results / "tables/table1.csv")
    assert set(table["model"]) == set(MODELS)
    subjects = pd.read_parquet(results / "cohort/subjects.parquet")
    held_out = set(subjects.loc[subjects["split"] == "test", "subject"])
    assert len(held_out) == 2
    for model in MODELS:
        metrics = pd.concat(pd.read_parquet(path) for path in (results / "metrics" / model).glob("*.parquet"))
        assert set(metrics["subject"]) <= held_out
        assert {"ssim", "psnr", "m_corr", "dice", "ef_pct"} <= set(metrics["metric"])


def test_no_training_subject_is_generated(finished: Path) -> None:
    results = finished / "results/tiny"
    subjects = pd.read_parquet(results / "cohort/subjects.parquet").set_index("subject")["split"]
    made = {path.name.split(".")[0] for path in (results / "twins").rglob("*.nii")}
    assert made
    assert set(subjects[sorted(made)]) == {"test"}


def test_networks_record_the_hashes_of_training_subjects_alone(finished: Path) -> None:
    results = finished / "results/tiny"
    hashes = pd.read_parquet(results / "hashes")
    training = set(pd.read_parquet(results / "cohort/subjects.parquet").query("split == 'train'")["subject"])
    theirs = hashes[hashes["subject"].isin(training)]
    known = set(theirs[["ecg", "anchor"]].to_numpy().ravel())
    learnt = {name: read_learnt(results / name) for name in ("labeller", "registrations/toppr", "models/cof")}
    assert all(found and found <= known for found in learnt.values())
    assert learnt["registrations/toppr"] >= set(theirs["anchor"]) - {""}
    assert read_learnt(results / "models/static") == frozenset()


def test_a_borrowed_network_that_has_learnt_from_a_held_out_subject_ends_the_run(tmp_path: Path) -> None:
    """The subject is known by its ECG; its batch is not labelled, and the subject's name is in a table only."""
    own = {"results": "results/own", "trained": "elsewhere", "phantom": {"train": 0, "validation": 0, "test": 2}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    for record in ("labeller/labeller.json", "registrations/toppr/settings.json", "models/cof/settings.json"):
        copied = tmp_path / "elsewhere" / record
        copied.parent.mkdir(parents=True)
        copied.write_bytes((BENCH / record).read_bytes())
        copied.with_name(HASHES).write_text("")
    hashed = "results/own/hashes/b000.parquet", "results/own/hashes/b001.parquet"
    snakemake(tmp_path, "--cores", "2", *hashed, more=tmp_path / "own.yaml")
    found = pd.concat(pd.read_parquet(tmp_path / path) for path in hashed).set_index("subject")
    (tmp_path / "elsewhere/models/cof" / HASHES).write_text(found.loc["sub-0002-v2", "ecg"] + "\n")
    labels = "results/own/labels/b000", "results/own/labels/b001"
    done = snakemake(tmp_path, "--cores", "2", *labels, more=tmp_path / "own.yaml", check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(r"1 of \d held-out subjects of this batch are among those that borrowed networks", said)
    assert "(results/own/models/cof from 1)" in said
    (listed,) = (tmp_path / "results/own/logs/overlap").glob("*.parquet")
    assert not (tmp_path / "results/own/labels" / listed.stem).exists()
    assert list(pd.read_parquet(listed)["subject"]) == ["sub-0002-v2"]


def test_the_key_is_protected(finished: Path) -> None:
    assert (finished / "results/tiny/cohort/key.parquet").stat().st_mode & 0o777 == 0o600


def test_exclusions_are_always_written(finished: Path) -> None:
    results = finished / "results/tiny/exclusions"
    for stage in ("ecg", "beats", "cine", "labels", "grid"):
        tables = [pd.read_parquet(path) for path in sorted((results / stage).glob("*.parquet"))]
        assert len(tables) == 2
        assert all(list(table.columns) == ["subject", "stage", "reason", "message"] for table in tables)


def test_running_again_changes_nothing(continued: Path) -> None:
    before = fingerprints(continued / "results/tiny")
    done = snakemake(continued, "--cores", "2", "all", more=FEWER)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert fingerprints(continued / "results/tiny") == before


def test_touching_one_model_reruns_only_that_model(finished: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(TINY.read_text())
    config["models"]["cof"]["iterations"] += 1
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(config))
    done = snakemake(finished, "-n", "all", config=changed, more=FEWER)
    outputs = " ".join(line for line in done.stdout.splitlines() if line.strip().startswith("output: "))
    assert set(re.findall(r"tiny/(?:models|twins|metrics)/(\w+)", outputs)) == {"cof"}
    assert not re.search(r"tiny/(?:registrations|fields|labeller|labels|grid|cine|beats|ecg|phantom)/?", outputs)


def test_a_killed_training_resumes_to_the_same_weights(finished: Path, tmp_path: Path) -> None:
    results = finished / "results/tiny"
    settings = json.loads((results / "config.json").read_text())["models"]["cof"]
    settings |= {"iterations": 60, "checkpoint_every": 10}

    def command(name: str) -> list[str]:
        stages = ("beats", "grid", "labels")
        listed = [*(f"--{stage}={results / stage}" for stage in stages), f"--fields={results / 'fields/toppr'}"]
        return [
            *(sys.executable, "-m", "cof", "train", f"--subjects={results / 'cohort/subjects.parquet'}", *listed),
            *(f"--out={tmp_path / name}", f"--work={tmp_path / name}-work", f"--settings={json.dumps(settings)}"),
        ]

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), check=True, env=environment, capture_output=True)
    process = subprocess.Popen(command("killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = tmp_path / "killed-work"
    deadline = time.monotonic() + 300
    while not any(work.glob("*.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    done = subprocess.run(command("killed"), check=True, env=environment, capture_output=True, text=True)
    assert "resum" in done.stderr.lower()
    weights = "weights.safetensors"
    assert (tmp_path / "killed" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_one_subject_runs_through_the_trained_models(continued: Path) -> None:
    before = fingerprints(continued / "results/tiny/models")
    snakemake(continued, "--cores", "2", "--config", "subjects=[sub-0009]", "--", "all", more=FEWER)
    made = sorted((continued / "results/tiny/twins/cof").glob("only-*/sub-0009-v2.nii"))
    assert len(made) == 1
    assert fingerprints(continued / "results/tiny/models") == before


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("tables/costs.py", {"table", "cost", "report"}),
        ("metrics/overlap.py", {"evaluate", "table", "figure", "report"}),
        ("viewer/cines.py", {"figure", "report", "twins_export"}),
    ],
)
def test_an_edit_of_a_module_runs_what_imports_it_again(
    finished: Path, tmp_path: Path, module: str, again: set[str]
) -> None:
    """Rules whose verb imports the module, by Snakemake itself; a dry run, in a copy of the code."""
    for name in ("src", "workflow"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / name, tmp_path / "code" / name, ignore=ignored)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / "code" / name)
    edited = tmp_path / "code/src/cof" / module
    edited.write_text(edited.read_text() + "\n# edited\n")
    called = [sys.executable, "-m", "snakemake", "--snakefile", str(tmp_path / "code/Snakefile"), "-n", "all"]
    called += ["--directory", str(finished), "--configfile", str(TINY), str(FEWER), "--rerun-triggers", "params"]
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path / "code/src")}
    done = subprocess.run(called, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert jobs(done.stdout).keys() - {"all"} == again
