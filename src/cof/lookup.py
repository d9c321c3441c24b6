"""The lookup of the raw files behind a pseudonym, for those who may read the key: `cof lookup`."""

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
    key: Annotated[Path, typer.Option(help="Key to the raw files.")] = Path("results/cohort/key.parquet"),
) -> str:
    """Print the rows of the key of one subject, or of all visits of a participant.

    Raises:
        UsageError: there is no key, it may not be read, or it holds no subject or participant of that name.
    """
    if not key.exists():
        raise UsageError(f"there is no key at {key}; name it by --key")
    check("--key", key, KEY)
    try:
        rows = read_table(key)
    except PermissionError:
        raise UsageError(f"you may not read the key at {key}") from None
    rows = rows[(rows["subject"] == subject) | (rows["subject"].str.rsplit("-v", n=1).str[0] == subject)]
    if rows.empty:
        raise UsageError(f"the key {key} has no subject or participant '{subject}'")
    typer.echo(rows.to_string(index=False))
    return f"{len(rows)} visits behind {subject}; do not pass on the raw paths"
