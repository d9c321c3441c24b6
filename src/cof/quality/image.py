"""Measures of the images of a cine: blur, ghosting, an open cycle, signal dropout."""

import numpy as np
from skimage.measure import blur_effect

from cof.config.base import Triple

Box = tuple[slice, slice]

_MARGIN_MM = 10.0
# Width of the filter that blurs the image again, in pixels; Crete et al. use 9 to 11.
_BLUR_WIDTH = 11


def box_about(mask: np.ndarray, spacing_mm: Triple) -> Box:
    """Return the rows and columns around everything in a mask, with a margin of 10 mm.

    Args:
        mask: bool [..., Y, X], not empty.
        spacing_mm: z, y, x.
    """
    ranges = []
    for axis, spacing in ((-2, spacing_mm[1]), (-1, spacing_mm[2])):
        others = tuple(other for other in range(mask.ndim) if other != mask.ndim + axis)
        held = np.flatnonzero(mask.any(axis=others))
        margin = round(_MARGIN_MM / spacing)
        ranges.append(slice(max(int(held[0]) - margin, 0), min(int(held[-1]) + margin + 1, mask.shape[axis])))
    return ranges[0], ranges[1]


def blur(volume: np.ndarray, box: Box) -> float:
    """Measure the no-reference blur of the heart, 0 (sharp) to 1: median over slices of scikit-image's `blur_effect`.

    The less a slice changes when it is blurred again, the more blurred it is (Crete et al., Proc SPIE 6492, 2007).
    Noise looks sharp and interpolation looks blurred; therefore compare only subjects of one protocol.

    Args:
        volume: [Z, Y, X] intensities.
        box: box of the heart, or of a part of it.

    Returns:
        The blur; NaN for a box that is too small to blur, or for slices without contrast.
    """
    heart = np.asarray(volume[:, *box], float)
    if min(heart.shape[1:]) <= _BLUR_WIDTH:
        return float("nan")
    varied = [image for image in heart if np.ptp(image) > 0]
    return float(np.median([blur_effect(image, h_size=_BLUR_WIDTH) for image in varied])) if varied else float("nan")


def ghost(frames: np.ndarray, ventricle: Box, heart: Box) -> float:
    """Measure the strength of a ghost of the beating left ventricle, as a share of the ventricle; 0 without one.

    A ghost is a copy of the heart, shifted along rows or columns, that beats like the heart. Each pixel's deviation
    from its mean over the cycle is regressed on that of the ventricle's pixel, at every shift that leaves the heart;
    the measure is the largest coefficient. Static tissue cancels and noise averages out. A ghost whose phase differs
    from that of the tissue under it is weakened by the cosine of the difference.

    Args:
        frames: [T, Z, Y, X] intensities.
        ventricle: box of the left ventricle.
        heart: box of the whole heart, which holds it.

    Returns:
        The strength; NaN for fewer than three frames, or if the field of view leaves no room for a ghost.
    """
    if len(frames) < 3:
        return float("nan")
    beating = frames - frames.mean(axis=0, dtype=np.float32)
    found = [
        _strongest_copy(beating[:, :, :, ventricle[1]], ventricle[0], heart[0]),
        _strongest_copy(beating[:, :, ventricle[0], :].swapaxes(2, 3), ventricle[1], heart[1]),
    ]
    known = [value for value in found if np.isfinite(value)]
    return max(known) if known else float("nan")


def _strongest_copy(strip: np.ndarray, source: slice, heart: slice) -> float:
    """Return the largest regression coefficient of `strip` [T, Z, N, M], cyclically shifted along N, on its `source`.

    Only shifts that move the source out of the heart are used.
    """
    size = strip.shape[2]
    shifts = np.arange(heart.stop - source.start, size + heart.start - source.stop + 1)
    inside = np.zeros_like(strip)
    inside[:, :, source] = strip[:, :, source]
    energy = float((inside**2).sum())
    if not len(shifts) or not energy:
        return float("nan")
    spectrum = np.conj(np.fft.rfft(inside, axis=2)) * np.fft.rfft(strip, axis=2)
    correlation = np.fft.irfft(spectrum.sum(axis=(0, 1, 3)), size)
    return float(np.abs(correlation[shifts]).max()) / energy


def closure(frames: np.ndarray, box: Box) -> float:
    """Measure whether the cycle closes: step from the last recorded frame to the first, divided by the largest step.

    A step is the mean absolute difference of two frames in the box. Since no step of the heart is larger than the
    largest one, a value above 1 means that some time was not recorded.

    Args:
        frames: [T, Z, Y, X] intensities in the order of recording.
        box: box of the heart, or of a part of it.

    Returns:
        The ratio; NaN for fewer than three frames or frames that never differ.
    """
    if len(frames) < 3:
        return float("nan")
    heart = np.asarray(frames[:, :, *box], np.float32)
    largest = float(np.abs(np.diff(heart, axis=0)).mean(axis=(1, 2, 3)).max())
    return float(np.abs(heart[0] - heart[-1]).mean()) / largest if largest else float("nan")


def dropout(frames: np.ndarray) -> float:
    """Measure the largest share of a slice's signal that is lost: 0 for none, 1 for a black image.

    A slice in one frame is compared with its median over the cycle, and the median of a slice with that of its darker
    neighbour. Signals are means over the whole slice, which the beating heart hardly changes.

    Args:
        frames: [T, Z, Y, X] intensities, at least 0.
    """
    signal = np.asarray(frames).mean(axis=(2, 3), dtype=np.float64)
    slices = np.median(signal, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        in_time = 1 - signal.min(axis=0) / slices
        darker = np.minimum(np.r_[np.inf, slices[:-1]], np.r_[slices[1:], np.inf])
        in_space = 1 - slices / darker
    # A slice that is black in all frames is compared with its neighbours only.
    return float(max(np.nanmax(np.r_[in_time, in_space]), 0.0))
