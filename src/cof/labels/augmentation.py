"""Augmentation for scans of any scanner: all in-plane orientations, and a wide range of contrast, resolution and
field of view.

The images are z-scored over their stack, so 0 does not mean "no signal". The transforms take the smallest value of a
patch for that.
"""

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from torch.nn.functional import interpolate

# Nodes, along each side, of the grid from which a bias field is interpolated.
_BIAS_NODES = 4


class CoilBiasTransform(ImageOnlyTransform):
    """Multiplication of the signal by a smooth random field, as a surface coil causes it."""

    def __init__(self, log_sd: float) -> None:
        super().__init__()
        self.log_sd = log_sd

    def get_parameters(self, **data_dict: torch.Tensor) -> dict:
        """Draw the field: [1, Y, X], with a mean of about 1."""
        nodes = self.log_sd * torch.randn(1, 1, _BIAS_NODES, _BIAS_NODES)
        size = tuple(data_dict["image"].shape[1:])
        return {"field": interpolate(nodes, size=size, mode="bicubic", align_corners=True)[0].exp()}

    def _apply_to_image(self, img: torch.Tensor, **params: torch.Tensor) -> torch.Tensor:
        dark = img.amin()
        return (img - dark) * params["field"] + dark


class NeighbourTransform(ImageOnlyTransform):
    """In-plane shift of the neighbours of a slice, as between breath-holds, or replacement by the slice itself.

    The slice replaces a missing neighbour at the ends of a stack (`cof.labels.neighbours`).
    """

    def __init__(self, shift_pixels: int, missing: float) -> None:
        super().__init__()
        self.shift_pixels, self.missing = shift_pixels, missing

    def get_parameters(self, **data_dict: torch.Tensor) -> dict:
        """Draw a shift (y, x) in pixels for each neighbour, or None for a missing one."""
        most = self.shift_pixels
        shifts = [
            None if torch.rand(()) < self.missing else torch.randint(-most, most + 1, (2,)).tolist()
            for _ in data_dict["image"][1:]
        ]
        return {"shifts": shifts}

    def _apply_to_image(self, img: torch.Tensor, **params: list) -> torch.Tensor:
        beside = [
            img[0] if shift is None else torch.roll(neighbour, shift, (0, 1))
            for neighbour, shift in zip(img[1:], params["shifts"])
        ]
        return torch.stack([img[0], *beside])


class FieldOfViewTransform(BasicTransform):
    """Blanking of everything outside a random disc or rectangle, which always contains the whole labelled heart."""

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Blank the image. The segmentation stays as it is, because no labelled voxel is blanked."""
        image, labels = data_dict["image"], data_dict["segmentation"][0]
        rows, columns = torch.meshgrid(*(torch.arange(length) for length in labels.shape), indexing="ij")
        heart = (labels > 0).nonzero()
        size = np.array(labels.shape)
        centre = np.array([np.random.uniform(0.35, 0.65) * length for length in size])  # noqa: NPY002 - nnU-Net's
        if np.random.random() < 0.5:  # noqa: NPY002
            least = (heart - torch.from_numpy(centre)).norm(dim=1).max().item() if len(heart) else 0.0
            radius = max(least + 2, np.random.uniform(0.4, 0.65) * size.min())  # noqa: NPY002
            outside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 > radius**2
        else:
            low, high = (heart.amin(0), heart.amax(0)) if len(heart) else (torch.tensor(centre), torch.tensor(centre))
            top, left = (np.random.uniform(0, 0.25) * length for length in size)  # noqa: NPY002
            bottom, right = (np.random.uniform(0.75, 1) * length for length in size)  # noqa: NPY002
            outside = (rows < min(top, low[0])) | (rows > max(bottom, high[0]))
            outside |= (columns < min(left, low[1])) | (columns > max(right, high[1]))
        data_dict["image"] = torch.where(outside, image.amin(), image)
        return data_dict


def wide(
    patch: tuple[int, ...], rotation: tuple[float, float], mirror_axes: tuple[int, ...], scales: list | tuple | None
) -> BasicTransform:
    """Return the chain of transforms for one sample, which has an image [C, Y, X] and a segmentation [1, Y, X].

    Args:
        patch: size (y, x) of the output.
        rotation: range of rotation angles in radians.
        mirror_axes: axes that are mirrored at random.
        scales: scales of the segmentations for deep supervision; None for no deep supervision.
    """
    spatial = SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=0.5,
        rotation=rotation,
        p_scaling=0.4,
        scaling=(0.7, 1.45),
        p_synchronize_scaling_across_axes=0.7,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    appearance: list[tuple[float, BasicTransform]] = [
        (0.3, CoilBiasTransform(0.35)),
        (0.3, ContrastTransform(BGContrast((0.6, 1.5)), preserve_range=False, synchronize_channels=True)),
        (0.2, BrightnessAdditiveTransform(0.0, 0.4)),
        (0.15, GammaTransform(BGContrast((0.6, 1.8)), 1, True, 1, 1)),
        (0.4, GammaTransform(BGContrast((0.5, 2.0)), 0, True, 1, 1)),
        (0.2, GaussianBlurTransform((0.5, 1.2), synchronize_channels=True, synchronize_axes=False, benchmark=False)),
        (0.3, SimulateLowResolutionTransform((0.5, 1), True, True, None, None, 1)),
        (0.2, GaussianNoiseTransform((0, 0.15), p_per_channel=1, synchronize_channels=True)),
        (0.15, FieldOfViewTransform()),
    ]
    neighbours = RandomTransform(NeighbourTransform(2, 0.3), 0.3)
    chain: list[BasicTransform] = [spatial, neighbours, *(RandomTransform(step, share) for share, step in appearance)]
    if mirror_axes:
        chain.append(MirrorTransform(allowed_axes=mirror_axes))
    chain.append(RemoveLabelTansform(-1, 0))
    if scales is not None:
        chain.append(DownsampleSegForDSTransform(ds_scales=scales))
    return ComposeTransforms(chain)
