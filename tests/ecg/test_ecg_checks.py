import numpy as np
import pytest

from cof.config.data import EcgSettings
from cof.ecg.checks import check
from cof.ecg.record import LEADS, Ecg
from cof.errors import CofError, Reason
from cof.phantom.ecg import synthesise
from cof.phantom.seeds import stream

SETTINGS = EcgSettings()
LSB = 0.005


@pytest.fixture
def signal(make_latents):
    """A strip that obeys the laws of the limb leads to half a count, mV."""
    return synthesise(make_latents(), stream(3, "sub-0001", "truth")).counts * LSB


def checked(signal, recorded=LEADS, rate=500.0, **settings):
    ecg = Ecg(signal.astype(np.float32), rate, recorded=recorded, lsb_mv=LSB)
    return check(ecg, SETTINGS.model_copy(update=settings))


def lead(name):
    return LEADS.index(name)


def test_a_good_strip_is_without_findings(signal):
    found = checked(signal)
    assert found.einthoven_lsb == pytest.approx(0, abs=1e-2)
    assert found.goldberger_lsb == pytest.approx(0.5, abs=1e-2)
    assert found.limb_leads_consistent
    assert (found.flat_share, found.flat_leads, found.clipped_share, found.clipped_leads) == (0, (), 0, ())


@pytest.mark.parametrize(("name", "law"), [("III", "einthoven_lsb"), ("aVL", "goldberger_lsb")])
def test_limb_leads_are_compared_in_counts(signal, name, law):
    signal[lead(name), 17] += 2 * LSB
    assert checked(signal).limb_leads_consistent
    signal[lead(name), 17] += 5 * LSB
    found = checked(signal)
    assert getattr(found, law) == pytest.approx(7, abs=0.51)
    assert not found.limb_leads_consistent
    assert checked(signal, einthoven_tolerance_lsb=8).limb_leads_consistent


def test_derived_leads_are_not_compared_with_themselves(signal):
    signal[lead("III")] += 3
    found = checked(signal, recorded=tuple(name for name in LEADS if name not in ("III", "aVR", "aVL", "aVF")))
    assert np.isnan(found.einthoven_lsb)
    assert np.isnan(found.goldberger_lsb)
    assert found.limb_leads_consistent


def test_leads_in_the_wrong_place_are_refused(signal):
    signal[[lead("II"), lead("III")]] = signal[[lead("III"), lead("II")]]
    with pytest.raises(CofError, match="contradicts") as caught:
        checked(signal)
    assert caught.value.reason == Reason.ECG_POOR_QUALITY


def test_a_lead_that_falls_off_is_told_and_refused_when_it_is_off_for_long(signal):
    signal[lead("V3"), 4000:] = signal[lead("V3"), 4000]
    found = checked(signal)
    assert found.flat_leads == ("V3",)
    assert found.flat_share == pytest.approx(0.2)
    signal[lead("V3"), 2000:] = 0.4
    with pytest.raises(CofError, match="V3 is flat over 60 %") as caught:
        checked(signal)
    assert caught.value.reason == Reason.ECG_POOR_QUALITY
    assert checked(signal, max_flat=0.7).flat_share == pytest.approx(0.6)


def test_a_flat_lead_that_follows_from_others_is_told_but_not_refused(signal):
    signal[lead("II")] = signal[lead("I")]
    signal[lead("III")] = 0
    signal[lead("aVR")], signal[lead("aVL")] = -signal[lead("I")], signal[lead("I")] / 2
    signal[lead("aVF")] = signal[lead("II")] / 2
    assert checked(signal).flat_leads == ("III",)


@pytest.mark.parametrize("rate", [250, 500, 1000])
def test_peaks_cut_off_at_the_end_of_the_range_are_clipped(signal, rate):
    """Every R wave of V5 is cut at 60 % of its height; no natural wave, however flat its top, is taken for that."""
    samples = np.arange(0, 5000, 500 / rate)
    signal = np.stack([np.interp(samples, np.arange(5000), row) for row in signal])
    assert checked(signal, rate=float(rate)).clipped_leads == ()
    signal[lead("V5")] = np.minimum(signal[lead("V5")], 0.6 * signal[lead("V5")].max())
    found = checked(signal, rate=float(rate))
    assert found.clipped_leads == ("V5",)
    assert 0.005 < found.clipped_share < 0.05
    with pytest.raises(CofError, match="V5 is clipped"):
        checked(signal, rate=float(rate), max_clipped=0.005)


def test_a_lead_that_drifts_into_the_end_of_its_range_is_clipped(signal):
    signal[lead("V2")] = np.minimum(signal[lead("V2")] + np.linspace(0, 6, 5000), 5.8)
    found = checked(signal)
    assert found.clipped_leads == ("V2",)
    assert found.clipped_share > 0.01


def test_synthetic_hearts_of_all_kinds_are_neither_flat_nor_clipped(make_latents):
    kinds = [{"hr_ecg_bpm": 42.0}, {"low_voltage": True}, {"conduction": "lbbb", "qrs_ms": 150.0}, {"strain": True}]
    for index, changes in enumerate(kinds):
        found = checked(synthesise(make_latents(**changes), stream(index, "sub-0001", "truth")).counts * LSB)
        assert (found.flat_leads, found.clipped_leads) == ((), ())
