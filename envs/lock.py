"""Print the installed environment as a lock: exact versions, no local builds, no packages that torch pins itself.

torchvision and timm, absent where only a CPU wheel of torch is installed, keep the pins of the present lock.
"""

from importlib.metadata import distributions
from pathlib import Path

HEADER = """\
# Every package of the reference environment, pinned (Python 3.11). `make lock` renews it.
# torch pins its own accelerator packages exactly, so an ordinary install gives an ordinary GPU build.
"""
LEFT_OUT = ("chain-of-flow", "pip", "uv", "triton", "nvidia-", "cuda-")
KEPT = ("timm", "torchvision")


def main() -> None:
    """Write the lock to standard output."""
    present = {line.split("==")[0]: line for line in (Path(__file__).parent / "lock.txt").read_text().split()}
    found = {dist.name.lower(): f"{dist.name}=={dist.version.split('+')[0]}" for dist in distributions()}
    pins = {name: pin for name, pin in found.items() if not name.startswith(LEFT_OUT)}
    pins |= {name: present[name] for name in KEPT if name not in pins and name in present}
    print(HEADER + "\n".join(pins[name] for name in sorted(pins)))


if __name__ == "__main__":
    main()
