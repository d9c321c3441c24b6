"""Mutated ECG files through the project's reader: `python tests/torture/fuzz_ecg.py --inputs 200000 --seed 0`.

Every input is a valid CardioSoft, MUSE, WFDB or DICOM file with a few wounds. It must be read, or refused by a
`CofError`, within 10 s, and the process must stay below 2 GiB. Anything else is a fault: the input is kept, and the
exit status is 1. The same seed gives the same inputs; `--from` skips to one of them.
"""

import argparse
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "ecg"))
from ecg_files import annotation, dicom_file, group, muse_xml, statement, wfdb_record

from cof.config.data import EcgSettings
from cof.ecg.categories import categorise
from cof.ecg.checks import check
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS, Ecg
from cof.errors import CofError
from cof.phantom.cardiosoft import write_ecg
from cof.phantom.population import sample

LONGEST_S = 10.0
MOST_MIB = 2048.0

# Files are short, so that a second makes many inputs; some keep all of the phantom's ten seconds.
SETTINGS = EcgSettings(min_seconds=0.1)
SHORT = 100
LONG_SHARE = 0.02
# Of 20 inputs, how many of each format.
SHARES = {"cardiosoft": 11, "muse": 5, "dicom": 3, "wfdb": 1}

TEXTS = [
    b"", b" ", b"-1", b"0", b"1e999", b"nan", b"-inf", b"NaN", b"9" * 30, b"9" * 5000, b"0x10", b"1_0", b"1,,2", b",",
    b"\0", b"&#0;", b"&lt;", b"&nope;", b"<!--", b"]]>", b"<![CDATA[", b"\xff\xfe", b"\xc3", "٣".encode(), b"uVperLsb",
    b"mV", b"I", b"aVR", b"../../etc/passwd", b"http://127.0.0.1/x", b"*" * 3000, b"no longer " * 50, b"x" * 100_000,
    b"%s%n", b"=", b";",
]  # fmt: skip
DOCTYPES = [
    b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>', b'<!DOCTYPE x SYSTEM "file:///etc/hostname">',
    b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1/p.dtd">%p;]>', b"<!DOCTYPE x [", b"<!DOCTYPE>",
]  # fmt: skip
TAG = re.compile(rb"</?[A-Za-z][^<>]{0,80}/?>")
ELEMENT = re.compile(rb"<(\w{1,40})(?:\s[^<>]{,200})?>[^<]{,4000}</\1>")
ATTRIBUTE = re.compile(rb'\b(\w{1,40})="([^"]*)"')
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
CONTENT = re.compile(rb">([^<]+)<")

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]


def seeds(folder: Path) -> dict[str, list[dict[str, bytes]]]:
    """Valid files of every format, each as the contents of its files by name; the one to read comes first."""
    found: dict[str, list[dict[str, bytes]]] = {name: [] for name in SHARES}
    for index in range(4):
        path = folder / "seed.xml"
        write_ecg(path, sample(f"sub-{index:04d}", 0), index)
        ecg = read_ecg(path)
        long = path.read_bytes()
        found["cardiosoft"] += [{"ecg.xml": shortened(long)}, {"ecg.xml": long}]
        if index == 0:
            strip = re.search(rb"<StripData>.*</StripData>", shortened(long), re.DOTALL)
            assert strip is not None
            nested = shortened(long).replace(strip[0], b"<Strip>" + strip[0] + b"</Strip>")
            found["cardiosoft"] += [{"ecg.xml": nested}, {"ecg.xml": disclosed(ecg)}]
        for samples in (SHORT, ecg.signal.shape[1]):
            rows = np.rint(ecg.signal / ecg.lsb_mv).astype(int)[:, :samples]
            counts = dict(zip(LEADS, rows))
            eight = {lead: counts[lead] for lead in LEADS if lead not in ("III", "aVR", "aVL", "aVF")}
            diagnosis = "".join(
                f"<DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>{text}</StmtText></DiagnosisStatement>"
                for text in ecg.statements
            )
            found["muse"].append({"ecg.xml": muse_xml(eight, f"<Diagnosis>{diagnosis}</Diagnosis>")})
            notes = [annotation("QRS Duration", 92, "ms"), *map(statement, ecg.statements)]
            found["dicom"].append(
                {"ecg.dcm": dicom_file([group(counts, scheme=("MDC", "SCPECG")[index % 2])], notes, PatientAge="056Y")}
            )
            header = wfdb_record(folder, counts, gain="200(0)")
            found["wfdb"].append({"HR1.hea": header.read_bytes(), "HR1.mat": (folder / "HR1.mat").read_bytes()})
    return found


def shortened(document: bytes) -> bytes:
    """A CardioSoft file whose waveforms have `SHORT` samples."""

    def cut(match: re.Match[bytes]) -> bytes:
        return match[1] + b",".join(match[2].split(b",")[:SHORT]) + b"<"

    document = re.sub(rb"(lead=\"\w+\">|<\w+ Lead=\"[-\w]+\">)([^<]+)<", cut, document)
    return re.sub(rb"(<ChannelSampleCountTotal>)\d+", rb"\g<1>%d" % SHORT, document)


def disclosed(ecg: Ecg) -> bytes:
    """A CardioSoft file with one second of full disclosure and nothing else."""
    rows = np.rint(ecg.signal[:, : round(ecg.rate_hz)] / ecg.lsb_mv).astype(int)
    lines = "".join(",".join(map(str, row)) + ",\n\t\t" for row in rows)
    return (
        '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<CardiologyXML><FullDisclosure><NumberOfChannels>12'
        '</NumberOfChannels><SampleRate units="Hz">500</SampleRate><Resolution units="uVperLsb">5</Resolution>'
        f"<LeadOrder>{','.join(LEADS)}</LeadOrder><FullDisclosureData>{lines}<SampleCountTotal>{rows.size}"
        "</SampleCountTotal></FullDisclosureData></FullDisclosure></CardiologyXML>"
    ).encode()


def replaced(content: bytes, start: int, end: int, piece: bytes) -> bytes:
    return content[:start] + piece + content[end:]


def somewhere(pattern: re.Pattern[bytes], content: bytes, rng: Rng) -> re.Match[bytes] | None:
    """A match of `pattern` from a random place on, or the first one."""
    return pattern.search(content, int(rng.integers(len(content) + 1))) or pattern.search(content)


def any_text(rng: Rng) -> bytes:
    return TEXTS[int(rng.integers(len(TEXTS)))]


def with_tag(content: bytes, rng: Rng) -> bytes:
    """Drop, double, rename, open or close a tag."""
    found = somewhere(TAG, content, rng)
    if found is None:
        return content
    tag = found[0]
    forms = (b"", tag * 2, tag.replace(b"<", b"</", 1), tag[:-1], b"<x:y>", tag.swapcase(), b"<" + any_text(rng) + b">")
    return replaced(content, *found.span(), forms[int(rng.integers(len(forms)))])


def with_element(content: bytes, rng: Rng) -> bytes:
    """Drop a whole element, repeat it often, or move it to another place."""
    found = somewhere(ELEMENT, content, rng)
    if found is None:
        return content
    kind = int(rng.integers(3))
    rest = replaced(content, *found.span(), b"" if kind != 1 else found[0] * int(rng.integers(2, 200)))
    if kind != 2:
        return rest
    place = somewhere(TAG, rest, rng)
    return rest if place is None else replaced(rest, place.end(), place.end(), found[0])


def with_attribute(content: bytes, rng: Rng) -> bytes:
    """Change, double or drop an attribute."""
    found = somewhere(ATTRIBUTE, content, rng)
    if found is None:
        return content
    forms = (b"", found[0] + b" " + found[0], found[1] + b'="' + any_text(rng) + b'"', b'lead="I"', b'units="ms"')
    return replaced(content, *found.span(), forms[int(rng.integers(len(forms)))])


def with_number(content: bytes, rng: Rng) -> bytes:
    """Change a number, or put a text in its place."""
    found = somewhere(NUMBER, content, rng)
    if found is None:
        return content
    number = found[0]
    forms = (b"-" + number, number * 3, number + b"." + number, str(2 ** int(rng.integers(70))).encode(), any_text(rng))
    return replaced(content, *found.span(), forms[int(rng.integers(len(forms)))])


def with_text(content: bytes, rng: Rng) -> bytes:
    """Other text in an element."""
    found = somewhere(CONTENT, content, rng)
    return content if found is None else replaced(content, *found.span(1), any_text(rng))


def with_doctype(content: bytes, rng: Rng) -> bytes:
    """A document type in front of the root, and a use of its entity."""
    start = content.find(b"?>") + 2
    content = replaced(content, start, start, DOCTYPES[int(rng.integers(len(DOCTYPES)))])
    found = somewhere(CONTENT, content, rng)
    return content if found is None else replaced(content, found.start(1), found.start(1), b"&b;")


def flipped(content: bytes, rng: Rng) -> bytes:
    """A few bytes of other values."""
    raw = bytearray(content)
    for place in rng.integers(len(raw), size=int(rng.integers(1, 9))) if raw else ():
        raw[int(place)] = int(rng.integers(256))
    return bytes(raw)


def cut(content: bytes, rng: Rng) -> bytes:
    """The end, or a piece, is missing."""
    start, end = sorted(int(place) for place in rng.integers(len(content) + 1, size=2))
    return content[:start] if rng.random() < 0.5 else content[:start] + content[end:]


def doubled(content: bytes, rng: Rng) -> bytes:
    """A piece occurs twice, or many times."""
    start, end = sorted(int(place) for place in rng.integers(len(content) + 1, size=2))
    end = min(end, start + 2000)
    return content[:end] + content[start:end] * int(rng.integers(1, 50)) + content[end:]


def inserted(content: bytes, rng: Rng) -> bytes:
    """A strange text anywhere."""
    place = int(rng.integers(len(content) + 1))
    return replaced(content, place, place, any_text(rng))


ANYWHERE: tuple[Mutation, ...] = (flipped, cut, doubled, inserted)
KEEP_FORM: tuple[Mutation, ...] = (with_element, with_attribute, with_number, with_text)
IN_XML: tuple[Mutation, ...] = (with_tag, with_doctype, *KEEP_FORM, *KEEP_FORM)
MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "cardiosoft": (*IN_XML, *ANYWHERE), "muse": (*IN_XML, *ANYWHERE),
    "dicom": ANYWHERE, "wfdb": (with_number, with_number, *ANYWHERE),
}  # fmt: skip
FORMATS = [name for name, share in SHARES.items() for _ in range(share)]


def make(found: dict[str, list[dict[str, bytes]]], seed: int, index: int) -> tuple[str, dict[str, bytes]]:
    """Format and files of input `index`."""
    rng = np.random.default_rng([seed, index])
    name = FORMATS[int(rng.integers(len(FORMATS)))]
    sizes = sorted(found[name], key=lambda files: sum(map(len, files.values())))
    half = len(sizes) // 2
    choices = sizes[half:] if rng.random() < LONG_SHARE else sizes[:half]
    files = dict(choices[int(rng.integers(len(choices)))])
    for _ in range(int(rng.integers(1, 4))):
        # The file that is read is hurt more often than the one beside it.
        hurt = list(files)[int(rng.random() < 0.2) % len(files)]
        mutation = MUTATIONS[name][int(rng.integers(len(MUTATIONS[name])))]
        files[hurt] = mutation(files[hurt], rng)
    return name, files


def try_one(folder: Path, files: dict[str, bytes]) -> str:
    """ "readable", or the reason of the typed error; anything else is raised."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        ecg = read_ecg(folder / next(iter(files)), SETTINGS)
        check(ecg, SETTINGS)
    except CofError as error:
        return str(error.reason)
    categorise(ecg.statements)
    back = Ecg.from_row(ecg.to_row())
    if ecg.signal.shape[0] != 12 or not np.isfinite(ecg.signal).all() or not np.array_equal(back.signal, ecg.signal):
        raise AssertionError("what was read is no ECG")
    return "readable"


@dataclass
class Summary:
    """What came of a run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0
    slowest_s: float = 0.0

    @property
    def peak_mib(self) -> float:
        """Largest resident size of this process so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def __str__(self) -> str:
        inputs = sum(self.outcomes.values())
        errors = ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common() if name.startswith("ecg_"))
        return (
            f"inputs {inputs} ({', '.join(f'{name} {count}' for name, count in self.formats.most_common())}); "
            f"readable {self.outcomes['readable']}; typed errors {errors or 'none'}; faults {len(self.faults)}; "
            f"slowest {self.slowest_s:.2f} s; peak {self.peak_mib:.0f} MiB; "
            f"{inputs / max(self.seconds, 1e-9):.0f} inputs/s, {inputs / max(self.cpu_s, 1e-9):.0f} a second of CPU"
        )


def fuzz(inputs: int, seed: int, keep: Path, first: int = 0) -> Summary:
    """Try `inputs` mutated files; what causes a fault is kept under `keep`."""
    summary = Summary()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = seeds(folder)
        for files in (files for of_format in found.values() for files in of_format):
            assert try_one(folder, files) == "readable", "a seed is not readable"
        begun, cpu = time.perf_counter(), time.process_time()
        for index in range(first, first + inputs):
            kind, files = make(found, seed, index)
            start, fault = time.perf_counter(), ""
            try:
                summary.outcomes[try_one(folder, files)] += 1
            except Exception:
                summary.outcomes["fault"] += 1
                fault = traceback.format_exc()
            took = time.perf_counter() - start
            summary.formats[kind] += 1
            summary.slowest_s = max(summary.slowest_s, took)
            if took > LONGEST_S:
                fault += f"took {took:.1f} s"
            if summary.peak_mib > MOST_MIB:
                fault += f"memory reached {summary.peak_mib:.0f} MiB"
            if fault:
                summary.faults.append(f"input {index} of seed {seed} ({kind}): {fault}")
                (keep / f"{seed}-{index}").mkdir(parents=True, exist_ok=True)
                for name, content in files.items():
                    (keep / f"{seed}-{index}" / name).write_bytes(content)
            if summary.peak_mib > MOST_MIB:
                break
        summary.seconds, summary.cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return summary


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, default=Path("results/torture/ecg"), help="folder for inputs with faults")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.keep, ignore_errors=True)
    summary = fuzz(arguments.inputs, arguments.seed, arguments.keep, arguments.first)
    for fault in summary.faults:
        print(fault, file=sys.stderr)
    print(summary)
    return 1 if summary.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
