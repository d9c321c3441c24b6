"""Writer of synthetic ECGs as GE CardioSoft exports like UK Biobank's (field 20205), including the byte layout."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from cof.ecg.delineate import INDEPENDENT
from cof.ecg.record import LEADS
from cof.phantom.device import MEDIAN_SAMPLES, Measurements, interpret, measure
from cof.phantom.ecg import DOWER, RATE_HZ, RESOLUTION_UV, Strip, synthesise
from cof.phantom.latents import Latents
from cof.phantom.seeds import stream

# Share of files from the older software (V6.51), which has other spellings and line ends.
_OLDER_SHARE = 0.2
_LABEL_NOISE = 0.05
_FIRST_LINE, _LINE = 301, 300


def write_ecg(path: Path, latents: Latents, seed: int) -> None:
    """Write the resting ECG of `latents` to `path`; the same latents and seed give the same bytes."""
    rng = stream(seed, latents.participant, "ecg")
    older = rng.random() < _OLDER_SHARE
    strip = synthesise(latents, rng, rounded_apart=older)
    measured = measure(strip, rng)
    statements = interpret(measured, latents.sex, _LABEL_NOISE, rng)
    lines = [
        f'<?xml version="1.0" encoding="{"ISO8859-1" if older else "ISO-8859-1"}" ?>',
        *_element("CardiologyXML", _document(latents, strip, measured, statements, older, rng)),
        "",
    ]
    end = "\n" if older else "\r\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).replace("\n", end).encode("latin-1"))


def _document(
    latents: Latents, strip: Strip, measured: Measurements, statements: list[str], older: bool, rng: np.random.Generator
) -> list[str]:
    """Return the children of the root element, in the order of the export."""
    version, analysis, device = ("V6.51", "", "CASE Client") if older else ("V6.73", "12SL V21", "CardioSoft")
    year = int(rng.integers(2014, 2020))
    date = {"Hour": int(rng.integers(8, 18)), "Minute": int(rng.integers(60)), "Second": int(rng.integers(60))}
    date |= {"Day": int(rng.integers(1, 29)), "Month": int(rng.integers(1, 13)), "Year": year}
    person = _leaves({"FamilyName": "", "GivenName": "", "PersonID": ""})
    texts = _leaves(("DiagnosisText", statement) for statement in statements)
    return [
        *_leaves({"ObservationType": "RestECG"}),
        *_element("ObservationDateTime", _leaves(date)),
        *_element(
            "ClinicalInfo",
            [
                *_leaves({"ReasonForStudy": ""}),
                *_element("Technician", person),
                *_leaves({"ObservationComment": ""}),
                *_element("DeviceInfo", _leaves({"Desc": device, "SoftwareVer": version, "AnalysisVer": analysis})),
            ],
        ),
        *_visit(person),
        *_patient(latents, year),
        *_element(
            "FilterSetting",
            [
                *_leaves({"CubicSpline": "No", "Filter50Hz": "No", "Filter60Hz": "No"}),
                *_leaves({"LowPass": 150}, "Hz"),
                *_leaves({"HighPass": 0.05 if older else 0.01}, "Hz"),
            ],
        ),
        *_leaves({"Device-Type": -1} if older else {}),
        *_element(
            "Interpretation",
            [
                *_element("Diagnosis", texts),
                *([] if older else _element("Conclusion", [line.replace("Diagnosis", "Conclusion") for line in texts])),
            ],
        ),
        *_element("RestingECGMeasurements", _measurements(measured, len(strip.r_ms))),
        *_element("VectorLoops", _vector_loops(measured), ' Creation="Inverse Dower"'),
        *_element("StripData", _strip_data(strip)),
    ]


def _visit(person: list[str]) -> list[str]:
    pressure = _leaves({"SysBP": 0, "DiaBP": 0}, "mmHg")
    question = ['<Label Type="Text"></Label>', "<Content></Content>"]
    return _element(
        "PatientVisit",
        [
            *_leaves({"PatientClass": "O"}),
            *_element("AssignedPatientLocation", _leaves({"Facility": "", "LocationNumber": "", "LocationName": ""})),
            *_leaves({"PatientRoom": "", "AdmissionType": "ROUT"}),
            *_element("OrderingProvider", person),
            *_element("AttendingDoctor", person),
            *_element("ReferringDoctor", person),
            *_element(
                "ServicingFacility",
                [*_leaves({"Name": ""}), *_element("Address", _leaves({"Street1": "", "City": ""}))],
            ),
            *pressure,
            *_element("MedicalHistory", _leaves({"MedicalHistoryText": ""})),
            *_leaves({"OrderNumber": ""}),
            *_element("Medications", _leaves({"Drug": "", "Dosage": ""})),
            *_element("ExtraQuestions", question + question),
        ],
    )


def _patient(latents: Latents, year: int) -> list[str]:
    return _element(
        "PatientInfo",
        [
            *_leaves({"PID": latents.participant}),
            *_element("Name", _leaves({"FamilyName": "", "GivenName": latents.participant})),
            *_leaves({"Age": int(latents.age_y)}, "YEARS"),
            *_element("BirthDateTime", _leaves({"Day": 1, "Month": 1, "Year": year - int(latents.age_y)})),
            *_leaves({"Gender": "MALE" if latents.sex == "M" else "FEMALE", "Race": "UNKNOWN"}),
            *_leaves({"Height": round(latents.height_cm)}, "CENTIMETERS"),
            *_leaves({"Weight": round(latents.weight_kg, 1)}, "KILOGRAMS"),
            *_leaves({"PaceMaker": "no"}),
        ],
    )


def _measurements(measured: Measurements, beats: int) -> list[str]:
    marks = measured.landmarks
    onsets = {"POnset": marks.p_on, "POffset": marks.p_off, "QOnset": marks.q_on, "QOffset": marks.q_off}
    onsets["TOffset"] = marks.t_off
    ms = {name: None if sample is None else sample * 1000 // RATE_HZ for name, sample in onsets.items()}
    intervals = {
        "PQInterval": measured.pq_ms, "PDuration": measured.p_duration_ms, "QRSDuration": measured.qrs_ms,
        "QTInterval": measured.qt_ms, "QTCInterval": measured.qtc_ms, "RRInterval": measured.rr_ms,
        "PPInterval": None if measured.pq_ms is None else measured.rr_ms,
    }  # fmt: skip
    axes = {"PAxis": measured.p_axis_deg, "RAxis": measured.r_axis_deg, "TAxis": measured.t_axis_deg}
    return [
        *_leaves({"VentricularRate": measured.rate_bpm}, "BPM"),
        *_leaves(intervals, "ms"),
        *_leaves({"SokolovLVHIndex": f"{measured.sokolow_mv:.2f}"}, "mV"),
        *_leaves(axes, "degrees"),
        *_leaves({"QTDispersion": None, "QTDispersionBazett": None}, "ms"),
        *_leaves({"QRSNum": beats}),
        *_element("MeasurementTable", _table(measured), ' Creation="12SL"'),
        *_leaves(ms, "ms"),
        *_element(
            "MedianSamples",
            [
                *_sampling(MEDIAN_SAMPLES),
                *_leaves({"FirstValid": 0, "LastValid": MEDIAN_SAMPLES - 1}, "Sample"),
                *_waveforms(measured.median, indent=3),
            ],
        ),
    ]


def _table(measured: Measurements) -> list[str]:
    absent: list[int | None] = [None] * len(LEADS)

    def row(name: str, values: list[int | None], unit: str) -> str:
        text = ", ".join("" if value is None else str(value) for value in values)
        return f'<{name} units="{unit}">{text}</{name}>'

    durations = [row(f"{name}Duration", measured.duration_ms[name], "ms") for name in ("Q", "R", "S", "Rp")]
    waves = ("P", "Q", "R", "S", "R1", "S1", "J", "JX", "T")
    amplitudes = [row(f"{name}Amplitude", measured.amplitude_uv[name], "uV") for name in waves]
    return [
        f"<LeadOrder>{', '.join(LEADS)}</LeadOrder>",
        *durations,
        row("QTDuration", absent, "ms"),
        *amplitudes,
        row("JXSlope", absent, "uV/s"),
        row("R1Duration", absent, "ms"),
        *(row(f"{name}Amplitude", absent, "uV") for name in ("P1", "JXE", "T1")),
        *(row(name, absent, "ms") for name in ("POnset", "POffset", "QOnset", "QOffset", "TOffset")),
    ]


def _vector_loops(measured: Measurements) -> list[str]:
    """Return the median beat as a vectorcardiogram by the inverse Dower transform (here the least-squares inverse)."""
    x, down, back = np.rint(np.linalg.pinv(DOWER) @ measured.median[list(INDEPENDENT)]).astype(int)
    marks = measured.landmarks
    loops = {
        ("Frontal", "X"): x, ("Frontal", "-Y"): -down, ("Horizontal", "X"): x, ("Horizontal", "Z"): back,
        ("Sagittal", "-Z"): -back, ("Sagittal", "-Y"): -down,
    }  # fmt: skip
    onsets = {"POnset": marks.p_on, "POffset": marks.p_off, "QOnset": marks.q_on, "QOffset": marks.q_off}
    return [
        *_leaves({"Resolution": RESOLUTION_UV}, "uVperLsb"),
        *_leaves({"ChannelSampleCountTotal": MEDIAN_SAMPLES}),
        *_leaves(onsets | {"TOffset": marks.t_off}, "sample"),
        *(f'<{plane} Lead="{lead}">{_samples(values, 2)}</{plane}>' for (plane, lead), values in loops.items()),
    ]


def _strip_data(strip: Strip) -> list[str]:
    beats = [(round(ms), "dominant") for ms in strip.r_ms]
    arrhythmia = [f'<Time units="ms">{ms}</Time>\n<BeatClass>{name}</BeatClass>' for ms, name in beats]
    return [
        *_sampling(strip.counts.shape[1]),
        *_waveforms(strip.counts, indent=2),
        *_element("ArrhythmiaResults", "\n".join(arrhythmia).split("\n")),
    ]


def _sampling(samples: int) -> list[str]:
    return [
        *_leaves({"NumberOfLeads": len(LEADS)}),
        *_leaves({"SampleRate": RATE_HZ}, "Hz"),
        *_leaves({"ChannelSampleCountTotal": samples}),
        *_leaves({"Resolution": RESOLUTION_UV}, "uVperLsb"),
    ]


def _waveforms(counts: np.ndarray, indent: int) -> list[str]:
    return [f'<WaveformData lead="{lead}">{_samples(row, indent)}</WaveformData>' for lead, row in zip(LEADS, counts)]


def _samples(counts: np.ndarray, indent: int) -> str:
    """Join counts by commas: 301 in the first line, 300 in the others; each line but the last ends in a comma."""
    values = [str(value) for value in counts.tolist()]
    chunks = [values[:_FIRST_LINE]]
    chunks += [values[start : start + _LINE] for start in range(_FIRST_LINE, len(values), _LINE)]
    return ",\n".join("\t" * indent + ",".join(chunk) for chunk in chunks)


def _leaves(values: Mapping[str, object] | Iterable[tuple[str, object]], units: str = "") -> list[str]:
    """Return one element per value; None gives an empty element."""
    attribute = f' units="{units}"' if units else ""
    pairs = values.items() if isinstance(values, Mapping) else values
    return [f"<{key}{attribute}>{'' if value is None else escape(str(value))}</{key}>" for key, value in pairs]


def _element(name: str, children: list[str], attributes: str = "") -> list[str]:
    """Put an element around `children`, which move one tab deeper; later lines of a waveform keep their indent."""
    return [f"<{name}{attributes}>", *(f"\t{child}" for child in children), f"</{name}>"]
