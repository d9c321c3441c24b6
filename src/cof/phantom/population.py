"""Sampling of synthetic participants: couplings between ECG, anatomy and motion, and the residuals that blur them.

Sources of the numbers: QT and electromechanical systole against heart rate, Chest 1981;80:613; LV mass index and
ejection fraction, Petersen et al., J Cardiovasc Magn Reson 2017;19:18; early and atrial filling against rate, Chung et
al., Am J Physiol 2004; septal flash in left bundle branch block, Revah et al.; ventricular volumes and ECG intervals,
the UK Biobank constants that `cof.phantom.card` prints with the synthetic ones.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cof.phantom.latents import Latents
from cof.phantom.seeds import stream

Arm = Literal["population", "enriched"]

# Time from QRS onset to R peak: mechanics are timed from the R peak, systolic intervals from QRS onset.
Q_TO_R_MS = 40.0
# At the same rate, automatic QT intervals of UK Biobank exceed the manual ones of 1981 by this.
QT_OFFSET_MS = 21.0


@dataclass(frozen=True)
class Prevalence:
    """Shares of participants with a finding."""

    infarct: float
    lbbb: float
    rbbb: float
    ivcd: float
    lvh: float
    af: float
    effusion: float = 0.01


PREVALENCE: dict[Arm, Prevalence] = {
    "population": Prevalence(infarct=0.05, lbbb=0.01, rbbb=0.03, ivcd=0.01, lvh=0.07, af=0.02),
    "enriched": Prevalence(infarct=0.20, lbbb=0.15, rbbb=0.10, ivcd=0.01, lvh=0.20, af=0.05),
}


@dataclass(frozen=True)
class Norms:
    """Means and SDs of one sex; QT and QS2 are intercept and slope against heart rate."""

    height_cm: tuple[float, float]
    bmi: tuple[float, float]
    edv_index: tuple[float, float]
    mass_index: tuple[float, float]
    ef_pct: float
    rvef_pct: float
    qt_ms: tuple[float, float]
    qs2_ms: tuple[float, float]
    length_mm: float
    edv_ml: float


NORMS: dict[Literal["M", "F"], Norms] = {
    "M": Norms(
        height_cm=(176.0, 6.6),
        bmi=(27.3, 4.0),
        edv_index=(82.5, 12.5),
        mass_index=(52.3, 8.7),
        ef_pct=58.4,
        rvef_pct=54.6,
        qt_ms=(529.0, -2.1),
        qs2_ms=(541.0, -2.2),
        length_mm=92.0,
        edv_ml=166.0,
    ),
    "F": Norms(
        height_cm=(162.6, 6.3),
        bmi=(26.0, 4.8),
        edv_index=(70.5, 10.0),
        mass_index=(41.5, 6.8),
        ef_pct=61.4,
        rvef_pct=58.6,
        qt_ms=(511.0, -1.9),
        qs2_ms=(540.0, -2.0),
        length_mm=84.0,
        edv_ml=124.0,
    ),
}


def _clip(value: float, low: float, high: float) -> float:
    """Clip a scalar to bounds (many times faster than an array function)."""
    return float(min(max(value, low), high))


def _normal(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """Draw from a normal distribution and clip to plausible values."""
    return _clip(rng.normal(mean, sd), low, high)


def sample(participant: str, seed: int, arm: Arm = "population") -> Latents:
    """Draw the latent state of one participant; the same name, seed and arm give the same state.

    The ejection fraction depends on sex, QRS duration, bundle branch block, infarct size, mass, heart rate, rhythm, QT
    residual, diastolic function and cavity size, plus a residual with an SD of 4.2 points that neither ECG nor anchor
    shows.
    """
    rng = stream(seed, participant, f"latents/{arm}")
    share = PREVALENCE[arm]
    sex: Literal["M", "F"] = "M" if rng.random() < 0.5 else "F"
    norms = NORMS[sex]
    age = _normal(rng, 63.4, 7.6, 45, 82)
    height = _normal(rng, *norms.height_cm, 145, 205)
    relative_sd = norms.bmi[1] / norms.bmi[0]
    bmi = _clip(norms.bmi[0] * np.exp(rng.normal(-(relative_sd**2) / 2, relative_sd)), 17, 48)
    weight = bmi * (height / 100) ** 2
    bsa = float(np.sqrt(height * weight / 3600))

    rhythm: Literal["sinus", "af"] = "af" if rng.random() < share.af else "sinus"
    hr_ecg = _normal(rng, 59.3 + (12 if rhythm == "af" else 0), 10.6, 42, 105)
    hr_cmr = _clip(hr_ecg + rng.normal(0, 4), 40, 110)
    rr_cv = 0.15 if rhythm == "af" else float(rng.uniform(0.03, 0.05))

    draw = rng.random()
    conduction: Literal["normal", "lbbb", "rbbb", "ivcd"] = "normal"
    qrs = _normal(rng, 87.5 + (2.5 if sex == "M" else -2.5), 7.0, 68, 112)
    for name, prevalence, mean, sd in (
        ("lbbb", share.lbbb, 148, 12),
        ("rbbb", share.rbbb, 135, 10),
        ("ivcd", share.ivcd, 117, 5),
    ):
        wide = _normal(rng, mean, sd, 112 if name == "ivcd" else 121, 180)
        if conduction == "normal" and 0 <= draw < prevalence:
            conduction, qrs = name, wide  # type: ignore[assignment]
        draw -= prevalence

    has_infarct = rng.random() < share.infarct
    territory: Literal["none", "lad", "rca", "lcx"] = rng.choice(["lad", "rca", "lcx"], p=[0.5, 0.3, 0.2])
    infarct_size = float(rng.uniform(0.05, 0.3)) if has_infarct else 0.0
    infarct = str(territory) if has_infarct else "none"

    lvh = bool(rng.random() < share.lvh)
    edv_z, mass_own, excess = rng.normal(), rng.normal(), rng.uniform(1.2, 2.6)
    mass_z = 0.5 * edv_z + np.sqrt(1 - 0.5**2) * mass_own + (excess if lvh else 0.0)
    strain = bool(lvh and mass_z > 2)
    edv = bsa * (norms.edv_index[0] + norms.edv_index[1] * edv_z) - 0.25 * (hr_ecg - 60) + 60 * infarct_size
    edv = _clip(edv, 65, 320)
    lvm = _clip(bsa * (norms.mass_index[0] + norms.mass_index[1] * mass_z), 38, 260)

    dysfunction = bool(rng.random() < _clip(0.15 + 0.012 * (age - 63) + (0.3 if lvh else 0), 0.02, 0.9))
    d_qt = rng.normal(0, 18)
    widening = max(qrs - 90, 0.0)
    repolarisation = d_qt + 0.5 * widening + (13 if dysfunction else 0)
    qt = norms.qt_ms[0] + norms.qt_ms[1] * hr_ecg + QT_OFFSET_MS + repolarisation
    pr = _normal(rng, 163 + (15 if dysfunction else 0), 25, 105, 270)
    p_duration = _clip(96 + 0.3 * (pr - 165) + rng.normal(0, 16), 60, min(150, pr - 15))
    axis = 27 - 4 * (bmi - 26.6) / 4.5 - 0.6 * (age - 63) + rng.normal(0, 34) - (30 if conduction == "lbbb" else 0)

    qs2 = norms.qs2_ms[0] + norms.qs2_ms[1] * hr_cmr + 0.6 * d_qt + 0.5 * (qrs - 90) + rng.normal(0, 10)
    rr = 60000 / hr_cmr
    t_es = qs2 - Q_TO_R_MS
    ivrt = _normal(rng, 108, 17, 70, 160) if dysfunction else _normal(rng, 85, 15, 55, 130)
    t_e = t_es + ivrt + (20 if strain else 0)
    # The atrial kick starts 60 ms after the P onset of the next beat and ends at or before its R peak, so that
    # end diastole stays at frame 0.
    a_ms = _clip(pr - 20, 90, 140)
    t_a = rr - pr - Q_TO_R_MS + 60
    t_a = min(t_a, rr - a_ms)
    e_ms = _normal(rng, 230, 15, 190, 270)
    if rhythm == "sinus":
        e_ms = min(e_ms, max(t_a - t_e, 120.0))
    e_ms = min(e_ms, rr - t_e)
    f_a = 0.25 + 0.006 * (age - 60) + (0.08 if dysfunction else 0) + (0.05 if strain else 0) + rng.normal(0, 0.05)
    f_a = 0.0 if rhythm == "af" else _clip(f_a, 0.1, 0.5)

    ef = (
        norms.ef_pct
        - 0.06 * (min(qrs, 120) - 88)
        - (7 if conduction == "lbbb" else 0)
        - 60 * infarct_size
        - 0.6 * max(mass_z - 1, 0)
        - 0.8 * edv_z
        + 0.3 * (hr_ecg - 60) / 10
        - 0.02 * d_qt
        - (0.8 if dysfunction else 0)
        - (4 if rhythm == "af" else 0)
        + rng.normal(0, 4.2)
        + 0.8
    )
    ef = _clip(ef, 22, 76)
    rvef = _clip(norms.rvef_pct + 0.75 * (ef - norms.ef_pct) + rng.normal(0, 4.2), 28, 74)
    stroke = edv * ef / 100
    rvedv = float(stroke * _clip(rng.normal(1, 0.04), 0.88, 1.12) * 100 / rvef)

    effusion = rng.random() < share.effusion
    # The residual is larger than the couplings, so that voltage predicts mass as poorly as in real people.
    gain = float(np.exp(0.12 * mass_z - 0.10 * (bmi - 26.65) / 4.5 + rng.normal(0, 0.27)))
    length = norms.length_mm * (edv / norms.edv_ml) ** 0.3 + rng.normal(0, 3)
    flash = bool(conduction == "lbbb" and rng.random() < 0.79)
    return Latents(
        participant=participant,
        sex=sex,
        age_y=age,
        height_cm=height,
        weight_kg=weight,
        bsa_m2=bsa,
        hr_ecg_bpm=hr_ecg,
        hr_cmr_bpm=hr_cmr,
        rr_cv=rr_cv,
        rhythm=rhythm,
        conduction=conduction,
        pr_ms=pr,
        p_duration_ms=p_duration,
        qrs_ms=qrs,
        qt_ms=float(qt),
        axis_deg=_clip(axis, -85, 125),
        infarct=infarct,  # type: ignore[arg-type]
        infarct_size=infarct_size,
        mass_z=float(mass_z),
        lvh=lvh,
        strain=strain,
        ecg_gain=gain,
        low_voltage=bool(bmi > 33 or effusion),
        septal_flash=flash,
        diastolic_dysfunction=dysfunction,
        t_ejection_ms=45 + 0.5 * widening,
        t_es_ms=float(t_es),
        t_e_ms=float(t_e),
        e_ms=float(e_ms),
        t_a_ms=float(t_a),
        a_ms=a_ms,
        f_a=f_a,
        edv_ml=edv,
        ef_pct=ef,
        lvm_g=lvm,
        length_mm=_clip(length, 62, 125),
        rvedv_ml=_clip(rvedv, 60, 360),
        rvef_pct=rvef,
    )
