"""Samples of a DICOM multiplex group, decoded by its numbers of bits and its padding value."""

import numpy as np
from pydicom.dataset import Dataset

from cof.errors import CofError, Reason

# Word sizes and signs by bits allocated and interpretation (PS3.3, C.10.9.1.5); companded ones are refused earlier.
_WORDS = {
    (8, "SB"): "<i1", (8, "UB"): "<u1", (16, "SS"): "<i2", (16, "US"): "<u2", (32, "SL"): "<i4", (32, "UL"): "<u4",
}  # fmt: skip
# If the signal can also take the padding value, only runs that last this long are padding; a wave passes it faster.
_PADDING_MS = 100.0


def counts(group: Dataset, rate_hz: float) -> np.ndarray:
    """Return the linear samples of a group as float64 [N, channels], NaN where they are padding.

    WaveformBitsStored gives the position of the sign bit. The standard extends it into the unused bits; many writers
    leave zeros there. Both are read.

    Raises:
        CofError: there are fewer or more samples than announced, the word type is unknown, or words use more than the
            stated bits.
    """
    allocated, kind = int(group.WaveformBitsAllocated), str(group.get("WaveformSampleInterpretation") or "")
    word = _WORDS.get((allocated, kind))
    if word is None:
        raise CofError(Reason.ECG_UNITS, f"samples of {allocated} bits, coded {kind[:8]!r}, are not read")
    channels = len(group.ChannelDefinitionSequence)
    if int(group.NumberOfWaveformChannels) != channels:
        raise CofError(
            Reason.ECG_UNREADABLE,
            f"{int(group.NumberOfWaveformChannels)} channels are announced, but {channels} are described",
        )
    announced = int(group.NumberOfWaveformSamples) * channels * (allocated // 8)
    data = bytes(group.get("WaveformData") or b"")
    # A value of odd length is padded by one byte.
    if not announced <= len(data) <= announced + announced % 2:
        raise CofError(Reason.ECG_UNREADABLE, f"the waveform has {len(data)} bytes, but {announced} are announced")
    words = np.frombuffer(data[:announced], word).reshape(-1, channels)
    padding = _padding(group, word)
    result = np.empty(words.shape)
    for index, channel in enumerate(group.ChannelDefinitionSequence):
        stored = int(channel.get("WaveformBitsStored") or allocated)
        if not 1 < stored <= allocated:
            raise CofError(
                Reason.ECG_UNREADABLE,
                f"{stored} bits stored of {allocated} allocated is impossible",
            )
        column = words[:, index]
        padded = np.zeros(len(column), bool) if padding is None else _is_padding(column, padding, rate_hz)
        result[:, index] = _stored(column, padded, stored)
        result[padded, index] = np.nan
    return result


def _stored(words: np.ndarray, padded: np.ndarray, stored: int) -> np.ndarray:
    """Return the values [N] of words, of which only the lowest `stored` bits are used."""
    values = words.astype(np.int64)
    bits = 8 * words.dtype.itemsize
    if stored == bits:
        return values
    signed = words.dtype.kind == "i"
    used = values[~padded]
    half = 1 << stored - 1
    if signed and ((used >= -half) & (used < half)).all():
        return values
    raw = used & (1 << bits) - 1
    if (raw >= 1 << stored).any():
        raise CofError(Reason.ECG_UNREADABLE, f"samples use more than the {stored} bits that the file states")
    return (values & (1 << stored) - 1 ^ half) - half if signed else values


def _padding(group: Dataset, word: str) -> int | None:
    """Return the padding value as a word; None where the group states none."""
    value = group.get("WaveformPaddingValue")
    if value is None or value == b"" or value == "":
        return None
    size = np.dtype(word).itemsize
    # A padding value that is a number, against the standard, is read as a number.
    raw = value if isinstance(value, bytes) else int(value).to_bytes(8, "little", signed=True)
    return int(np.frombuffer(raw[:size].ljust(size, b"\0"), word)[0])


def _is_padding(words: np.ndarray, padding: int, rate_hz: float) -> np.ndarray:
    """Mark the words [N] that are padding: all of that value, or only long runs if the signal can take the value."""
    same = words == padding
    others = words[~same]
    if not same.any() or not len(others) or not others.min() < padding < others.max():
        return same
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        same[start:end] = end - start >= _PADDING_MS * rate_hz / 1000
    return same
