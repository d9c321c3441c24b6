"""The way back from a pseudonym to raw files, for those who may read the key: `cof lookup`."""

from pathlib import Path
from typing import Annotated

import typer

from cof.artefacts.parquet import read_table
from cof.errors import UsageError
from cof.inputs import check
from cof.options import KEY


def look_up(
    *,
    subject: Annotated[str, typer.Argument(help="Pseudonym of a subject or participant.")],
    key: Annotated[Path, typer.Option(help="cohort/key.parquet")] = Path("results/cohort/key.parquet"),
) -> str:
    """Print the rows of the key of one subject, or of all visits of a participant.

    Raises:
        UsageError: there is no key, nobody of that name in it, or no right to read it.
    """
    if not key.exists():
        raise UsageError(f"there is no key at {key}")
    check("--key", key, KEY)
    try:
        rows = read_table(key)
    except PermissionError:
        raise UsageError(f"you may not read the key at {key}") from None
    rows = rows[(rows["subject"] == subject) | (rows["subject"].str.rsplit("-v", n=1).str[0] == subject)]
    if rows.empty:
        raise UsageError(f"no subject is called '{subject}'")
    typer.echo(rows.to_string(index=False))
    return f"{len(rows)} visits behind {subject}; raw paths are for nobody else"
