import pytest
from scanned_phantom import Phantom, scan


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return scan("sub-0001")


@pytest.fixture(scope="session")
def anchors() -> list[Phantom]:
    """The anchors of several subjects, without their cycle; the base of the last is cut obliquely."""
    return [scan(f"sub-{number:04d}", frames=1) for number in (1, 2, 6, 7, 8, 18)]
