"""Hearts in Python: `cof.twin(...)` makes one, `cof.Heart` holds it."""

import os
import sys
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cof.artefacts.folders import whole_folder
from cof.errors import CofError, UsageError, redact
from cof.heart.surfaces import Surface
from cof.outputs import Form, Output, claim
from cof.twins.artefacts import BESIDE, FILES, NAME, notices
from cof.twins.exports.formats import export, formats_of
from cof.twins.exports.heart import Heart as Exported
from cof.twins.exports.tables import regional
from cof.twins.single import twin_from_files
from cof.twins.text import text_of

AnyPath = str | os.PathLike[str]

_INDICES = (("EDV", "edv_ml", "mL"), ("ESV", "esv_ml", "mL"), ("SV", "sv_ml", "mL"), ("EF", "ef_pct", "%"))


@dataclass(frozen=True, repr=False)
class Shown:
    """The page of a heart. A notebook shows it as a frame; it may be passed on as `html`.

    Attributes:
        html: the page, which contains everything that it shows.
    """

    html: str

    def open(self) -> Path:
        """Open the page in the browser, from a file in the folder for temporary files, and return that file."""
        with tempfile.NamedTemporaryFile("w", prefix="heart-", suffix=".html", encoding="utf-8", delete=False) as file:
            file.write(self.html)
        webbrowser.open(Path(file.name).as_uri())
        return Path(file.name)

    def __repr__(self) -> str:
        return f"<page of a generated heart, {len(self.html) / 1e6:.1f} MB; open() shows it in the browser>"

    def _repr_html_(self) -> str:
        """Return the page as a frame for a notebook."""
        style = "width: 100%; height: 56rem; border: 1px solid #dfe3e8; border-radius: 8px"
        return f'<iframe title="Generated heart" style="{style}" srcdoc="{escape(self.html)}"></iframe>'


@dataclass(frozen=True, eq=False, repr=False)
class Heart:
    """One generated heart. Its arrays are read-only, so that `save` writes exactly what they hold.

    Attributes:
        frames: int16 [T, Z, Y, X], the cine on the grid of the scan, slices from base to apex, frame 0 at end diastole.
        labels: uint8 [T, Z, Y, X]: 0 background, 1 LV, 2 myocardium, 3 RV.
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid of the model, pointing to frame 0;
            None for a model that generates images.
        affine: float64 [4, 4], from voxel index (x, y, z, 1) to RAS coordinates in mm.
        spacing_mm: spacing of the voxels in mm (z, y, x).
        times_ms: [T], time of each frame after frame 0 in ms; the cycle lasts `rr_ms`. NaN where neither cine nor ECG
            gives the length of the cycle.
        rr_ms: RR interval in ms, or NaN.
        volumes: one row per frame: frame, time_ms, lv_ml, rv_ml; with a calibrated model also lv_low_ml and lv_high_ml.
        summary: content of `summary.json`: function, its numbers beside reference ranges, the patient, repairs of ECG
            and scan, what the networks were trained on, warnings, provenance. `print(heart)` shows it as text.
    """

    frames: np.ndarray
    labels: np.ndarray
    displacement: np.ndarray | None
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    times_ms: np.ndarray
    rr_ms: float
    volumes: pd.DataFrame
    summary: dict[str, Any]
    _exported: Exported
    _files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: AnyPath) -> "Heart":
        """Read the heart in a folder that `save` or `cof twin --out` has written.

        Raises:
            UsageError: a file of the heart is missing.
            CofError: the cine cannot be read.
        """
        place = Path(folder).expanduser()
        try:
            made = Exported.read(place)
        except UsageError as error:
            raise UsageError(redact(str(error))) from None
        cine, labels = replace(made.cine, frames=_fixed(made.cine.frames)), _fixed(made.labels)
        return cls(
            cine.frames,
            labels,
            None if made.displacement is None else _fixed(made.displacement.float().numpy()),
            _fixed(cine.affine),
            cine.spacing_mm,
            _fixed(cine.frame_times_ms if made.timed else np.full(len(cine.frames), np.nan)),
            cine.rr_ms if made.timed else np.nan,
            pd.read_csv(place / "volumes.csv"),
            made.summary,
            replace(made, cine=cine, labels=labels),
            {name: (place / name).read_bytes() for name in (*FILES, *BESIDE) if (place / name).is_file()},
        )

    @property
    def function(self) -> dict[str, dict[str, float | None]]:
        """Indices of `LV` and `RV`, such as `function["LV"]["ef_pct"]`; an undefined one is None."""
        return {ventricle: self.summary["function"][ventricle] for ventricle in ("LV", "RV")}

    @property
    def heart_rate_bpm(self) -> float:
        """Heart rate in beats per minute; NaN where neither cine nor ECG gives it."""
        return 60_000 / self.rr_ms

    @property
    def warnings(self) -> list[str]:
        """Warnings about implausible numbers of the scan or of the generated heart, one text each."""
        return [f"{warning['of']}: {warning['message']}" for warning in self.summary["warnings"]]

    @property
    def repairs(self) -> list[str]:
        """Repairs made while reading ECG and scan, one text each."""
        named = (("ECG", "ecg"), ("scan", "scan"))
        read = [(name, self.summary[source]) for name, source in named if self.summary[source] is not None]
        return [f"{name}: {repair}" for name, source in read for repair in source["repairs"]]

    @property
    def notices(self) -> list[str]:
        """Notices to repeat wherever this heart is shown."""
        return notices(self.summary)

    @property
    def surfaces(self) -> dict[str, Surface]:
        """Moving surfaces by name: `LV endocardium`, `LV epicardium`, `RV endocardium`; computed when first asked for.

        Raises:
            UsageError: the model generates images and no motion, or the files do not tell where its grid lies.
            CofError: a structure is missing in the labels of ED.
        """
        return self._exported.surfaces

    @property
    def regional(self) -> pd.DataFrame | None:
        """Regional function of the left ventricle, one row for each AHA segment 1 to 16; None for a model of images.

        Columns: segment, name, peak_ms, thickening_pct, wall_thickness_ed_mm; engineering strain at end systole in %:
        strain_circumferential_pct, strain_radial_pct, strain_longitudinal_pct; and the same as Green-Lagrange strain:
        green_lagrange_circumferential and so on. Longitudinal strain is uncertain: slices 10 mm apart hardly show it.
        """
        return regional(self._exported)

    def show(self) -> "Shown":
        """Show the heart: in a notebook as a frame below the cell, elsewhere as a page in the browser.

        Raises:
            CofError: the labels of ED show no left ventricle.
        """
        from cof.twins.page.html import page

        shown = Shown(page(self._exported))
        if "ipykernel" not in sys.modules:
            shown.open()
        return shown

    def save(self, folder: AnyPath, overwrite: bool = False, formats: Sequence[str] = ()) -> None:
        """Write the files that `cof twin --out` writes, and the heart in formats of other software.

        Args:
            folder: folder that does not exist yet, or is empty.
            overwrite: replace a folder that cof has made.
            formats: names of formats, such as `["stl", "glb"]`, or `["all"]`; each is written into a folder of its
                name, as `cof export` does.

        Raises:
            UsageError: the folder is not empty, or cannot be written; a format is unknown, or needs surfaces that this
                heart does not have.
        """
        out = Path(folder).expanduser()
        formats = formats_of(formats)
        claim([Output("folder", out, Form.FOLDER, asked_by="overwrite=True")], [], overwrite)
        with whole_folder(out) as made:
            for name, content in self._files.items():
                (made / name).write_bytes(content)
            if formats:
                export(self._exported, made, formats)

    def __repr__(self) -> str:
        frames, *shape = self.frames.shape
        grid = f"{frames} frames of {' x '.join(map(str, shape))} voxels (z, y, x)"
        spacing = f"{' x '.join(f'{step:.3g}' for step in self.spacing_mm)} mm"
        lv = ", ".join(f"{name} {self._index('LV', key, unit)}" for name, key, unit in _INDICES)
        said = f"{self.summary['model']}: {grid}, {spacing}; LV {lv}; {self._rate}"
        counts = f"repairs: {len(self.repairs)}, warnings: {len(self.warnings)}"
        return redact(f"<Heart by {said}; {counts}; {'; '.join(self.notices)}>")

    def __str__(self) -> str:
        """Return the summary that `cof twin` prints: the numbers beside reference ranges, repairs, doubts, notices."""
        return text_of(self.summary)

    def _repr_html_(self) -> str:
        """Return the heart as HTML for a notebook: a small table, repairs and warnings, and the notices."""
        rows = [(name, self._index("LV", key, unit), self._index("RV", key, unit)) for name, key, unit in _INDICES]
        body = "".join(f"<tr><th>{name}</th><td>{lv}</td><td>{rv}</td></tr>" for name, lv, rv in rows)
        rate = f'<tr><th>HR</th><td colspan="2">{self._rate}</td></tr>'
        remarks = "".join(f"<li>{_text(remark)}</li>" for remark in self.repairs + self.warnings)
        return (
            f"<table><caption>Generated by {_text(self.summary['model'])}, not measured</caption>"
            f"<thead><tr><th></th><th>LV</th><th>RV</th></tr></thead><tbody>{body}{rate}</tbody></table>"
            f"{f'<ul>{remarks}</ul>' if remarks else ''}<p><small>{_text('; '.join(self.notices))}</small></p>"
        )

    @property
    def _rate(self) -> str:
        return f"{self.heart_rate_bpm:.0f} bpm" if np.isfinite(self.heart_rate_bpm) else "heart rate not known"

    def _index(self, ventricle: str, key: str, unit: str) -> str:
        value = self.function[ventricle][key]
        return "not defined" if value is None else f"{value:.0f} {unit}"


def twin(
    *,
    ecg: AnyPath | None,
    scan: AnyPath,
    weights: AnyPath | None = None,
    model: str | None = None,
    ed_frame: int | None = None,
    anchor_phase: float | None = None,
    sex: str | None = None,
    age: float | None = None,
    height: float | None = None,
    weight: float | None = None,
    seed: int = 0,
) -> Heart:
    """Make one heart, as `cof twin` does. Nothing stays on disk until it is saved.

    Args:
        ecg: one 12-lead ECG file; None for a model that generates without one, such as that of weights/real.
        scan: a short-axis cine, or an anchor volume of one frame: DICOM archive or folder, or NIfTI.
        weights: folder of trained models: shipped weights, such as `weights/bench` of a checkout, or a run's results;
            None takes `weights/real` of a checkout, which have terms of their own (`notices`).
        model: name of the model in that folder; None takes the one that `config.json` there names for its report, or
            else "cof".
        ed_frame: recorded frame of a cine that shows end diastole, counted from 0; None: it is found from the images.
        anchor_phase: phase in [0, 1) of the anchor, from ECG gating; None takes the phase that the model was trained
            with, mostly 0 (end diastole).
        sex: "F" or "M", which chooses the reference ranges of `summary`; None takes what the scan or the ECG states.
        age: age in years; None likewise.
        height: height in cm; None likewise.
        weight: weight in kg; None likewise.
        seed: random seed, for models that sample.

    Raises:
        UsageError: a file, the weights or the model do not exist, the phase is outside [0, 1), or sex, age or size are
            not those of a person.
        CofError: ECG or scan cannot be used; `reason` and message say why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / NAME
        try:
            twin_from_files(
                ecg=None if ecg is None else Path(ecg).expanduser(),
                scan=Path(scan).expanduser(),
                weights=None if weights is None else Path(weights).expanduser(),
                model=model,
                out=out,
                ed_frame=ed_frame,
                anchor_phase=anchor_phase,
                sex=sex,
                age=age,
                height=height,
                weight=weight,
                seed=seed,
            )
        except UsageError as error:  # a notebook keeps what it shows, and paths may name a participant
            raise UsageError(redact(str(error))) from None
        except CofError as error:
            raise CofError(error.reason, redact(str(error))) from None
        return Heart.read(out)


def _fixed(array: np.ndarray) -> np.ndarray:
    """Return a copy in memory that cannot be written to."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def _text(said: str) -> str:
    return escape(redact(said))
