"""The page of the cost of each model. Run times differ from run to run, so they have their own page."""

from typing import Any

from cof.report.artefacts import Results
from cof.tables.costs import HEADINGS, cells, read_csv


def tables(results: Results) -> list[dict[str, Any]]:
    """Return the costs of each model for each table, as read from `cost/{table}.csv`."""
    found = []
    for name, settings in results.config.tables.items():
        path = results.root / "cost" / f"{name}.csv"
        if path.is_file():
            rows = [(row[0], row[1:]) for row in map(cells, read_csv(path))]
            found.append({"name": name, "title": settings.title, "headings": HEADINGS[1:], "rows": rows})
    return found
