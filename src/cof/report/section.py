"""A section of the page, and the sources that it may draw on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cof.report.artefacts import Results
from cof.report.assets import Assets
from cof.report.judged import Judged, judge, remarks


@dataclass(frozen=True)
class Sources:
    """Sources that a section is made from.

    Attributes:
        results: of the run.
        assets: takes figures and other files of the page.
        above: contexts of the sections further up the page, by name.
    """

    results: Results
    assets: Assets
    above: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def judged(self) -> list[Judged]:
        """Every measured subject."""
        return judge(self.results)

    @cached_property
    def remarks(self) -> dict[str, list[str]]:
        """Doubts about subjects, in words, by their names."""
        return remarks(self.judged)


def words(sources: Sources) -> dict[str, Any]:
    """Return the context of a section that has nothing but its template."""
    return {}


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        name: its anchor, its template `sections/{name}.html`, and the name of its context there.
        title: heading, and entry of the list of contents.
        context: what the template shows; a section whose context is None is left out.
    """

    name: str
    title: str
    context: Callable[[Sources], Any] = words
