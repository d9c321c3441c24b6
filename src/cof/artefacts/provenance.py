"""Provenance of results: a hash of the settings, and the versions of this source and of packages."""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cof import __version__

_PACKAGES = ("torch", "monai", "nnunetv2", "neurokit2", "numpy", "scipy", "scikit-image")


def digest(value: Any) -> str:
    """Return the first twelve hex digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


@cache
def versions() -> dict[str, str]:
    """Return the version of this source and the installed versions of packages that influence results."""
    found = {"chain-of-flow": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def stamp(settings: Any) -> dict[str, Any]:
    """Return the provenance record that every artefact holds: the hash of its settings, and versions."""
    return {"config_hash": digest(settings), "versions": versions()}


def differences(made_with: dict[str, Any], asked: dict[str, Any], within: str = "") -> Iterator[str]:
    """Yield the settings of an artefact that differ from those asked for, such as `field.modes 32 (here 0)`.

    A key that only one of them has is ignored: it was added or removed by a version of this software.
    """
    for key in made_with.keys() & asked.keys():
        theirs, ours = made_with[key], asked[key]
        if isinstance(theirs, dict) and isinstance(ours, dict):
            yield from differences(theirs, ours, f"{within}{key}.")
        elif theirs != ours:
            yield f"{within}{key} {json.dumps(theirs)} (here {json.dumps(ours)})"
