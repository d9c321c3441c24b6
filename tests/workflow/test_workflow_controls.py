"""The controls: by name in the graph, and a few of them for real at the smallest scale."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import FEWER, REPOSITORY, TINY, snakemake
from test_workflow_dag import jobs

from cof import config
from cof.artefacts.origin import Origin
from cof.config.flow import CofSettings

SCALES = REPOSITORY / "workflow/config"


def merged(*names: str) -> config.Config:
    """Scales over the defaults of config.yaml, as Snakemake merges them."""
    return config.load(REPOSITORY / "config.yaml", *(SCALES / name for name in names))


def test_a_control_differs_from_cof_in_nothing_but_what_its_name_says() -> None:
    models = merged("bench.yaml", "controls.yaml").models
    cof = models["cof"]
    changes = {
        "cof_anchor_only": {"field": {"ecg": "none"}},
        "cof_anchor_only_1": {"field": {"ecg": "none"}, "seed": 1},
        "cof_anchor_only_2": {"field": {"ecg": "none"}, "seed": 2},
        "cof_rate": {"field": {"ecg": "rate"}},
        "cof_features": {"field": {"ecg": "features"}},
        "cof_1": {"seed": 1},
        "cof_2": {"seed": 2},
        "cof_trained_shuffled": {"shuffled_ecg": True},
    }
    assert isinstance(cof, CofSettings)
    assert {name for name, model in models.items() if model.family == "cof"} == {"cof", *changes}
    for name, change in changes.items():
        expected = cof.model_copy(update=change | {"field": cof.field.model_copy(update=change.get("field", {}))})
        assert models[name] == expected, name


@pytest.mark.slow
def test_further_cohorts_share_no_participant_and_train_nothing(tmp_path: Path) -> None:
    seen: set[int] = set()
    for names in ((), ("further.yaml",), ("further_enriched.yaml",)):
        phantom = merged("bench.yaml", "controls.yaml", *names).phantom
        members = phantom.train + phantom.validation + phantom.test
        numbers = set(range(phantom.first, phantom.first + members))
        assert not seen & numbers
        seen |= numbers

    scales = [str(SCALES / name) for name in ("controls.yaml", "further.yaml")]
    asked = ["--configfile", str(SCALES / "bench.yaml"), *scales, "--", "controls"]
    refused = snakemake(tmp_path, "-n", *asked, check=False)
    assert "results/bench holds no labeller, registration or model" in refused.stdout + refused.stderr
    trained = tmp_path / "results/bench"
    (trained / "models/cof").mkdir(parents=True)
    refused = snakemake(tmp_path, "-n", *asked, check=False)
    assert (
        "no training subjects, and results/bench lacks labeller, registrations/toppr" in refused.stdout + refused.stderr
    )
    for name in merged("bench.yaml", "controls.yaml").models:
        (trained / "models" / name).mkdir(exist_ok=True)
    (trained / "labeller").mkdir()
    (trained / "registrations/toppr").mkdir(parents=True)
    counts = jobs(snakemake(tmp_path, "-n", *asked).stdout)
    assert counts["train"] == 2  # the two exchanges of ECGs among these subjects
    assert not {"labeller", "toppr"} & counts.keys()


@pytest.mark.slow
def test_what_another_run_has_not_trained_is_trained_here(tmp_path: Path) -> None:
    for name in ("labeller", "registrations/toppr", "models/cof"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
    settings = merged("bench.yaml").models["cof"].model_dump(mode="json") | {"iterations": 7}
    (tmp_path / "elsewhere/models/cof/settings.json").write_text(json.dumps({"settings": settings}))
    (tmp_path / "own.yaml").write_text("{ results: results/own, trained: elsewhere }")
    files = [str(SCALES / "bench.yaml"), str(tmp_path / "own.yaml")]
    run = snakemake(tmp_path, "-n", "--configfile", *files, "--", "table1")
    counts = jobs(run.stdout)
    assert (run.stdout + run.stderr).count("trained: ") == 2
    assert "trained: models/cof as trained there, with iterations 7 (here 600)" in run.stdout + run.stderr
    assert "whether labeller, registrations/toppr, models/cof learnt from held-out subjects of this" in run.stdout
    (tmp_path / "elsewhere/registrations/toppr/settings.json").write_text("{}")
    refused = snakemake(tmp_path, "-n", "--configfile", *files, "--", "table1", check=False)
    assert "trained: elsewhere/registrations/toppr/settings.json does not hold the" in refused.stdout + refused.stderr
    assert not {"labeller", "toppr"} & counts.keys()
    assert counts["overlap"] == counts["hashes"] == counts["label"]
    assert (counts["borrow"], counts["train"]) == (3, 4)  # random, static, mean motion and oracle


@pytest.mark.slow
def test_a_cohort_that_trains_no_network_is_tested_and_says_so(tmp_path: Path) -> None:
    rows = [f"p{number},1,e.xml,c.nii,{'a.nii' if number < 2 else ''}" for number in range(9)]
    (tmp_path / "subjects.csv").write_text("\n".join(["subject,visit,ecg,cine,annotation", *rows]))
    own = {"trained": str(REPOSITORY / "weights/bench"), "cohort": {"sheet": "subjects.csv"}}
    said = {}
    dry = tmp_path / "dry.yaml"
    dry.write_text(yaml.safe_dump(own | {"results": "dry"}))
    planned = snakemake(tmp_path, "-n", "--", "all", config=dry)
    assert "no training subjects: mean_motion, random left out of the tables" in planned.stdout + planned.stderr
    counts = jobs(planned.stdout)
    assert (counts["borrow"], counts["train"]) == (3, 2)  # static and the oracle, which learn nothing
    assert counts["twins"] == 3 * counts["ecg"]
    for name, cohort in (("own", {}), ("drawn", {"split": {"train": 1, "test": 0}})):
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(own | {"results": name, "cohort": own["cohort"] | cohort}))
        target = f"{name}/cohort/subjects.parquet"
        done = snakemake(tmp_path, "--cores", "1", "--", target, config=tmp_path / "own.yaml")
        said[name] = done.stdout + done.stderr
        assert "To choose, add a column split" in said[name]
        assert (tmp_path / name / "logs/cohort.log").read_text() in done.stdout
        assert set(pd.read_parquet(tmp_path / target)["split"]) == {"test" if name == "own" else "train"}
    assert "no network is trained here: subjects whose sheet names no split go into" in said["own"]
    assert (
        "9 subjects of 9 participants: 0 train, 0 validation, 9 test; 9 drawn by participant (100% test)" in said["own"]
    )
    assert "no network is trained here" not in said["drawn"]


@pytest.mark.slow
def test_a_labeller_alone_can_be_borrowed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/labeller").mkdir(parents=True)
    (tmp_path / "own.yaml").write_text("{ results: results/own, trained: elsewhere }")
    files = [str(SCALES / "bench.yaml"), str(tmp_path / "own.yaml")]
    counts = jobs(snakemake(tmp_path, "-n", "--configfile", *files, "--", "table1").stdout)
    assert (counts["borrow"], counts["toppr"], counts["train"]) == (1, 1, 5)
    assert "labeller" not in counts


@pytest.mark.slow
def test_a_few_controls_for_real(continued: Path, tmp_path: Path) -> None:
    """On the smallest run, and then its models on a further cohort of other participants."""
    names = yaml.safe_load((SCALES / "controls.yaml").read_text())
    some = ("cof_shuffled_in_strata", "true_motion")
    models = {name: names["models"][name] for name in some}
    table = names["tables"]["controls"] | {
        "models": {name: name for name in ("cof", "static", *some)}, "repeats": {},
    }  # fmt: skip
    own = tmp_path / "controls.yaml"
    own.write_text(yaml.safe_dump({"models": models, "tables": {"controls": table}}))
    results = continued / "results/tiny"
    snakemake(continued, "--configfile", str(TINY), str(FEWER), str(own), "--cores", "2", "--", "controls")
    long = pd.read_csv(results / "tables/controls.csv").set_index(["model", "metric"])
    assert long.loc[("true_motion", "epe_true_mm"), "mean"] < 0.02
    assert long.loc[("static", "epe_true_mm"), "mean"] > 0.5
    subjects = pd.read_parquet(results / "cohort/subjects.parquet").set_index("subject")["split"]
    donors = json.loads((results / "models/cof_shuffled_in_strata/donors.json").read_text())
    assert donors
    assert all(subjects[[name, donor]].eq("test").all() and name != donor for name, donor in donors.items())
    sidecars = list((results / "twins/cof_shuffled_in_strata").rglob("*-v2.json"))
    said = {path.stem: json.loads(path.read_text())["measures"]["ecg_of"] for path in sidecars}
    assert said.items() <= donors.items()

    further = tmp_path / "further.yaml"
    phantom = {"first": 101, "train": 0, "validation": 0, "test": 2, "arm": "enriched"}
    further.write_text(yaml.safe_dump({"results": "results/further", "trained": "results/tiny", "phantom": phantom}))
    asked = [f"results/further/metrics/{name}/b001.parquet" for name in ("cof", "cof_shuffled_in_strata")]
    files = [str(file) for file in (TINY, FEWER, own, further)]
    done = snakemake(continued, "--configfile", *files, "--cores", "2", "--", *asked)
    assert not re.search(r"rule (labeller|toppr):", done.stdout + done.stderr)
    for path in asked:
        assert set(pd.read_parquet(continued / path)["subject"]) == {"sub-0101-v2", "sub-0102-v2"}
    weights = "models/cof/weights.safetensors"
    assert (continued / "results/further" / weights).read_bytes() == (results / weights).read_bytes()
    labeller = Origin.read(continued / "results/further/labeller")
    assert labeller is not None
    assert (labeller.where, labeller.kind) == ("results/tiny", "simulated")
