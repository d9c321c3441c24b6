"""Exclusions: rows that record which subjects a stage left out, and why."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from cof.artefacts.parquet import write_table
from cof.artefacts.provenance import stamp
from cof.errors import DATA_ERRORS, CofError, Reason, redact

log = logging.getLogger(__name__)


class Exclusions:
    """The subjects of one batch that one stage left out."""

    COLUMNS = ("subject", "stage", "reason", "message")

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.rows: list[dict[str, str]] = []

    def add(self, subject: str, reason: Reason, message: str) -> None:
        """Record that `subject` is left out of this stage and all later ones."""
        message = redact(message)
        self.rows.append({"subject": subject, "stage": self.stage, "reason": str(reason), "message": message})
        log.warning("%s: %s excluded (%s): %s", self.stage, subject, reason, message)

    @contextmanager
    def guard(self, subject: str) -> Iterator[None]:
        """Turn an error in the subject's data inside the block into an exclusion row, so that the batch goes on.

        All errors but CofError and `DATA_ERRORS` pass through: a broken machine or program must fail the job, which can
        be run again, and must not look like a smaller cohort.
        """
        try:
            yield
        except CofError as error:
            self.add(subject, error.reason, str(error))
        except DATA_ERRORS as error:
            log.debug("traceback of %s", subject, exc_info=True)
            self.add(subject, Reason.UNEXPECTED, f"{type(error).__name__}: {error}")

    def write(self, path: Path) -> None:
        """Write the rows as parquet; without exclusions, the table has no rows."""
        write_table(path, pd.DataFrame(self.rows, columns=list(self.COLUMNS)).astype("string"), stamp({}))
