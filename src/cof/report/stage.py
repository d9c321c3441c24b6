"""The stage that writes the report."""

import logging
from pathlib import Path

from cof import config as configuration
from cof.artefacts.folders import whole_folder
from cof.errors import UsageError
from cof.progress import Progress
from cof.report.artefacts import Results

log = logging.getLogger(__name__)


def make_report(*, results: Path, config: Path, out: Path) -> None:
    """Write the HTML report of a run, whole or partial.

    Args:
        results: the results folder; what it does not hold, the page names as missing.
        config: the resolved configuration, JSON or YAML.
        out: folder for `index.html` and its `assets/`; it appears when it is whole.

    Raises:
        UsageError: the results folder or the configuration does not exist, or the configuration is invalid.
    """
    from cof.report import page

    if not results.is_dir():
        raise UsageError(f"no such results folder: {results}")
    if not config.is_file():
        raise UsageError(f"no such configuration: {config}")
    run = Results(results, configuration.load(config))
    with Progress("report", None), whole_folder(out) as folder:
        page.build(run, folder)
    log.info("report: %s", out / "index.html")
