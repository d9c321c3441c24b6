"""Measures of the ECG: how alike the beats of a strip are, and whether the scan saw the heart at the same rate."""

import neurokit2
import numpy as np

from cof.ecg.peaks import find_r_peaks

# Below it a lead is of bad quality (Orphanidou et al., IEEE J Biomed Health Inform 19:832, 2015).
NOISY_LEAD = 0.66
_FEWEST = 3
_BAND_HZ = (0.5, 40.0)


def lead_quality(signal: np.ndarray, rate_hz: float, device_rate_bpm: float | None = None) -> np.ndarray:
    """Quality of every lead: the mean correlation of its beats with their mean beat, by NeuroKit2.

    It is the template matching of Orphanidou et al. (IEEE J Biomed Health Inform 19:832, 2015). The R peaks are those
    of all leads together.

    Args:
        signal: [12, N] mV, leads in the order of `cof.ecg.record.LEADS`.
        rate_hz: sampling rate.
        device_rate_bpm: ventricular rate of the device, where the file has one.

    Returns:
        [12], at most 1; 0 for a lead without any variation.

    Raises:
        CofError: no beats are found (`cof.ecg.peaks.find_r_peaks`).
    """
    rate = round(rate_hz)
    # NeuroKit2's own cleaning of ECGs is of order 5, which rings for seconds after the ends of a strip.
    clean = np.stack(
        [
            neurokit2.signal_filter(lead, sampling_rate=rate, lowcut=_BAND_HZ[0], highcut=_BAND_HZ[1], order=2)
            for lead in signal.astype(float)
        ]
    )
    peaks = find_r_peaks(clean, rate_hz, device_rate_bpm)
    # A beat that the strip's ends cut is unlike the others for that alone.
    typical = np.median(np.diff(peaks))
    whole = peaks[(peaks >= typical) & (peaks <= clean.shape[1] - typical)]
    peaks = whole if len(whole) >= _FEWEST else peaks
    quality = np.zeros(len(clean))
    for index in np.flatnonzero(np.ptp(clean, axis=1) > 0):
        beats = neurokit2.ecg_quality(clean[index], rpeaks=peaks, sampling_rate=rate, method="templatematch")
        quality[index] = np.nanmean(beats)
    return quality


def rate_mismatch_bpm(rr_ecg_ms: float, rr_scan_ms: float) -> float:
    """Difference of the heart rates of the chosen ECG cycle and of the scan, beats a minute; NaN if one is unknown."""
    return abs(60_000 / rr_ecg_ms - 60_000 / rr_scan_ms)
