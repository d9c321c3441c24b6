"""Pages in a real, headless Chromium."""

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="the page was not looked at: Chromium is not installed")
# WebGL by software, as on a machine without a graphics card.
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL = ("--disable-gpu", "--disable-3d-apis")


def visit(page: Path, profile: Path, width: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page; in the standard output what an option such as `--dump-dom` asks for, in the other the console."""
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}",
        "--virtual-time-budget=12000", f"--window-size={width},1600", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)


def browse(page: Path, profile: Path, width: int, *options: str) -> str:
    """What an option such as `--dump-dom` asks for, of a page without WebGL."""
    return visit(page, profile, width, "--disable-gpu", *options).stdout
