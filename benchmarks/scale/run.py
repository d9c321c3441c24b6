"""Wall time, memory and jobs of the workflow's graph for cohorts of any size, compared with one job per subject.

Run with `--help`; README.md explains the comparison.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
PAPER = REPOSITORY / "workflow/config/paper.yaml"
BATCH = 250
HELD_OUT = 7  # every seventh subject, about the paper's 15 %

# Changes of registration and model for each row of the paper's tables. Each is trained, generates and is evaluated
# separately; only the number of jobs matters here.
REGISTRATIONS: dict[str, dict[str, Any]] = {
    "toppr": {},
    "toppr_no_seg": {"lambda_seg": 0.0},
    "toppr_half_seg": {"lambda_seg": 0.5},
    "toppr_triple_seg": {"lambda_seg": 3.0},
    "toppr_no_max_field": {"max_field": "none"},
}
TABLE_1 = {  # the baselines stand in as variants of the flow: the graph is that of any family
    "cof": {},
    "diffusion": {"seed": 1},
    "echopulse": {"seed": 2},
    "lfdm": {"seed": 3},
    "echodiffusion": {"seed": 4},
    "random": {"family": "random"},
}
TABLE_3 = {
    "no_seg_loss": {"registration": "toppr_no_seg"},
    "no_rea": {"registration": "toppr_no_seg", "field": {"anatomy": False}},
    "no_temporal_ecg": {"registration": "toppr_no_seg", "field": {"ecg": "spatial"}},
    "no_toppr": {"registration": "toppr_no_seg", "heart_weight": 1},
    "no_max_field": {"registration": "toppr_no_max_field"},
    "half_seg": {"registration": "toppr_half_seg"},
    "single_seg": {},
    "triple_seg": {"registration": "toppr_triple_seg"},
}
CONTROLS = {
    "static": {"family": "static"},
    "mean_motion": {"family": "mean_motion"},
    "oracle": {"family": "oracle"},
    "anchor_only": {"field": {"ecg": "none"}},
    **{f"control_{index}": {"heart_weight": index} for index in range(1, 7)},
}


@dataclass(frozen=True)
class Cost:
    """Cost of one dry run: jobs of the graph, wall and CPU seconds, and peak resident memory in MiB."""

    jobs: int
    wall: float
    cpu: float
    memory_mib: float


def configuration(subjects: int) -> dict[str, Any]:
    """Return the paper's configuration with every model of its tables, and one batch per 250 subjects."""
    models = {}
    for name, variant in (TABLE_1 | TABLE_3 | CONTROLS).items():
        models[name] = {"family": "cof"} | {key: value for key, value in variant.items() if key != "seed"}
    tables = {
        "table1": {"models": TABLE_1, "metrics": ["ssim", "psnr", "m_corr", "m_ssim", "fd_imagenet"]},
        "table2": {"models": TABLE_1, "metrics": ["dice_lv", "iou_lv", "dice_rv", "iou_rv", "dice_myo", "iou_myo"]},
        "table3": {"models": TABLE_3, "metrics": ["ssim", "psnr", "m_corr", "m_ssim", "dice_lv", "iou_lv"]},
        "controls": {"models": {"cof": {}} | CONTROLS, "metrics": ["ef_error_pct", "t_es_error_ms", "epe_mm"]},
    }
    rows = {
        name: {**table, "title": name, "models": dict.fromkeys(table["models"], "row")}
        for name, table in tables.items()
    }
    return {
        "results": "results",
        "cohort": {"sheet": "subjects.csv", "batches": max(subjects // BATCH, 1)},
        "registrations": REGISTRATIONS,
        "models": models,
        "tables": rows,
    }


def make_cohort(folder: Path, subjects: int, raw: bool) -> None:
    """Write a sheet of `subjects` rows and, if the graph needs them, empty raw files."""
    rows = ["subject,visit,ecg,cine,split"]
    for index in range(subjects):
        split = "test" if index % HELD_OUT == 0 else "train"
        rows.append(f"s{index:06d},2,ecg/s{index:06d}.xml,cine/s{index:06d}.zip,{split}")
    (folder / "subjects.csv").write_text("\n".join(rows) + "\n")
    if raw:
        for kind, suffix in (("ecg", "xml"), ("cine", "zip")):
            (folder / kind).mkdir()
            for index in range(subjects):
                (folder / kind / f"s{index:06d}.{suffix}").touch()


NAIVE = """
import csv

with open("subjects.csv", newline="") as file:
    SPLIT = {row["subject"]: row["split"] for row in csv.DictReader(file)}
SUBJECTS = list(SPLIT)
TEST = [subject for subject in SUBJECTS if SPLIT[subject] == "test"]
MODELS = config["models"]
REGISTRATIONS = list(config["registrations"])
TABLES = config["tables"]
ONE = REGISTRATIONS[0]

wildcard_constraints:
    subject="s[0-9]+"

rule all:
    input: "report"
rule ecg:
    input: "ecg/{subject}.xml"
    output: "parsed/{subject}.parquet"
    shell: "touch {output}"
rule beats:
    input: "parsed/{subject}.parquet"
    output: "beats/{subject}.parquet"
    shell: "touch {output}"
rule cine:
    input: "cine/{subject}.zip"
    output: "stacks/{subject}.nii"
    shell: "touch {output}"
rule labeller:
    input: expand("stacks/{subject}.nii", subject=SUBJECTS)
    output: "labeller.pth"
    shell: "touch {output}"
rule label:
    input: "stacks/{subject}.nii", "labeller.pth"
    output: "labels/{subject}.nii.gz"
    shell: "touch {output}"
rule quality:
    input: "parsed/{subject}.parquet", "beats/{subject}.parquet", "stacks/{subject}.nii", "labels/{subject}.nii.gz"
    output: "quality/{subject}.parquet"
    shell: "touch {output}"
rule grid:
    input: "stacks/{subject}.nii", "labels/{subject}.nii.gz", "quality/{subject}.parquet"
    output: "grid/{subject}.nii"
    shell: "touch {output}"
rule toppr:
    input: expand("grid/{subject}.nii", subject=SUBJECTS), "labeller.pth"
    output: "registrations/{registration}.pt"
    shell: "touch {output}"
rule register:
    input: "grid/{subject}.nii", "registrations/{registration}.pt"
    output: "fields/{registration}/{subject}.pt"
    shell: "touch {output}"
rule train:
    input:
        expand("beats/{subject}.parquet", subject=SUBJECTS),
        expand("grid/{subject}.nii", subject=SUBJECTS),
        lambda w: expand(f"fields/{MODELS[w.model].get('registration', ONE)}/{{subject}}.pt", subject=SUBJECTS),
    output: "models/{model}.pt"
    shell: "touch {output}"
rule twins:
    input: "beats/{subject}.parquet", "grid/{subject}.nii", "models/{model}.pt", "labeller.pth"
    output: "twins/{model}/{subject}.nii"
    shell: "touch {output}"
rule evaluate:
    input:
        "twins/{model}/{subject}.nii", "labels/{subject}.nii.gz", "grid/{subject}.nii",
        f"fields/{ONE}/{{subject}}.pt",
    output: "metrics/{model}/{subject}.parquet"
    shell: "touch {output}"
rule table:
    input: lambda w: expand("metrics/{model}/{subject}.parquet", model=TABLES[w.table]["models"], subject=TEST)
    output: "tables/{table}.csv"
    shell: "touch {output}"
rule report:
    input: expand("tables/{table}.csv", table=TABLES)
    output: "report"
    shell: "touch {output}"
"""


def dry_run(folder: Path, snakefile: Path, configfiles: list[Path]) -> Cost:
    """Run `snakemake -n` in `folder`, as a user types it, and return its cost."""
    said = folder / "said.txt"
    called = [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(snakefile), "--directory", str(folder)]
    called += ["--configfile", *map(str, configfiles), "--", "all"]
    started = time.perf_counter()
    with said.open("w") as out:
        process = subprocess.Popen(called, stdout=out, stderr=subprocess.STDOUT, cwd=REPOSITORY)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    text = said.read_text()
    if process.returncode:
        raise SystemExit(f"the dry run failed:\n{text[-2000:]}")
    jobs = re.findall(r"^total\s+(\d+)$", text, re.MULTILINE)
    return Cost(int(jobs[-1]), wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measure(subjects: int, naive: bool) -> Cost:
    """Measure the workflow, or the design with one job per stage and subject, for a cohort of one size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_cohort(folder, subjects, raw=naive)
        config = folder / "scale.yaml"
        config.write_text(yaml.safe_dump(configuration(subjects), sort_keys=False))
        if not naive:
            return dry_run(folder, REPOSITORY / "Snakefile", [PAPER, config])
        (folder / "Snakefile").write_text(NAIVE)
        return dry_run(folder, folder / "Snakefile", [config])


def main() -> None:
    """Measure every size in turn and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--naive-up-to", type=int, default=10_000, help="largest cohort with a job a subject")
    arguments = parser.parse_args()
    models = len(configuration(1)["models"])
    print(f"{models} models, {len(REGISTRATIONS)} registrations, a batch for {BATCH} subjects, "
          f"every {HELD_OUT}th held out; {os.cpu_count()} cores.\n")  # fmt: skip
    print(
        "| subjects | design | jobs | wall, s | CPU, s | CPU, ms a job | memory, MiB |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for subjects in arguments.subjects:
        for naive in (False, True):
            if naive and subjects > arguments.naive_up_to:
                continue
            cost = measure(subjects, naive)
            design = "a job a subject" if naive else "batches"
            print(f"| {subjects:,} | {design} | {cost.jobs:,} | {cost.wall:.1f} | {cost.cpu:.1f} | "
                  f"{1000 * cost.cpu / cost.jobs:.2f} | {cost.memory_mib:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
