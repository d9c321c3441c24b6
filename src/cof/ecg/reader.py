"""Any supported ECG file to one `Ecg`, by what is in it."""

from pathlib import Path

from cof.config import EcgSettings
from cof.ecg import cardiosoft, document, muse, wfdb
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason


def read_ecg(path: Path, settings: EcgSettings | None = None) -> Ecg:
    """Read a GE CardioSoft or MUSE XML file, or a PhysioNet header (`.hea`) with its samples.

    Raises:
        CofError: the file is missing, of another kind, broken, or its signal fails a check.
    """
    settings = settings or EcgSettings()
    if not path.is_file():
        raise CofError(Reason.ECG_MISSING, "no such ECG file")
    try:
        if path.suffix == ".hea":
            return wfdb.read(path, settings)
        content = document.parse(path.read_bytes())
    except OSError as error:
        raise CofError(Reason.ECG_UNREADABLE, f"the file cannot be read: {error.strerror}") from None
    for reader in (cardiosoft, muse):
        if reader.ROOT in content:
            return reader.read(content, settings)
    raise CofError(Reason.ECG_UNREADABLE, f"XML of an unknown kind: root {', '.join(content)[:40]!r}")
