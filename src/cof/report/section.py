"""A section of the page, and the sources that it may use."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cof.report.artefacts import Results
from cof.report.assets import Assets
from cof.report.judged import Judged, judge, remarks


@dataclass(frozen=True)
class Sources:
    """Sources of a section.

    Attributes:
        results: results of the run.
        assets: folder for figures and other files of the page.
        above: contexts of the sections above this one, by name.
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
        """Flags, exclusions and doubts in words, by subject."""
        return remarks(self.judged)


def words(sources: Sources) -> dict[str, Any]:
    """Return the empty context of a section that has only a template."""
    return {}


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        name: name of its anchor, of its template `sections/{name}.html`, and of its context in the template.
        title: heading and entry in the table of contents.
        context: function that returns what the template shows; the section is left out if it returns None.
    """

    name: str
    title: str
    context: Callable[[Sources], Any] = words
