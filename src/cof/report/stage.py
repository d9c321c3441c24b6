"""The stage that writes the report."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from cof import config as configuration
from cof.artefacts.folders import whole_folder
from cof.errors import UsageError
from cof.inputs import File
from cof.options import Out, says
from cof.options import Results as ResultsFolder
from cof.progress import Progress
from cof.report.artefacts import Results

log = logging.getLogger(__name__)


@says(lambda _, given: f"report of {given['results']} written to {given['out']}. Open {given['out'] / 'index.html'}")
def make_report(
    *,
    results: ResultsFolder,
    config: Annotated[Path, typer.Option("--config", help="The resolved configuration, JSON or YAML."), File()],
    out: Out,
) -> None:
    """Write the HTML report of a complete or partial run.

    Args:
        results: results folder; the page names the artefacts that it lacks.
        config: as annotated.
        out: folder of `index.html` and its `assets/`; it appears only when it is complete.

    Raises:
        UsageError: the results folder or the configuration does not exist, or the configuration is invalid.
    """
    from cof.report import page

    if not results.is_dir():
        raise UsageError(f"--results: no such folder: {results}")
    if not config.is_file():
        raise UsageError(f"--config: no such file: {config}")
    run = Results(results, configuration.load(config))
    with Progress("report", None), whole_folder(out) as folder:
        page.build(run, folder)
    log.info("report: %s", out / "index.html")
