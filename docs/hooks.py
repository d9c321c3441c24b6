"""Hooks of MkDocs: pages outside of docs/, their links, and formulas without scripts.

The pages stay readable on a forge: links are relative to the file they stand in, and lead to files of the repository.
"""

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Pages that lie beside what they describe; on the site they stand under repository/.
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "weights/**/README.md", "results/README.md", "benchmarks/**/README.md")
MOUNT = "repository"
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        files.append(File.generated(config, f"{MOUNT}/{path.relative_to(ROOT)}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site; MkDocs refuses broken ones."""
    here = posixpath.dirname(_in_repository(page.file.src_uri))

    def relinked(match: re.Match[str]) -> str:
        on_site = _on_site(posixpath.normpath(posixpath.join(here, match[1])))
        if files.get_file_from_path(on_site) is None:
            return match[0]
        return f"]({posixpath.relpath(on_site, posixpath.dirname(page.file.src_uri) or '.')}{match[2] or ''})"

    return _LINK.sub(relinked, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers show by themselves."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        return convert(html.unescape(match[2] or match[3]), display=display)

    return _FORMULA.sub(mathml, content)


def _in_repository(src_uri: str) -> str:
    return src_uri.removeprefix(f"{MOUNT}/") if src_uri.startswith(f"{MOUNT}/") else f"docs/{src_uri}"


def _on_site(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{MOUNT}/{path}"
