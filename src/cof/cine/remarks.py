"""Remarks on the files of a source: which were skipped or repaired, and why none could be used."""

import io
import zipfile
from collections import Counter

from cof.cine.foreign import describe_bytes
from cof.errors import CofError, Reason


class Remarks:
    """Counts of files and images by what was done with them.

    Attributes:
        unreadable: files by fault.
        without: images by the missing element.
        commas: images by the element that has decimal commas.
        not_unit: images whose directions do not have unit length.
        results: images of the scanner's own evaluation.
        others: files that hold no image.
        kinds: the same files by what they seem to be.
    """

    def __init__(self) -> None:
        self.unreadable: Counter[str] = Counter()
        self.without: Counter[str] = Counter()
        self.commas: Counter[str] = Counter()
        self.not_unit = self.results = self.others = 0
        self.kinds: Counter[str] = Counter()

    def passed_over(self, name: str, content: bytes) -> None:
        """Count a file that holds no image."""
        self.others += 1
        whole = content.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(content))
        self.kinds[describe_bytes(name, content, whole)] += 1

    @property
    def causes(self) -> list[str]:
        """The faults of unreadable files, the most frequent first."""
        return [f"{cause} ({count} files)" for cause, count in self.unreadable.most_common()]

    def refusal(self) -> CofError:
        """Return the error that says why no image can be used."""
        if self.unreadable:
            return CofError(
                Reason.CINE_UNREADABLE,
                f"none of {self.unreadable.total()} DICOM files holds a readable image: {'; '.join(self.causes)}",
            )
        if self.without:
            lacking = ", ".join(f"{name} is missing in {count}" for name, count in self.without.items())
            return CofError(
                Reason.CINE_GEOMETRY,
                f"none of {self.without.total()} DICOM images has a position in space: {lacking}; export the original "
                "images",
            )
        if self.results:
            return CofError(
                Reason.CINE_NO_SHORT_AXIS, "there is only the scanner's own evaluation (InlineVF); export the cine"
            )
        if not self.others:
            return CofError(Reason.CINE_NO_SHORT_AXIS, "the folder or archive holds no file")
        found = "; ".join(f"{kind} ({count})" for kind, count in self.kinds.most_common(4))
        return CofError(
            Reason.CINE_NO_SHORT_AXIS,
            f"none of {self.others} files is a DICOM image of a cine: none holds an image, or begins as DICOM files "
            f"do (128 bytes and DICM, or an element of group 0002 or 0008); there is {found}",
        )

    def repairs(self) -> list[str]:
        """Return one sentence for each omission and repair."""
        said = []
        if self.unreadable:
            said.append(f"{self.unreadable.total()} unreadable files left out")
            said.extend(f"left out: {cause}" for cause in self.causes)
        said.extend(f"{count} images without {name} left out" for name, count in self.without.items())
        said.extend(
            f"{name} of {count} images has decimal commas, read as points" for name, count in self.commas.items()
        )
        if self.not_unit:
            said.append(
                f"ImageOrientationPatient of {self.not_unit} images has not unit length: only its directions are used"
            )
        return said
