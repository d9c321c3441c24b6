"""The workflow plans models of other packages by what their families say of themselves."""

import os
import sys
from pathlib import Path

import pytest
import running
import yaml

SETTINGS = """
from typing import Literal
from cof.config.family import FamilySettings

class Peek(FamilySettings):
    implementation = "guest:Peek"
    learns_on = None
    sees = {"displacement"}
    family: Literal["peek"] = "peek"
    registration: str = "truth"

class Both(FamilySettings):
    implementation = "guest:Both"
    learns_on = None
    family: Literal["both"] = "both"
    model: str = "cof"
    members: tuple[str, ...] = ("cof", "static")
"""


def test_inputs_and_options_follow_from_their_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    info = site / "guest-2.0.dist-info"
    info.mkdir(parents=True)
    (site / "guest.py").write_text(SETTINGS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[cof.families]\npeek = guest:Peek\nboth = guest:Both\n")
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    monkeypatch.setattr(running, "ENVIRONMENT", running.ENVIRONMENT | {"PYTHONPATH": path})
    more = tmp_path / "more.yaml"
    more.write_text(
        yaml.safe_dump({"results": "results", "models": {"peek": {"family": "peek"}, "both": {"family": "both"}}})
    )
    targets = ("results/models/both", "results/twins/peek/b000", "results/twins/cof/b000")
    planned = running.snakemake(tmp_path, "-n", "-p", "--", *targets, more=more).stdout
    commands = [line.strip() for line in planned.splitlines() if " --out " in line]
    (both,) = (line for line in commands if "--out results/models/both" in line)
    assert "--base results/models/cof " in both
    assert "--member results/models/cof --member results/models/static" in both
    (peek,) = (line for line in commands if "--out results/twins/peek/b000" in line)
    assert "--fields results/fields/truth/b000" in peek
    (cof,) = (line for line in commands if "--out results/twins/cof/b000" in line)
    assert "--fields" not in cof
    assert "results/fields/truth/b000" in planned
    assert "exact-motion" in planned
