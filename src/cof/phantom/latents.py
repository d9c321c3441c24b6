"""The latent state of one synthetic participant: the common cause of its ECG and its motion."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Latents:
    """The latent state from which ECG, anatomy and motion are drawn. Times are in ms after the R peak unless noted.

    Attributes:
        participant: raw name, for example sub-0001.
        sex, age_y, height_cm, weight_kg, bsa_m2: demographics.
        hr_ecg_bpm, hr_cmr_bpm: heart rate during the ECG and during the scan.
        rr_cv: coefficient of variation of RR intervals in the ECG.
        rhythm: sinus or atrial fibrillation (no P wave, no atrial kick).
        conduction: ventricular conduction.
        pr_ms, p_duration_ms, qrs_ms, qt_ms: intervals of the ECG at its own heart rate.
        axis_deg: frontal QRS axis.
        infarct, infarct_size: coronary territory of an infarct, and its share of the LV wall.
        mass_z: LV mass in SDs from the mean of the sex.
        lvh, strain: LV hypertrophy, which raises `mass_z`; its strain pattern in the ECG, where `mass_z` is above 2.
        ecg_gain: factor of the QRS amplitude (by mass, body mass index and an unexplained residual).
        low_voltage, septal_flash, diastolic_dysfunction: whether the participant has this finding.
        t_ejection_ms, t_es_ms: onset of ejection and end systole, during the scan.
        t_e_ms, e_ms: onset and duration of early filling.
        t_a_ms, a_ms, f_a: onset and duration of the atrial kick, and its share of the stroke volume.
        edv_ml, ef_pct, lvm_g, length_mm: end-diastolic volume, ejection fraction, mass and length of the LV.
        rvedv_ml, rvef_pct: end-diastolic volume and ejection fraction of the RV.
    """

    participant: str
    sex: Literal["M", "F"]
    age_y: float
    height_cm: float
    weight_kg: float
    bsa_m2: float
    hr_ecg_bpm: float
    hr_cmr_bpm: float
    rr_cv: float
    rhythm: Literal["sinus", "af"]
    conduction: Literal["normal", "lbbb", "rbbb", "ivcd"]
    pr_ms: float
    p_duration_ms: float
    qrs_ms: float
    qt_ms: float
    axis_deg: float
    infarct: Literal["none", "lad", "rca", "lcx"]
    infarct_size: float
    mass_z: float
    lvh: bool
    strain: bool
    ecg_gain: float
    low_voltage: bool
    septal_flash: bool
    diastolic_dysfunction: bool
    t_ejection_ms: float
    t_es_ms: float
    t_e_ms: float
    e_ms: float
    t_a_ms: float
    a_ms: float
    f_a: float
    edv_ml: float
    ef_pct: float
    lvm_g: float
    length_mm: float
    rvedv_ml: float
    rvef_pct: float

    @property
    def bmi(self) -> float:
        """Body mass index in kg/m2."""
        return self.weight_kg / (self.height_cm / 100) ** 2

    @property
    def rr_cmr_ms(self) -> float:
        """RR interval during the scan, ms."""
        return 60000 / self.hr_cmr_bpm

    def to_dict(self) -> dict[str, Any]:
        """Return all latents as plain values."""
        return asdict(self)
