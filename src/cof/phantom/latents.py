"""What nature knows about one synthetic participant: the common cause of its ECG and of its motion."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Latents:
    """The latent state from which ECG, anatomy and motion are drawn. Times are ms after the R peak unless said.

    Attributes:
        participant: raw name, for example sub-0001.
        sex, age_y, height_cm, weight_kg, bsa_m2: demographics.
        hr_ecg_bpm, hr_cmr_bpm: heart rate during the ECG and during the scan.
        rr_cv: coefficient of variation of RR intervals in the ECG.
        rhythm: sinus or atrial fibrillation (no P wave, no atrial kick).
        conduction: ventricular conduction.
        pr_ms, p_duration_ms, qrs_ms, qt_ms: intervals of the ECG at its own heart rate.
        axis_deg: frontal QRS axis.
        infarct: coronary territory, with `infarct_size` as a share of the LV wall.
        mass_z: LV mass in SDs for the sex; `lvh` and `strain` follow from it.
        ecg_gain: QRS amplitude factor (mass, body mass index and an unexplained residual).
        low_voltage, septal_flash, diastolic_dysfunction: as named.
        t_ejection_ms, t_es_ms: onset of ejection, end systole, during the scan.
        t_e_ms, e_ms: onset and duration of early filling; t_a_ms, a_ms: of the atrial kick; f_a: its share of SV.
        edv_ml, ef_pct, lvm_g, length_mm: left ventricle.
        rvedv_ml, rvef_pct: right ventricle.
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
        """RR interval during the scan."""
        return 60000 / self.hr_cmr_bpm

    def to_dict(self) -> dict[str, Any]:
        """All latents as plain values."""
        return asdict(self)
