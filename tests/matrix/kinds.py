"""Kinds of input, and what a reader must make of each.

A cell of the matrix is one kind in one form: "every slice acquired twice" as one enhanced file, or "12 bits without
extension of the sign" as a DICOM waveform. The right outcome is a value, a refusal that names the fault, or either of
them where a value cannot be had without a guess. Another value than the right one is never right.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cof.errors import CofError, Reason

VALUE, EITHER, REFUSAL = "value", "value or refusal", "refusal"


@dataclass(frozen=True)
class Refusal:
    """A refusal: one of these reasons, with a message in which the pattern `words` is found."""

    words: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Outcome:
    """The outcome that one input must have.

    Attributes:
        check: asserts that what was read is right; None where nothing may be read.
        refusal: the refusal that is right, too; None where there is none.
    """

    check: Callable[[Any], None] | None = None
    refusal: Refusal | None = None

    @property
    def name(self) -> str:
        """VALUE, EITHER or REFUSAL."""
        if self.check is None:
            return REFUSAL
        return VALUE if self.refusal is None else EITHER

    def judge(self, read: Callable[[], Any]) -> None:
        """Read, and assert that the outcome is this one."""
        error, result = _attempt(read)
        if error is None:
            assert self.check is not None, "read, and it must be refused"
            self.check(result)
            return
        said = f"{error.reason}: {error}"
        assert self.refusal is not None, f"refused, and it can be read: {said}"
        assert error.reason in self.refusal.reasons, f"refused for another reason: {said}"
        assert re.search(self.refusal.words, str(error), re.IGNORECASE), f"does not name the fault: {said}"


def _attempt(read: Callable[[], Any]) -> tuple[CofError | None, Any]:
    try:
        return None, read()
    except CofError as error:
        return error, None


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        name: short, for the names of tests.
        what: in words, for the documentation.
        forms: in which it is tried; words behind the first say how exactly.
        outcome: VALUE, EITHER or REFUSAL.
        make: makes the input; what it takes and gives is its medium's matter.
        repairs: whether the reader must say that it mended something.
        open: what comes instead, where readers do not get there yet; "" where they do.
    """

    name: str
    what: str
    forms: tuple[str, ...]
    outcome: str
    make: Callable[..., Any]
    repairs: bool = False
    open: str = ""


@dataclass(frozen=True)
class Cell:
    """One kind in one form."""

    kind: Kind
    form: str

    def __str__(self) -> str:
        return f"{self.kind.name}-{self.form.replace(' ', '-')}"

    def case(self, *more: str) -> Any:
        """The cell, and what else the test takes, as one case of a parametrized test."""
        marks = [pytest.mark.xfail(strict=True, reason=self.kind.open)] if self.kind.open else []
        return pytest.param(self, *more, id="-".join((str(self), *more)), marks=marks)


class Kinds(list[Kind]):
    """The kinds of one medium, in the order in which they are declared."""

    def add(
        self, what: str, forms: tuple[str, ...], outcome: str = VALUE, repairs: bool = False, open: str = ""
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the function below it as a kind of its name."""

        def declare(make: Callable[..., Any]) -> Callable[..., Any]:
            self.append(Kind(make.__name__.replace("_", "-"), what, forms, outcome, make, repairs, open))
            return make

        return declare

    @property
    def cells(self) -> list[Cell]:
        return [Cell(kind, form) for kind in self for form in kind.forms]
