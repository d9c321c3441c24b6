"""The folder of files beside a page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cof.report import plots


@dataclass(frozen=True)
class Assets:
    """The folder of files beside the page."""

    folder: Path

    def add(self, name: str, content: bytes) -> str:
        """Write one file; returns its address as the page sees it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        return f"{self.folder.name}/{name}"

    def figure(self, stem: str, alt: str, draw: Callable[[plots.Theme], Figure]) -> dict[str, str]:
        """Write a figure in every rendering; returns the addresses, and the text for those who cannot see it."""
        images = plots.render(draw)
        return {name: self.add(f"{stem}-{name}.svg", image) for name, image in images.items()} | {"alt": alt}
