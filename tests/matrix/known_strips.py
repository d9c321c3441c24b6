"""Twelve-lead ECGs whose R times are known, in the forms of recorders and archives."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from ecg_files import dicom_file, group, muse_xml, wfdb_record

from cof.artefacts.parquet import read_table, write_table
from cof.config.data import BeatSettings, EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.leads import derive
from cof.ecg.record import LEADS, Ecg
from cof.ecg.stage import beats_batch, parse_batch
from cof.errors import CofError, Reason
from cof.phantom.cardiosoft import write_ecg
from cof.phantom.ecg import DOWER, Wave
from cof.phantom.population import sample

STEP_MV = 0.005
TOLERANCE_S = 0.02
_INDEPENDENT = [LEADS[k] for k in INDEPENDENT]
# Towards where a pacing spike points: unlike in every lead, 1 in lead II.
_SPIKE = np.array([0.5, 0.8, -0.3])


def _wave(centre_ms: float, rise_ms: float, fall_ms: float, *vector: float) -> Wave:
    return Wave(centre_ms, rise_ms, fall_ms, np.array(vector))


def normal_beat(rr_s: float, p_wave: bool = True) -> list[Wave]:
    """P, Q, R, S and T; before a short interval the waves lie closer."""
    close = min(1.0, rr_s / 0.75)
    waves = [
        _wave(-22, 6, 6, -0.06, 0.04, -0.12),
        _wave(0, 9, 9, 0.95, 0.85, -0.05),
        _wave(24, 9, 9, -0.15, -0.10, 0.30),
        _wave(280 * close, 50 * close, 40 * close, 0.22, 0.20, -0.10),
    ]
    return [_wave(-160 * close, 20 * close, 20 * close, 0.05, 0.11, 0.0), *waves] if p_wave else waves


def wide_beat() -> list[Wave]:
    """A ventricular beat: wide, without P, its T wave opposite."""
    return [_wave(0, 28, 32, -0.7, -1.3, 0.9), _wave(300, 60, 50, 0.25, 0.45, -0.25)]


@dataclass(frozen=True)
class Strip:
    """A strip as it should come out.

    Attributes:
        counts: int [N] for each of the twelve leads, 5 uV each.
        rate_hz: sampling rate.
        r_s: R times.
    """

    counts: dict[str, np.ndarray]
    rate_hz: int
    r_s: np.ndarray

    @property
    def bpm(self) -> float:
        return 60 / float(np.diff(self.r_s).mean())

    @property
    def millivolts(self) -> np.ndarray:
        """The leads, [12, N]."""
        return np.stack([self.counts[lead] for lead in LEADS]) * STEP_MV

    def changed(self, change: Callable[[np.ndarray], None]) -> "Strip":
        """The strip after `change` of its independent leads [8, N] in mV."""
        leads = np.stack([self.counts[lead] for lead in _INDEPENDENT]) * STEP_MV
        change(leads)
        return replace(self, counts=_counts(leads))


def _counts(leads: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of twelve leads from eight in mV; I and II are even, so that Goldberger's laws hold exactly."""
    counts = dict(zip(_INDEPENDENT, np.rint(leads / STEP_MV).astype(int)))
    counts["I"], counts["II"] = (counts[lead] // 2 * 2 for lead in ("I", "II"))
    counts |= {name: values.astype(int) for name, values in derive(counts["I"], counts["II"]).items()}
    return {lead: counts[lead] for lead in LEADS}


def regular(bpm: float, seconds: float = 10.0, first: float = 0.55) -> np.ndarray:
    """R times of an even rhythm."""
    return np.arange(first, seconds - 0.05, 60 / bpm)


def strip(
    r_s: np.ndarray,
    *,
    rate_hz: int = 500,
    seconds: float = 10.0,
    wide: tuple[int, ...] | None = (),
    p_wave: bool = True,
    seed: int = 0,
) -> Strip:
    """Beats at R times; `wide` numbers those that are ventricular, None means all."""
    ms = np.arange(round(seconds * rate_hz)) * (1000 / rate_hz)
    intervals = np.diff(r_s, prepend=2 * r_s[0] - r_s[1])
    dipole = np.zeros((3, len(ms)))
    for number, (at, rr) in enumerate(zip(r_s, intervals)):
        waves = wide_beat() if wide is None or number in wide else normal_beat(rr, p_wave)
        dipole += sum(wave.at(ms - 1000 * at) for wave in waves)
    noise = 0.004 * np.random.default_rng(seed).standard_normal((len(DOWER), len(ms)))
    return Strip(_counts(DOWER @ dipole + noise), rate_hz, np.asarray(r_s))


def with_spikes(own: Strip, firsts: list[int], shape_mv: Sequence[float]) -> Strip:
    """The strip with pacing spikes from these samples on; `shape_mv` are their samples in lead II."""
    leads_per_mv = DOWER @ _SPIKE / (DOWER @ _SPIKE)[_INDEPENDENT.index("II")]

    def add(leads: np.ndarray) -> None:
        for first in firsts:
            leads[:, first : first + len(shape_mv)] += np.outer(leads_per_mv, shape_mv)

    return own.changed(add)


def spikes_before(own: Strip, *before_ms: float, every: int = 1) -> list[int]:
    """The first samples of spikes so long before each R peak, or every second one and so on."""
    firsts = [round((at - ms / 1000) * own.rate_hz) for at in own.r_s[::every] for ms in before_ms]
    return [first for first in firsts if first >= 0]


# Forms


@cache
def _template() -> bytes:
    with TemporaryDirectory() as folder:
        write_ecg(Path(folder) / "ecg.xml", sample("sub-0001", 0), 0)
        return (Path(folder) / "ecg.xml").read_bytes()


def cardiosoft(folder: Path, own: Strip) -> Path:
    head, mark, data = _template().partition(b"<StripData>")
    head = re.sub(rb"(<VentricularRate[^>]*>)[^<]*", rb"\g<1>%d" % round(own.bpm), head)
    head = re.sub(rb"(<DiagnosisText>)[^<]*", rb"\1", head)
    head = re.sub(rb"(<ConclusionText>)[^<]*", rb"\1", head)
    data = re.sub(rb"(<SampleRate[^>]*>)\d+", rb"\g<1>%d" % own.rate_hz, data)
    data = re.sub(rb"(<ChannelSampleCountTotal[^>]*>)\d+", rb"\g<1>%d" % len(own.counts["I"]), data)
    for lead, counts in own.counts.items():
        text = ",".join(map(str, counts)).encode()
        data = re.sub(rb'(lead="%b">)[^<]*' % lead.encode(), rb"\g<1>" + text, data)
    path = folder / "ecg.xml"
    path.write_bytes(head + mark + data)
    return path


def muse(folder: Path, own: Strip, **more) -> Path:
    leads = {lead: own.counts[lead] for lead in _INDEPENDENT}
    content = muse_xml(leads, **{"base": str(own.rate_hz), "step": "5"} | more)
    path = folder / "ecg.xml"
    path.write_bytes(re.sub(rb"(<VentricularRate>)\d+", rb"\g<1>%d" % round(own.bpm), content))
    return path


def dicom(folder: Path, own: Strip) -> Path:
    path = folder / "ecg.dcm"
    path.write_bytes(dicom_file([group(own.counts, rate=own.rate_hz)]))
    return path


def wfdb(folder: Path, own: Strip) -> Path:
    header = wfdb_record(folder, own.counts, gain=f"{1 / STEP_MV:g}(0)", unit="mV")
    header.write_text(re.sub(r"^HR1 12 500", f"HR1 12 {own.rate_hz}", header.read_text()))
    return header


WRITERS: dict[str, Callable[[Path, Strip], Path]] = {
    "cardiosoft": cardiosoft,
    "muse": muse,
    "dicom": dicom,
    "wfdb": wfdb,
}
FORMS = tuple(WRITERS)


# Reading


@dataclass(frozen=True)
class Settings:
    """Settings of one reading."""

    ecg: EcgSettings = field(default_factory=EcgSettings)
    beats: BeatSettings = field(default_factory=BeatSettings)


def read_beats(path: Path, settings: Settings) -> tuple[Ecg, Any]:
    """The strip and the row of its representative cycle, as the stages make them.

    Raises:
        CofError: with the reason and message of the exclusion.
    """
    folder = path.parent / "stages"
    tables = {name: folder / f"{name}.parquet" for name in ("sheet", "key", "ecg", "beats", "ecg_out", "beats_out")}
    write_table(tables["sheet"], pd.DataFrame({"subject": ["sub-0001"]}), {})
    write_table(tables["key"], pd.DataFrame({"subject": ["sub-0001"], "ecg": [str(path)]}), {})
    parse_batch(
        sheet=tables["sheet"],
        key=tables["key"],
        out=tables["ecg"],
        exclusions=tables["ecg_out"],
        settings=settings.ecg,
    )
    beats_batch(ecg=tables["ecg"], out=tables["beats"], exclusions=tables["beats_out"], settings=settings.beats)
    for name in ("ecg_out", "beats_out"):
        for _, row in read_table(tables[name]).iterrows():
            raise CofError(Reason(row["reason"]), row["message"])
    return Ecg.from_row(read_table(tables["ecg"]).iloc[0]), read_table(tables["beats"]).iloc[0]


@dataclass(frozen=True)
class Right:
    """Asserts that the strip is the right one, and that its beats are where they are.

    Attributes:
        own: the strip.
        known: bool [12, N], samples that the file tells; None means all.
        paced, irregular, ectopic: what the cycle must say; None where it may say anything.
    """

    own: Strip
    known: np.ndarray | None = None
    paced: bool | None = False
    irregular: bool | None = None
    ectopic: int | None = None

    def __call__(self, read: tuple[Ecg, Any]) -> None:
        ecg, cycle = read
        assert ecg.rate_hz == self.own.rate_hz
        known = np.ones(ecg.signal.shape, bool) if self.known is None else self.known
        np.testing.assert_allclose(ecg.signal[known], self.own.millivolts[known], atol=STEP_MV / 2)
        truth, rate = self.own.r_s, self.own.rate_hz
        first, last = cycle.first_sample / rate, cycle.last_sample / rate
        beat = int(np.abs(truth - first).argmin())
        assert abs(truth[beat] - first) <= TOLERANCE_S, f"the cycle begins {first - truth[beat]:.3f} s from an R peak"
        assert beat + 1 < len(truth)
        assert abs(truth[beat + 1] - last) <= TOLERANCE_S, f"it ends {last - truth[beat + 1]:.3f} s from the next"
        told = truth[known.any(axis=0)[np.rint(truth * rate).astype(int)]]
        inside = int(((told > 0.15) & (told < known.shape[1] / rate - 0.15)).sum())
        assert inside <= cycle.beats <= len(truth), f"{cycle.beats} beats of {len(truth)}"
        assert self.paced is None or bool(cycle.get("paced")) == self.paced, "the flag `paced`"
        assert self.irregular is None or cycle.irregular == self.irregular, "the flag `irregular`"
        assert self.ectopic is None or cycle.ectopic_beats == self.ectopic, f"{cycle.ectopic_beats} ectopic beats"
