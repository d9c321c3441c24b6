"""Uniform intensities in all images of one scan: high values are white, and padding is as dark as the darkest pixel."""

from dataclasses import replace

import numpy as np

from cof.cine.images import Image
from cof.cine.pixels import Grey
from cof.errors import CofError, Reason


def settled(cycles: list[list[Image]], repairs: list[str]) -> list[list[Image]]:
    """Return the same images, inverted where high values are black (MONOCHROME1), and with padding filled.

    Inversion subtracts each value from one constant of the whole scan: the sum of the least and the greatest value that
    the stored bits can hold, and the largest such sum where images differ. Where the result would exceed 16 bits, it is
    the sum of the least and the greatest value of the images. Padding gets the least value of all other pixels.

    Args:
        cycles: images of every slice in order of time; an image may occur several times.
        repairs: list to which a remark is added for what was done.

    Raises:
        CofError: CINE_UNREADABLE, all pixels are padding.
    """
    images = list({image: None for cycle in cycles for image in cycle})
    greys = [image.grey for image in images]
    if stray := sum(grey.stray_bits for grey in greys):
        repairs.append(f"bits beyond BitsStored (an overlay or leftovers) ignored in {stray} of {len(greys)} images")
    repairs.extend(
        f"slice {number} consists of padding only"
        for number, cycle in enumerate(cycles, 1)
        if all(image.grey.padded is not None and image.grey.padded.all() for image in cycle)
    )
    greys = _filled(_inverted(greys, repairs), repairs)
    changed = {image: image if grey is image.grey else replace(image, grey=grey) for image, grey in zip(images, greys)}
    return [[changed[image] for image in cycle] for cycle in cycles]


def _inverted(greys: list[Grey], repairs: list[str]) -> list[Grey]:
    black = [grey for grey in greys if grey.mirror is not None]
    if not black:
        return greys
    mirror = max(grey.mirror for grey in black if grey.mirror is not None)
    least, greatest = _ends(black)
    if mirror - least > np.iinfo(np.int16).max:
        mirror = float(least + greatest)
    repairs.append(
        f"{len(black)} of {len(greys)} images inverted (MONOCHROME1, high values are black): {mirror:g} - value"
    )
    return [grey if grey.mirror is None else replace(grey, pixels=_mirrored(grey.pixels, mirror)) for grey in greys]


def _mirrored(pixels: np.ndarray, mirror: float) -> np.ndarray:
    if np.issubdtype(pixels.dtype, np.integer) and mirror.is_integer():
        return int(mirror) - pixels.astype(np.int32 if pixels.itemsize <= 2 and mirror < 2**31 else np.int64)
    return np.float32(mirror) - pixels


def _filled(greys: list[Grey], repairs: list[str]) -> list[Grey]:
    padding = sum(int(grey.padded.sum()) for grey in greys if grey.padded is not None)
    if not padding:
        return greys
    fill, _ = _ends(greys)
    share = padding / sum(grey.pixels.size for grey in greys)
    repairs.append(
        f"{share:.2%} of all pixels are padding (PixelPaddingValue): set to {fill:g}, the least value of the others"
    )
    return [
        grey if grey.padded is None else replace(grey, pixels=np.where(grey.padded, fill, grey.pixels))
        for grey in greys
    ]


def _ends(greys: list[Grey]) -> tuple[float, float]:
    """Return the least and the greatest value of all pixels that are not padding; raise CofError if there are none."""
    real = [grey.pixels if grey.padded is None else grey.pixels[~grey.padded] for grey in greys]
    real = [pixels for pixels in real if pixels.size]
    if not real:
        raise CofError(
            Reason.CINE_UNREADABLE, "PixelPaddingValue marks every pixel as padding: correct or remove this element"
        )
    return min(pixels.min() for pixels in real).item(), max(pixels.max() for pixels in real).item()
