"""The folder of files that belong to a page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cof.report import plots


@dataclass(frozen=True)
class Assets:
    """The folder of figures, images and scripts of a page."""

    folder: Path

    def add(self, name: str, content: bytes) -> str:
        """Write one file; return its address relative to the page."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        return f"{self.folder.name}/{name}"

    def figure(self, stem: str, alt: str, draw: Callable[[plots.Theme], Figure]) -> dict[str, str]:
        """Write a figure in every theme; return the addresses by theme, and the alternative text as `alt`."""
        images = plots.render(draw)
        return {name: self.add(f"{stem}-{name}.svg", image) for name, image in images.items()} | {"alt": alt}
