"""The reader of all supported ECG files; it recognises the format by the content."""

from pathlib import Path

from cof.config.data import EcgSettings
from cof.ecg import cardiosoft, dicom, document, muse, wfdb
from cof.ecg.record import Ecg
from cof.ecg.spikes import without_spikes
from cof.errors import CofError, Reason, raise_if_broken


def read_ecg(path: Path, settings: EcgSettings | None = None) -> Ecg:
    """Read a GE CardioSoft or MUSE XML file, a DICOM waveform, or a PhysioNet header (`.hea`) with its samples.

    Raises:
        CofError: the file is missing, of another kind, too large or broken.
    """
    settings = settings or EcgSettings()
    if path.is_dir():
        raise CofError(Reason.ECG_MISSING, "this is a folder, not an ECG file; a scan may be a folder")
    if not path.is_file():
        raise CofError(Reason.ECG_MISSING, "there is no such ECG file")
    if path.suffix in (".dat", ".mat") and path.with_suffix(".hea").is_file():
        raise CofError(Reason.ECG_UNREADABLE, "these are samples of a PhysioNet record; give its header, the .hea file")
    return without_spikes(_read(path, settings))


def _read(path: Path, settings: EcgSettings) -> Ecg:
    try:
        if path.suffix == ".hea":
            return wfdb.read(path, settings)
        with path.open("rb") as file:
            content = file.read(document.MAX_BYTES + 1)  # one byte more than is allowed, to notice larger files
        if dicom.is_dicom(content):
            return dicom.read(path, settings)
        parsed = document.parse(content)
    except OSError as error:
        raise_if_broken(error)
        raise CofError(Reason.ECG_UNREADABLE, f"the file cannot be read: {error.strerror}") from None
    for reader in (cardiosoft, muse):
        if reader.ROOT in parsed:
            return reader.read(parsed, settings)
    root = ", ".join(parsed)[:40]
    raise CofError(
        Reason.ECG_UNREADABLE, f"this is XML with the root {root!r}; only {cardiosoft.ROOT} and {muse.ROOT} are read"
    )
