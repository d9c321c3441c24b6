"""Small valid ECG files of every format but CardioSoft, from integer counts by lead."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cof.ecg.record import LEADS

Counts = Mapping[str, np.ndarray]


def muse_lead(name: str, values, unit="MICROVOLTS", step="4.88", total=None, size="2") -> str:
    data = base64.encodebytes(np.asarray(values, "<i2").tobytes()).decode()
    return (
        f"<LeadData><LeadSampleCountTotal>{total or len(values)}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>{step}</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>{unit}</LeadAmplitudeUnits>"
        f"<LeadID>{name}</LeadID><LeadSampleSize>{size}</LeadSampleSize><WaveFormData>\n{data}</WaveFormData></LeadData>"
    )


def muse_xml(
    counts: Counts, diagnosis="", doctype='<!DOCTYPE RestingECG SYSTEM "restecg.dtd">', base="500", mains="60", **lead
) -> bytes:
    rhythm = "".join(muse_lead(name, counts[name], **lead) for name in counts)
    median = "".join(muse_lead(name, counts[name][:600]) for name in counts)
    waves = "".join(
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{base}</SampleBase>"
        f"<SampleExponent>0</SampleExponent><ACFilter>{mains}</ACFilter>{leads}</Waveform>"
        for kind, leads in (("Median", median), ("Rhythm", rhythm))
    )
    measurements = (
        "<RestingECGMeasurements><VentricularRate>48</VentricularRate><PRInterval>138</PRInterval><POnset>147</POnset>"
        "<POffset>200</POffset><ECGSampleBase>500</ECGSampleBase></RestingECGMeasurements>"
    )
    body = f"<MuseInfo><MuseVersion>9.0</MuseVersion></MuseInfo>{measurements}{diagnosis}{waves}"
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>{doctype}<RestingECG>{body}</RestingECG>'.encode("latin-1")


def wfdb_record(
    folder: Path, counts: Counts, *, data="HR1.mat", unit="mv", samples=None, offset=24, gain="1000.0(0)", zero=0,
    lines=12, record="HR1", form="16",
) -> Path:  # fmt: skip
    """The header; its samples, format 16, lie beside it in HR1.mat."""
    signals = np.stack([counts[lead] for lead in LEADS]) + zero
    samples = signals.shape[1] if samples is None else samples
    (folder / "HR1.mat").write_bytes(bytes(offset) + signals.T.astype("<i2").tobytes())
    rows = [f"{data} {form}x1+{offset} {gain}/{unit} 16 0 -115 13047 0 {lead}" for lead in LEADS[:lines]]
    header = folder / "HR1.hea"
    header.write_text("\n".join([f"{record} 12 500 {samples}", *rows, "# Age: 56", ""]))
    return header


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


SCP = dict(zip(LEADS, ("1", "2", "61", "62", "63", "64", "3", "4", "5", "6", "7", "8")))


def lead_code(lead: str, scheme: str = "SCPECG") -> Dataset:
    """The code of a lead's source."""
    prefix = {"SCPECG": "5.6.3-9-", "MDC": "2:"}.get(scheme, "X")
    return code(prefix + SCP[lead], scheme, f"Lead {lead}")


def channel(source: Dataset, unit="uV", sensitivity: Any = 5, correction: Any = 1, baseline: Any = 0) -> Dataset:
    item = Dataset()
    item.ChannelSourceSequence = [source]
    item.ChannelSensitivity, item.ChannelSensitivityCorrectionFactor = sensitivity, correction
    item.ChannelSensitivityUnitsSequence = [code(unit, "UCUM", unit)]
    item.ChannelBaseline = baseline
    item.WaveformBitsStored = 16
    return item


def group(counts: Counts, *, scheme="SCPECG", rate=500, interpretation="SS", **channels) -> Dataset:
    """A multiplex group of the leads in `counts`."""
    item = Dataset()
    signals = np.stack(list(counts.values()))
    item.MultiplexGroupLabel = "RHYTHM"
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = signals.shape
    item.SamplingFrequency = rate
    item.ChannelDefinitionSequence = [channel(lead_code(lead, scheme), **channels) for lead in counts]
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, interpretation
    item.WaveformData = signals.T.astype("<i2").tobytes()
    return item


def annotation(meaning: str, value: float, unit: str) -> Dataset:
    item = Dataset()
    item.ConceptNameCodeSequence = [code("", "MDC", meaning)]
    item.NumericValue = value
    item.MeasurementUnitsCodeSequence = [code(unit, "UCUM", unit)]
    return item


def statement(text: str) -> Dataset:
    item = Dataset()
    item.UnformattedTextValue = text
    return item


def dicom_file(groups: list[Dataset], annotations=(), *, kind="1", syntax=ExplicitVRLittleEndian, **tags) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.9.1.{kind}"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["ecg"])
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality = "ECG"
    for name, value in tags.items():
        setattr(data, name, value)
    data.WaveformSequence = groups
    if annotations:
        data.WaveformAnnotationSequence = list(annotations)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
