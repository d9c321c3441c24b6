"""Selection of the images of a source that are frames of its short-axis cine: by name, kind and place."""

import re
from collections import Counter, defaultdict

import numpy as np

from cof.cine.headers import SYNTHETIC
from cof.cine.images import Image
from cof.errors import CofError, Reason

_SHORT_AXIS = re.compile(r"sax|short.?ax", re.IGNORECASE)
_LONG_AXIS = re.compile(r"(?<![a-z])lax|cine_?lax|long.?ax|[234] ?_?ch(amb\w*)?(?![a-z])", re.IGNORECASE)

# ImageType and complex component of images that are not magnitude: "P", "PHASE MAP", "P_FFE", "VELOCITY", "REAL", ...
_NO_MAGNITUDE = re.compile(r"(P|V|R|I|PHASE|VELOCITY|REAL|IMAGINARY)([ _](MAP|IMAGE|FFE|PCA|SE|IR|GR|TSE|TFE|B_?TFE))?")
# Names of sequences that apply tags or encode displacement.
_TAGGED = re.compile(
    r"(?<![a-z])tag(?!e)|tagg(ed|ing)|tag(?![a-z])|spamm|(?<![a-z])(csp|grid|c?dense|harp)(?![a-z])|grid.?tag|sine?.?mod",
    re.IGNORECASE,
)
# Names of other images along the short axis.
_NO_CINE = re.compile(
    r"(?<![a-z])(locali[sz]er|scout|survey|haste|stir|lge|psir|mde|viability|(late|delayed).?(gad|enh)\w*|perf\w*|"
    r"first.?pass|real.?time|moco|(sh)?molli|sasha|mapping|t[12]\W?(star)?[ _-]?map\w*|venc)(?![a-z])",
    re.IGNORECASE,
)
_PARALLEL_COSINE = np.cos(np.deg2rad(1.0))


def short_axis_cine(images: list[Image], repairs: list[str]) -> tuple[list[Image], bool]:
    """Select the images that may be frames of the short-axis cine.

    Args:
        images: images of the whole source.
        repairs: list to which a remark is added for what is left out; long-axis series are skipped without one.

    Returns:
        The images, all in parallel planes; and whether there are cines among the images left out.

    Raises:
        CofError: CINE_NO_SHORT_AXIS, nothing remains.
    """
    images = _without_synthetic(images, repairs)
    kept = _without_phase(images, repairs)
    kept = _without_tags(kept, repairs)
    kept = _by_name(kept, repairs)
    kept = _without_stills(kept, repairs)
    kept = _without_derived(kept, repairs)
    kept = _parallel(kept, repairs)
    chosen = set(map(id, kept))
    return kept, _frames_a_place([image for image in images if id(image) not in chosen]) > 1


def _frames_a_place(images: list[Image]) -> int:
    """Return the largest number of images that a series has at one place."""
    return max(Counter((image.series.uid, image.plane) for image in images).values(), default=0)


def _without_synthetic(images: list[Image], repairs: list[str]) -> list[Image]:
    """Leave out synthetic images if there are others: a folder may hold a scan and a heart generated from it."""
    kept = [image for image in images if SYNTHETIC not in image.kind]
    if not kept or len(kept) == len(images):
        return images
    repairs.append(f"{len(images) - len(kept)} synthetic images left out: the recorded ones are read")
    return kept


def _without_phase(images: list[Image], repairs: list[str]) -> list[Image]:
    """Remove phase maps, velocities, and real and imaginary parts."""
    kept = [image for image in images if not any(_NO_MAGNITUDE.fullmatch(word) for word in image.kind)]
    if not kept:
        raise CofError(
            Reason.CINE_NO_SHORT_AXIS,
            f"by their ImageType, all {len(images)} images are phase, velocity, real or imaginary ones; "
            "export the magnitude images",
        )
    if len(kept) < len(images):
        repairs.append(
            f"{len(images) - len(kept)} phase, velocity, real or imaginary images left out: magnitude images are read"
        )
    return kept


def _without_tags(images: list[Image], repairs: list[str]) -> list[Image]:
    """Remove images of tagged series."""
    tagged = {image.series: bool(_TAGGED.search(image.series.names)) for image in images}
    kept = [image for image in images if not (tagged[image.series] or any(_TAGGED.search(word) for word in image.kind))]
    if not kept:
        raise CofError(
            Reason.CINE_NO_SHORT_AXIS,
            f"by their names, all {len(images)} images are of tagged series; export the cine without tags",
        )
    if len(kept) < len(images):
        repairs.append(f"{len(images) - len(kept)} images of tagged series left out")
    return kept


def _by_name(images: list[Image], repairs: list[str]) -> list[Image]:
    """Keep images of series with a short-axis name; where there are none, all without a long-axis name."""
    others = [image for image in images if not _LONG_AXIS.search(image.series.description)]
    named = [image for image in images if _SHORT_AXIS.search(image.series.description)]
    chosen = named or others
    if not chosen:
        raise CofError(Reason.CINE_NO_SHORT_AXIS, "there are only long-axis series; give the short-axis cine")
    cines = [image for image in chosen if not _NO_CINE.search(image.series.description)] or chosen
    left_out = len(others) - sum(not _LONG_AXIS.search(image.series.description) for image in cines)
    if left_out:
        repairs.append(f"{left_out} images of series that are not a short-axis cine by name left out")
    return cines


def _without_stills(images: list[Image], repairs: list[str]) -> list[Image]:
    """Remove series of single images at several places, if other series have several images at one place."""
    places: dict[str, Counter] = defaultdict(Counter)
    for image in images:
        places[image.series.uid][image.plane] += 1
    if max(max(counts.values()) for counts in places.values()) == 1:
        return images
    stills = {uid for uid, counts in places.items() if len(counts) > 1 and max(counts.values()) == 1}
    kept = [image for image in images if image.series.uid not in stills]
    if len(kept) < len(images):
        repairs.append(f"{len(images) - len(kept)} images of series with one image per slice left out: not a cine")
    return kept


def _without_derived(images: list[Image], repairs: list[str]) -> list[Image]:
    """Remove derived images (copies for film, means) at places that have as many original ones."""
    originals: Counter[tuple] = Counter()
    derived: Counter[tuple] = Counter()
    places = {image.plane: tuple(np.round(image.plane.position).tolist()) for image in images}
    for image in images:
        (derived if "DERIVED" in image.kind else originals)[places[image.plane]] += 1
    doubled = {place for place, count in derived.items() if originals[place] >= count}
    kept = [image for image in images if not ("DERIVED" in image.kind and places[image.plane] in doubled)]
    if len(kept) < len(images):
        repairs.append(
            f"{len(images) - len(kept)} derived images (ImageType) left out: the originals at the same places are read"
        )
    return kept


def _parallel(images: list[Image], repairs: list[str]) -> list[Image]:
    """Keep the largest set of images in parallel planes, by the number of images."""
    planes = {image.plane: image.plane.normal for image in images}
    sets: list[set] = []
    normals: list[np.ndarray] = []
    for plane, normal in planes.items():
        for members, other in zip(sets, normals):
            if other @ normal > _PARALLEL_COSINE:
                members.add(plane)
                break
        else:
            sets.append({plane})
            normals.append(normal)
    sizes = Counter(image.plane for image in images)
    largest = max(sets, key=lambda members: sum(sizes[plane] for plane in members))
    kept = [image for image in images if image.plane in largest]
    if len(kept) < len(images):
        repairs.append(f"{len(images) - len(kept)} images in other planes left out")
    return kept
