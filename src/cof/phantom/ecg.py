"""Synthesis of ECGs: a time-varying dipole in the chest, electrodes with noise, and a converter with 5 uV per count.

Each wave is a Gaussian in time along a fixed direction of the dipole (after McSharry et al., IEEE TBME 2003). The
surface leads are computed from the dipole by Dower's transform (J Electrocardiol 1980).
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfiltfilt

from cof.ecg.record import LEADS
from cof.phantom.latents import Latents

RATE_HZ = 500
SECONDS = 10
RESOLUTION_UV = 5

# Time from QRS onset to R peak; the times of the motion latents are counted from the R peak.
Q_TO_R_MS = 40.0
_NARROW_QRS_MS = 90.0

# Dower's matrix: rows I, II, V1 to V6, columns X (left), Y (down), Z (back).
DOWER = np.array(
    [
        [0.632, -0.235, 0.059], [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917], [0.044, 0.164, -1.387], [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601], [1.125, 0.127, -0.086], [0.831, 0.076, 0.230],
    ]
)  # fmt: skip

_FRONTAL = np.array([DOWER[0], 2 / np.sqrt(3) * (DOWER[1] - DOWER[0] / 2)])


@dataclass(frozen=True)
class Wave:
    """One Gaussian of the dipole: centre in ms after the R peak, widths of its flanks in ms, vector (x, y, z) in mV."""

    centre_ms: float
    rise_ms: float
    fall_ms: float
    vector: np.ndarray

    def at(self, ms: np.ndarray) -> np.ndarray:
        """Return the dipole [3, N] at the times `ms` after the R peak."""
        width = np.where(ms < self.centre_ms, self.rise_ms, self.fall_ms)
        return self.vector[:, None] * np.exp(-0.5 * ((ms - self.centre_ms) / width) ** 2)


@dataclass(frozen=True)
class Strip:
    """A synthetic rhythm strip.

    Attributes:
        counts: int16 [12, N], leads in the order of `cof.ecg.record.LEADS`, 5 uV per count.
        r_ms: times of the R peaks inside the strip, in ms after its first sample.
    """

    counts: np.ndarray
    r_ms: np.ndarray


def synthesise(latents: Latents, rng: np.random.Generator, rounded_apart: bool = False) -> Strip:
    """Synthesise ten seconds of resting 12-lead ECG at 500 Hz.

    Args:
        latents: the participant.
        rng: source of beat times and noise.
        rounded_apart: whether III, aVR, aVL and aVF are derived before rounding, as in older devices, so that
            Einthoven's law holds only to one count; otherwise they are derived from the rounded I and II.
    """
    beats = _beat_times(latents, rng)
    ms = np.arange(RATE_HZ * SECONDS) * (1000 / RATE_HZ)
    respiration_hz = rng.uniform(0.2, 0.33)
    waves = _waves(latents)
    dipole = np.zeros((3, len(ms)))
    for beat in beats:
        near = (ms > beat - 500) & (ms < beat + 800)
        depth = 1 + 0.05 * np.sin(2 * np.pi * respiration_hz * beat / 1000)
        for wave in waves:
            dipole[:, near] += depth * wave.at(ms[near] - beat)
    if latents.rhythm == "af":
        dipole += _fibrillation(ms, rng)
    leads = DOWER @ dipole + _electrode_noise(ms, respiration_hz, rng)
    counts = _to_counts(leads, rounded_apart)
    return Strip(counts, beats[(beats >= 0) & (beats < ms[-1])])


def _vector(frontal_mv: float, axis_deg: float, back_mv: float) -> np.ndarray:
    """Return the dipole that leads I and aVF show as `frontal_mv` at `axis_deg`, and whose Z is `back_mv`."""
    angle = np.deg2rad(axis_deg)
    target = frontal_mv * np.array([np.cos(angle), np.sin(angle)]) - _FRONTAL[:, 2] * back_mv
    x, y = np.linalg.solve(_FRONTAL[:, :2], target)
    return np.array([x, y, back_mv])


def _waves(latents: Latents) -> list[Wave]:
    """Return all waves of one beat."""
    strength = 0.55 if latents.low_voltage else 1.0
    waves = [_scaled(wave, strength * latents.ecg_gain) for wave in _qrs(latents)]
    waves += [_scaled(wave, strength * latents.ecg_gain**0.5) for wave in _repolarisation(latents)]
    if latents.rhythm == "sinus":
        waves += [_scaled(wave, strength**0.5) for wave in _p_wave(latents)]
    return waves


def _scaled(wave: Wave, factor: float) -> Wave:
    return Wave(wave.centre_ms, wave.rise_ms, wave.fall_ms, wave.vector * factor)


def _p_wave(latents: Latents) -> list[Wave]:
    """Return the waves of the right and the left atrium; a stiff ventricle enlarges the left one."""
    onset = -Q_TO_R_MS - latents.pr_ms
    # The delay of the AV node lies between P and QRS.
    duration = min(latents.p_duration_ms, latents.pr_ms - 25)
    width = 0.175 * duration
    left = 1.6 if latents.diastolic_dysfunction else 1.0
    return [
        Wave(onset + 0.36 * duration, width, width, _vector(0.09, 62, 0.0)),
        Wave(onset + 0.64 * duration, width, width, left * _vector(0.08, 40, 0.09)),
    ]


# The leads that show the territory of each coronary artery.
_TERRITORY = {"lad": ("V2", "V3", "V4"), "rca": ("II", "III", "aVF"), "lcx": ("I", "aVL", "V5", "V6")}


def _towards(territory: str) -> np.ndarray:
    """Return the dipole along the mean lead field of a territory whose leads show 1 mV on average."""
    field = _territory_field(territory)
    return field / (field @ field)


def _territory_field(territory: str) -> np.ndarray:
    """Return the row of Dower's matrix for the mean of a territory's leads."""
    return _twelve(DOWER)[[LEADS.index(lead) for lead in _TERRITORY[territory]]].mean(axis=0)


def _qrs(latents: Latents) -> list[Wave]:
    """Return the waves of septum, free wall and base; a bundle branch block delays the wave of its side."""
    axis, end = latents.axis_deg, latents.qrs_ms - Q_TO_R_MS
    if latents.conduction == "lbbb":
        late = 16.0
        # Slow conduction through the wall fills the time between the two peaks.
        middle = max(21.0, (end - 2.85 * late) / 2.6)
        waves = [
            Wave(0, 13.5, middle, _vector(0.80, axis, 1.30)),
            Wave(end - 2.85 * late, middle, late, _vector(0.70, axis - 15, 0.90)),
        ]
    else:
        narrow = end if latents.conduction in ("normal", "ivcd") else _NARROW_QRS_MS - Q_TO_R_MS
        stretch = narrow / (_NARROW_QRS_MS - Q_TO_R_MS)
        waves = [
            Wave(-22, 6.5, 9, _vector(0.13, axis + 150, -0.33)),
            Wave(0, 9.5, 9.0 * stretch**0.5, _vector(0.78, axis, 0.42)),
            Wave(25 * stretch, 10 * stretch, 10 * stretch, _vector(0.16, axis - 150, 0.30)),
        ]
        if latents.conduction == "rbbb":
            late = 13.0
            waves.append(Wave(end - 2.7 * late, late, late, _vector(0.28, 170, -0.6)))
    if latents.infarct != "none":
        waves = _with_infarct(waves, latents)
    return waves


def _with_infarct(waves: list[Wave], latents: Latents) -> list[Wave]:
    """Weaken the waves towards the infarcted territory, and add an initial dipole away from it (the Q wave)."""
    field, towards = _territory_field(latents.infarct), _towards(latents.infarct)
    weakened = []
    for wave in waves:
        loss = 1.0 if wave.centre_ms < -10 else 0.15 + latents.infarct_size
        vector = wave.vector - loss * max(float(field @ wave.vector), 0.0) * towards
        rise = min(wave.rise_ms, 7.5) if latents.conduction != "lbbb" else wave.rise_ms
        weakened.append(Wave(wave.centre_ms, rise, wave.fall_ms, vector))
    # With a left bundle branch block, activation starts on the right and hides most of a Q wave.
    depth = (0.1 + 1.2 * latents.infarct_size) * (0.3 if latents.conduction == "lbbb" else 1.0)
    # R stays the largest deflection, since the times of the motion are counted from it.
    tallest = max(np.linalg.norm(wave.vector) for wave in weakened)
    depth = min(depth, 0.6 * float(tallest / np.linalg.norm(towards)))
    return [*weakened, Wave(-19, 7.5, 8.5, -depth * towards)]


def _repolarisation(latents: Latents) -> list[Wave]:
    """Return the T wave, and the ST segment where it is not isoelectric."""
    fall = 36.0
    # A Gaussian's steepest tangent meets zero two standard deviations after its peak.
    peak = latents.qt_ms - Q_TO_R_MS - 2 * fall
    axis = 40 + 0.3 * (latents.axis_deg - 40)
    vector = _vector(0.24, axis, -0.20)
    st = None
    if latents.conduction == "lbbb":
        vector = _vector(0.26, latents.axis_deg + 180, -0.34)
        st = _vector(0.06, latents.axis_deg + 180, -0.10)
    elif latents.conduction == "rbbb":
        vector = _vector(0.24, 35, 0.12)
    if latents.infarct != "none" and latents.conduction != "lbbb":
        upright = float(_territory_field(latents.infarct) @ vector)
        vector = vector - (upright + 0.05 + 0.5 * latents.infarct_size) * _towards(latents.infarct)
    if latents.strain:
        vector = np.array([-0.25, 0.5 * vector[1], -0.25])
        st = np.array([-0.11, 0.0, -0.06])
    # The T wave begins at the end of the QRS complex, however late that is.
    room = peak - (latents.qrs_ms - Q_TO_R_MS)
    waves = [Wave(peak, min(52.0, room / 2.7), fall, vector)]
    if st is not None:
        waves.append(Wave(peak - 0.45 * room, 0.18 * room, 0.25 * room, st))
    return waves


def _beat_times(latents: Latents, rng: np.random.Generator) -> np.ndarray:
    """Draw the R peaks in ms, from one second before the strip to one second after its end."""
    mean = 60000 / latents.hr_ecg_bpm
    count = int((SECONDS + 2) * 1000 / mean * 1.4) + 4
    if latents.rhythm == "af":
        rr = mean * np.exp(rng.normal(0, latents.rr_cv, count) - latents.rr_cv**2 / 2)
    else:
        breath = np.sqrt(1.2) * np.sin(2 * np.pi * 0.25 * np.arange(count) * mean / 1000 + rng.uniform(0, 2 * np.pi))
        rr = mean * (1 + latents.rr_cv * (breath + np.sqrt(0.4) * rng.normal(size=count)))
    # A ventricle cannot be excited again before it has repolarised.
    rr = np.maximum(rr, 0.95 * latents.qt_ms)
    times = -1000 + rng.uniform(0, mean) + np.concatenate([[0.0], np.cumsum(rr)])
    return times[times < (SECONDS + 1) * 1000]


def _fibrillation(ms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw fibrillatory waves [3, N], largest in V1."""
    rates = rng.uniform(5.0, 7.5, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    wave = sum(np.sin(2 * np.pi * rate * ms / 1000 + phase) for rate, phase in zip(rates, phases))
    return 0.018 * np.array([-0.6, 0.5, -1.0])[:, None] * wave


def _electrode_noise(ms: np.ndarray, respiration_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Draw baseline wander, muscle noise and mains of nine electrodes, as seen in the eight leads [8, N] mV."""
    seconds = ms / 1000
    wander = (
        0.05 * rng.uniform(0.2, 1.0, (9, 1)) * np.sin(2 * np.pi * respiration_hz * seconds + rng.uniform(0, 6, (9, 1)))
    )
    drift = 0.03 * rng.normal(size=(9, 1)) * np.sin(2 * np.pi * 0.07 * seconds + rng.uniform(0, 6, (9, 1)))
    muscle = butter(2, (20, 150), "bandpass", fs=RATE_HZ, output="sos")
    emg = sosfiltfilt(muscle, rng.normal(size=(9, len(ms))), axis=1)
    emg *= rng.uniform(0.007, 0.014) / emg.std()
    mains = 0.005 * rng.uniform(0, 0.7, (9, 1)) * np.sin(2 * np.pi * 50 * seconds + rng.uniform(0, 6))
    right, left, foot, *chest = wander + drift + emg + mains
    terminal = (right + left + foot) / 3
    return np.stack([left - right, foot - right, *(lead - terminal for lead in chest)])


def _to_counts(leads: np.ndarray, rounded_apart: bool) -> np.ndarray:
    """Convert eight leads in mV [8, N] to the counts of twelve leads, int16 [12, N]."""
    exact = leads * 1000 / RESOLUTION_UV
    return np.rint(_twelve(exact if rounded_apart else np.rint(exact))).astype(np.int16)


def _twelve(leads: np.ndarray) -> np.ndarray:
    """Insert III, aVR, aVL and aVF between the leads I, II and V1 to V6 along the first axis."""
    one, two = leads[0], leads[1]
    return np.concatenate([[one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2], leads[2:]])
