"""Chain of Flow: a beating, patient-specific 4D heart from a 12-lead ECG and one anatomical anchor volume."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["Heart", "twin"]

# Waiting threads must not spin: two torch processes on two cores would slow each other down many times over. OpenMP
# reads it when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from cof.api import Heart, twin


def __getattr__(name: str) -> Any:
    """Import `Heart` or `twin` on first use: importing torch takes seconds, and the command line does not need it."""
    if name in __all__:
        return getattr(import_module("cof.api"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
