"""Measures of the ECG: similarity of the beats of a strip, and difference from the heart rate of the scan."""

import neurokit2
import numpy as np

from cof.ecg.peaks import find_r_peaks

# A lead below this is of bad quality (Orphanidou et al., IEEE J Biomed Health Inform 19:832, 2015).
NOISY_LEAD = 0.66
_FEWEST = 3
_BAND_HZ = (0.5, 40.0)


def lead_quality(signal: np.ndarray, rate_hz: float, device_rate_bpm: float | None = None) -> np.ndarray:
    """Measure the quality of every lead: the mean correlation of its beats with their mean beat, by NeuroKit2.

    This is the template matching of Orphanidou et al. (IEEE J Biomed Health Inform 19:832, 2015). The R peaks are found
    on all leads together.

    Args:
        signal: [12, N] mV, leads in the order of `cof.ecg.record.LEADS`.
        rate_hz: sampling rate.
        device_rate_bpm: ventricular rate that the device measured; None where the file has none.

    Returns:
        Quality [12], at most 1; 0 for a lead without any variation.

    Raises:
        CofError: no beats are found (`cof.ecg.peaks.find_r_peaks`).
    """
    rate = round(rate_hz)
    # NeuroKit2's own cleaning filter has order 5, which rings for seconds at the ends of a strip.
    clean = np.stack(
        [
            neurokit2.signal_filter(lead, sampling_rate=rate, lowcut=_BAND_HZ[0], highcut=_BAND_HZ[1], order=2)
            for lead in signal.astype(float)
        ]
    )
    peaks = find_r_peaks(clean, rate_hz, device_rate_bpm)
    # A beat that is cut by an end of the strip would differ from the others only for that.
    typical = np.median(np.diff(peaks))
    whole = peaks[(peaks >= typical) & (peaks <= clean.shape[1] - typical)]
    peaks = whole if len(whole) >= _FEWEST else peaks
    quality = np.zeros(len(clean))
    for index in np.flatnonzero(np.ptp(clean, axis=1) > 0):
        beats = neurokit2.ecg_quality(clean[index], rpeaks=peaks, sampling_rate=rate, method="templatematch")
        quality[index] = np.nanmean(beats)
    return quality


def rate_mismatch_bpm(rr_ecg_ms: float, rr_scan_ms: float) -> float:
    """Return the absolute difference of the heart rates of ECG and scan, in beats per minute; NaN if one is unknown."""
    return abs(60_000 / rr_ecg_ms - 60_000 / rr_scan_ms)
