"""Any supported ECG file to one `Ecg`, by what is in it."""

from pathlib import Path

from cof.config.data import EcgSettings
from cof.ecg import cardiosoft, dicom, document, muse, wfdb
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason


def read_ecg(path: Path, settings: EcgSettings | None = None) -> Ecg:
    """Read a GE CardioSoft or MUSE XML file, a DICOM waveform, or a PhysioNet header (`.hea`) with its samples.

    Raises:
        CofError: the file is missing, of another kind, too large or broken.
    """
    settings = settings or EcgSettings()
    if not path.is_file():
        raise CofError(Reason.ECG_MISSING, "no such ECG file")
    try:
        if path.suffix == ".hea":
            return wfdb.read(path, settings)
        with path.open("rb") as file:
            content = file.read(document.MAX_BYTES + 1)  # a byte more than is allowed
        if dicom.is_dicom(content):
            return dicom.read(path, settings)
        parsed = document.parse(content)
    except OSError as error:
        raise CofError(Reason.ECG_UNREADABLE, f"the file cannot be read: {error.strerror}") from None
    for reader in (cardiosoft, muse):
        if reader.ROOT in parsed:
            return reader.read(parsed, settings)
    raise CofError(Reason.ECG_UNREADABLE, f"XML of an unknown kind: root {', '.join(parsed)[:40]!r}")
