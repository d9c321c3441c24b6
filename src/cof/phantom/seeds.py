"""Random streams that depend on seed and name of the participant only, never on the position in the cohort."""

import hashlib

import numpy as np


def derive(seed: int, participant: str, purpose: str) -> int:
    """Return a 63-bit seed for one `purpose` of one participant."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{participant}/{purpose}".encode()).digest()[:8], "big") >> 1


def stream(seed: int, participant: str, purpose: str) -> np.random.Generator:
    """Return a separate generator for one `purpose` of one participant."""
    return np.random.default_rng(derive(seed, participant, purpose))
