"""Print the installed environment as a lock: exact versions, no local builds, no packages that torch pins itself.

torchvision and timm, absent where only a CPU wheel of torch is installed, keep the pins of the present lock.
"""

from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

HEADER = """\
# Every package of the reference environment, pinned (Python 3.11). `make lock` renews it.
# torch pins its own accelerator packages exactly, so an ordinary install gives an ordinary GPU build.
"""
# Last the checkers of `envs/checkers.txt`, which no installation needs.
LEFT_OUT = ("chain-of-flow", "pip", "uv", "triton", "nvidia-", "cuda-", "dcm2niix", "dcmqi", "dicom3tools")
KEPT = ("timm", "torchvision")


def main() -> None:
    """Write the lock to standard output."""
    present = {line.split("==")[0]: line for line in (Path(__file__).parent / "lock.txt").read_text().split()}
    found = {canonicalize_name(dist.name): dist.version.split("+")[0] for dist in distributions()}
    pins = {name: f"{name}=={version}" for name, version in found.items() if not name.startswith(LEFT_OUT)}
    pins |= {name: present[name] for name in KEPT if name not in pins and name in present}
    print(HEADER + "\n".join(sorted(pins.values())))


if __name__ == "__main__":
    main()
