"""The heart as one HTML file that shows it in a browser."""

from pathlib import Path

from cof.twins.exports.heart import Heart
from cof.twins.page.html import page


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write `{name}.html`."""
    path = folder / f"{heart.name}.html"
    path.write_text(page(heart), encoding="utf-8")
    return [path]
