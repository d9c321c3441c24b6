"""What made a result: settings, source and package versions, as hashes that travel with it."""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cof import __version__

_PACKAGES = ("torch", "monai", "nnunetv2", "neurokit2", "numpy", "scipy", "scikit-image")


def digest(value: Any) -> str:
    """Twelve hex digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


@cache
def versions() -> dict[str, str]:
    """Version of this source, and installed versions of the packages that decide results."""
    found = {"chain-of-flow": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def stamp(settings: Any) -> dict[str, Any]:
    """The provenance record that every artefact carries: the hash of the settings that made it, and versions."""
    return {"config_hash": digest(settings), "versions": versions()}


def differences(made_with: dict[str, Any], asked: dict[str, Any], within: str = "") -> Iterator[str]:
    """Settings of an artefact that are not those asked for, such as `field.modes 32 (here 0)`.

    A key that only one of them has is passed over: it came or went with a version of this software.
    """
    for key in made_with.keys() & asked.keys():
        theirs, ours = made_with[key], asked[key]
        if isinstance(theirs, dict) and isinstance(ours, dict):
            yield from differences(theirs, ours, f"{within}{key}.")
        elif theirs != ours:
            yield f"{within}{key} {json.dumps(theirs)} (here {json.dumps(ours)})"
