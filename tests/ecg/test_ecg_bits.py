"""DICOM samples as their bits, signs, padding and times say."""

import io

import numpy as np
import pydicom
import pytest
from ecg_files import channel, dicom_file, group, lead_code
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from strips import every, strip

from cof.config.data import BeatSettings, EcgSettings
from cof.ecg.cycle import representative_cycle
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.ecg.samples import counts as decoded
from cof.errors import CofError, Reason

KINDS = {"SB": (8, "i1"), "UB": (8, "u1"), "SS": (16, "<i2"), "US": (16, "<u2"), "SL": (32, "<i4"), "UL": (32, "<u4")}
CLEAN = {lead: np.rint(values * 200).astype(int) for lead, values in zip(LEADS, strip(every(0.85), 500.0))}


def encoded(counts, kind, stored, fill, padding=None, rate=500):
    """A group whose words hold `counts` in `stored` bits; above them `fill`: the sign ("extended") or zeros."""
    allocated, word = KINDS[kind]
    item = group(counts, rate=rate, interpretation=kind)
    item.WaveformBitsAllocated = allocated
    values = np.stack(list(counts.values()), axis=1)
    if fill == "zeros":
        values = values & (1 << stored) - 1
    item.WaveformData = (values & (1 << allocated) - 1).astype(word.replace("i", "u")).tobytes()
    for described in item.ChannelDefinitionSequence:
        described.WaveformBitsStored = stored
    if padding is not None:
        size = allocated // 8
        item.WaveformPaddingValue = (padding & (1 << allocated) - 1).to_bytes(size, "little").ljust(2, b"\0")
    return item


def read(tmp_path, item, settings=None):
    path = tmp_path / "ecg.dcm"
    path.write_bytes(dicom_file([item]))
    return read_ecg(path, settings)


def reason(tmp_path, item):
    with pytest.raises(CofError) as caught:
        read(tmp_path, item)
    return caught.value.reason, str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_values_survive_every_coding(data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    allocated, word = KINDS[kind]
    stored = data.draw(st.integers(2, allocated))
    signed = "i" in word
    low, high = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    values = data.draw(st.lists(st.integers(low, high), min_size=4, max_size=40))
    truth = np.array(values[: len(values) // 2 * 2]).reshape(-1, 2)
    fill = data.draw(st.sampled_from(["extended", "zeros"])) if signed else "extended"
    item = encoded({"I": truth[:, 0], "II": truth[:, 1]}, kind, stored, fill)
    np.testing.assert_array_equal(decoded(item, 500.0), truth)


@pytest.mark.parametrize("fill", ["extended", "zeros"])
def test_twelve_bits_give_the_voltages_that_sixteen_give(tmp_path, fill):
    whole = read(tmp_path, encoded(CLEAN, "SS", 16, "extended"))
    np.testing.assert_array_equal(read(tmp_path, encoded(CLEAN, "SS", 12, fill)).signal, whole.signal)
    # Every channel states its own number of bits.
    item = encoded(CLEAN, "SS", 12, fill)
    item.ChannelDefinitionSequence[3].WaveformBitsStored = 13 if fill == "extended" else 12
    np.testing.assert_array_equal(read(tmp_path, item).signal, whole.signal)


def test_unsigned_samples_count_from_their_baseline(tmp_path):
    shifted = {lead: values + 2048 for lead, values in CLEAN.items()}
    item = encoded(shifted, "US", 12, "extended")
    for described in item.ChannelDefinitionSequence:
        described.ChannelBaseline = -2048 * 5
    np.testing.assert_allclose(read(tmp_path, item).signal, strip(every(0.85), 500.0), atol=0.003)


def test_words_beyond_the_stated_bits_are_refused(tmp_path):
    """Either the number of bits or the words are wrong; which of them nobody can tell."""
    dirty = {lead: values.copy() for lead, values in CLEAN.items()}
    dirty["V3"][100] = 5000
    code, words = reason(tmp_path, encoded(dirty, "SS", 12, "extended"))
    assert code == Reason.ECG_UNREADABLE
    assert "12 bits" in words
    high = encoded(CLEAN, "US", 12, "zeros")
    high.WaveformData = (np.frombuffer(high.WaveformData, "<u2") | 0xA000).tobytes()
    assert reason(tmp_path, high)[0] == Reason.ECG_UNREADABLE


@pytest.mark.parametrize(
    ("where", "kept"), [(slice(-150, None), (0, 4850)), (slice(0, 500), (500, 5000)), (slice(4990, None), (0, 4990))]
)
@pytest.mark.parametrize("leads", [LEADS, ("V2",), ("III",)], ids=len)
@pytest.mark.parametrize(("kind", "stored", "value"), [("SS", 16, -32768), ("SS", 12, -32768), ("SS", 12, 2047)])
def test_padding_at_an_end_is_held_flat_and_said(tmp_path, where, kept, leads, kind, stored, value):
    padded = {lead: values.copy() for lead, values in CLEAN.items()}
    for lead in leads:
        padded[lead][where] = value
    ecg = read(tmp_path, encoded(padded, kind, stored, "extended", padding=value))
    whole = read(tmp_path, encoded(CLEAN, kind, 16, "extended"))
    inside = np.arange(5000).clip(kept[0], kept[1] - 1)  # times stay those of the file
    np.testing.assert_array_equal(ecg.signal, whole.signal[:, inside])
    assert len(ecg.repairs) == 1
    assert ecg.repairs[0].startswith(f"only the {(kept[1] - kept[0]) / 500:.2f} s")
    assert representative_cycle(ecg, BeatSettings()).mean_rate_bpm == pytest.approx(60 / 0.85, rel=0.01)


def test_a_long_gap_in_the_middle_is_refused_and_a_short_one_interpolated(tmp_path):
    padded = {lead: values.copy() for lead, values in CLEAN.items()}
    padded["V2"][2400:2450] = -32768
    code, words = reason(tmp_path, encoded(padded, "SS", 16, "extended", padding=-32768))
    assert code == Reason.ECG_TOO_SHORT
    assert "5.1 s" in words
    padded["V2"][:] = CLEAN["V2"]
    peak = round(4.8 * 500)  # on a QRS complex
    padded["V2"][peak - 2 : peak + 3] = -32768
    ecg = read(tmp_path, encoded(padded, "SS", 16, "extended", padding=-32768))
    assert np.abs(ecg.signal - strip(every(0.85), 500.0)).max() < 0.1
    assert ecg.repairs == ("5 samples of lead V2 are marked as invalid and interpolated",)


def test_many_short_gaps_are_refused(tmp_path):
    padded = {lead: values.copy() for lead, values in CLEAN.items()}
    padded["V2"][100:4900:20] = -32768
    assert reason(tmp_path, encoded(padded, "SS", 16, "extended", padding=-32768))[0] == Reason.ECG_NOT_FINITE


def test_a_lead_of_padding_alone_is_derived_or_missing(tmp_path):
    for lead in ("aVL", "V5"):
        padded = CLEAN | {lead: np.full(5000, -32768)}
        item = encoded(padded, "SS", 16, "extended", padding=-32768)
        if lead == "V5":
            assert reason(tmp_path, item)[0] == Reason.ECG_LEAD_MISSING
        else:
            ecg = read(tmp_path, item)
            np.testing.assert_allclose(ecg.signal, strip(every(0.85), 500.0), atol=0.006)
            assert "aVL" not in ecg.recorded
            assert ecg.repairs == ("lead aVL holds no signal and is derived from I and II",)


@pytest.mark.parametrize("padding", [0, 1, -3])
def test_a_padding_value_that_waves_pass_is_padding_only_where_it_lasts(tmp_path, padding):
    whole = read(tmp_path, encoded(CLEAN, "SS", 16, "extended"))
    ecg = read(tmp_path, encoded(CLEAN, "SS", 16, "extended", padding=padding))
    np.testing.assert_array_equal(ecg.signal, whole.signal)
    padded = {lead: values.copy() for lead, values in CLEAN.items()}
    for values in padded.values():
        values[-200:] = padding
    ecg = read(tmp_path, encoded(padded, "SS", 16, "extended", padding=padding))
    np.testing.assert_array_equal(ecg.signal[:, :4790], whole.signal[:, :4790])
    assert not np.diff(ecg.signal[:, 4800:]).any()


@pytest.mark.parametrize("keyword", ["ChannelSampleSkew", "ChannelTimeSkew", "ChannelOffset"])
def test_leads_that_begin_later_are_moved_to_common_times(tmp_path, keyword):
    late = {lead: np.roll(values, -3) if lead in ("V1", "V6") else values for lead, values in CLEAN.items()}
    item = encoded(late, "SS", 16, "extended")
    for described, lead in zip(item.ChannelDefinitionSequence, LEADS):
        delay = 3 if lead in ("V1", "V6") else 0
        setattr(described, keyword, str(delay if keyword == "ChannelSampleSkew" else delay / 500))
    ecg = read(tmp_path, item)
    whole = read(tmp_path, encoded(CLEAN, "SS", 16, "extended"))
    np.testing.assert_array_equal(ecg.signal, whole.signal[:, np.arange(5000).clip(3)])
    assert "up to 3 samples" in ecg.repairs[0]


def test_leads_that_begin_much_later_are_refused(tmp_path):
    item = encoded(CLEAN, "SS", 16, "extended")
    item.ChannelDefinitionSequence[0].ChannelTimeSkew = "2.5"
    assert reason(tmp_path, item)[0] == Reason.ECG_UNREADABLE


def altered(change):
    item = group(CLEAN)
    change(item, item.ChannelDefinitionSequence[6])
    return item


REFUSED = {
    "no sensitivity": (lambda g, c: c.pop("ChannelSensitivity"), Reason.ECG_UNITS, "V1 is not calibrated"),
    "empty sensitivity": (lambda g, c: setattr(c, "ChannelSensitivity", None), Reason.ECG_UNITS, "not calibrated"),
    "a correction of 0": (
        lambda g, c: setattr(c, "ChannelSensitivityCorrectionFactor", 0), Reason.ECG_UNITS, "V1 has 0",
    ),
    "no interpretation": (lambda g, c: g.pop("WaveformSampleInterpretation"), Reason.ECG_UNITS, "16 bits"),
    "signs of another size": (lambda g, c: setattr(g, "WaveformSampleInterpretation", "SB"), Reason.ECG_UNITS, "'SB'"),
    "40 bits stored": (lambda g, c: setattr(c, "WaveformBitsStored", 40), Reason.ECG_UNREADABLE, "40 bits stored"),
    "half the samples": (
        lambda g, c: setattr(g, "WaveformData", g.WaveformData[:60000]), Reason.ECG_UNREADABLE, "120000 are announced",
    ),
    "twice the samples": (
        lambda g, c: setattr(g, "WaveformData", 2 * g.WaveformData), Reason.ECG_UNREADABLE, "120000 are announced",
    ),
    "another number of channels": (
        lambda g, c: setattr(g, "NumberOfWaveformChannels", 8), Reason.ECG_UNREADABLE, "8 channels",
    ),
    "a disconnected lead": (
        lambda g, c: setattr(c, "ChannelStatus", "DISCONNECTED"), Reason.ECG_POOR_QUALITY, "V1 disconnected",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_what_is_wrong(tmp_path, case):
    change, code, words = REFUSED[case]
    found = reason(tmp_path, altered(change))
    assert found[0] == code
    assert words in found[1]


def test_what_a_channel_may_leave_out_has_the_values_of_the_standard(tmp_path):
    whole = read(tmp_path, group(CLEAN))

    def strip_channel(item, described):
        for name in ("ChannelBaseline", "ChannelSensitivityCorrectionFactor", "WaveformBitsStored"):
            described.pop(name)

    np.testing.assert_array_equal(read(tmp_path, altered(strip_channel)).signal, whole.signal)

    def empty_channel(item, described):
        described.ChannelBaseline = described.ChannelSensitivityCorrectionFactor = None

    np.testing.assert_array_equal(read(tmp_path, altered(empty_channel)).signal, whole.signal)


def test_channels_that_are_no_leads_need_no_sensitivity(tmp_path):
    item = group(CLEAN)
    extra = channel(lead_code("I", "OTHER"))
    extra.ChannelSourceSequence[0].CodeMeaning = "Respiration"
    del extra.ChannelSensitivity
    item.ChannelDefinitionSequence.append(extra)
    item.NumberOfWaveformChannels = 13
    words = np.frombuffer(item.WaveformData, "<i2").reshape(-1, 12)
    item.WaveformData = np.concatenate([words, words[:, :1]], axis=1).tobytes()
    np.testing.assert_array_equal(read(tmp_path, item).signal, read(tmp_path, group(CLEAN)).signal)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [False, True], ids=["no meta group", "meta group"])
def test_files_without_preamble_are_read(tmp_path, syntax, meta):
    content = dicom_file([group(CLEAN)], syntax=syntax)
    path = tmp_path / "ecg.dcm"
    if meta:
        path.write_bytes(content[132:])
    else:
        data = pydicom.dcmread(io.BytesIO(content))
        del data.file_meta, data.preamble
        implicit = syntax == ImplicitVRLittleEndian
        dcmwrite(path, data, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    bare = read_ecg(path)
    path.write_bytes(content)
    np.testing.assert_array_equal(bare.signal, read_ecg(path).signal)


def test_a_short_strip_names_the_limit(tmp_path):
    padded = {lead: values.copy() for lead, values in CLEAN.items()}
    for values in padded.values():
        values[2500:] = -32768
    item = encoded(padded, "SS", 16, "extended", padding=-32768)
    signal = read(tmp_path, item, EcgSettings(min_seconds=4)).signal
    assert signal.shape == (12, 5000)
    assert not np.diff(signal[:, 2500:]).any()
    assert reason(tmp_path, item)[0] == Reason.ECG_TOO_SHORT
