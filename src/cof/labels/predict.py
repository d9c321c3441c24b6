"""Labelling of every frame of a cine by the trained nnU-Net."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from cof.errors import UsageError
from cof.labels import artefact
from cof.labels.components import largest_components
from cof.labels.environment import quiet
from cof.labels.neighbours import channels


class _BatchedPredictor(nnUNetPredictor):
    """nnU-Net's predictor, but with several tiles (slices) per forward pass instead of one.

    Tiling, mirroring, Gaussian weights and the half-precision accumulator are nnU-Net's own, so the labels are those of
    nnU-Net.
    """

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        # nnU-Net's method reloads the weights and sets the number of threads for every volume. Here the weights stay.
        return self.predict_sliding_window_return_logits(data).to("cpu")

    @torch.inference_mode()
    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: list[tuple], do_on_device: bool = True
    ) -> torch.Tensor:
        device = self.device if do_on_device else torch.device("cpu")
        data = data.to(device)
        logits = torch.zeros(
            (self.label_manager.num_segmentation_heads, *data.shape[1:]), dtype=torch.half, device=device
        )
        weight = torch.zeros(data.shape[1:], dtype=torch.half, device=device)
        patch = tuple(self.configuration_manager.patch_size)
        gaussian = compute_gaussian(patch, sigma_scale=1.0 / 8, value_scaling_factor=10, device=device)
        size = self.configuration_manager.batch_size
        for first in range(0, len(slicers), size):
            chunk = slicers[first : first + size]
            tiles = torch.stack([data[slicer] for slicer in chunk]).to(self.device)
            predicted = self._internal_maybe_mirror_and_predict(tiles).to(device)
            for slicer, tile in zip(chunk, predicted):
                logits[slicer] += tile * gaussian
                weight[slicer[1:]] += gaussian
        logits /= weight
        if torch.isinf(logits).any():
            raise RuntimeError("the network's output is not finite")
        return logits


class Labeller:
    """The trained nnU-Net, ready to label cines. Made by `Labeller.load`."""

    def __init__(self, trained: artefact.Trained, mirroring: bool) -> None:
        if mirroring and trained.mirroring_axes is None:
            raise UsageError(
                "labels.mirroring: true needs a labeller that was trained with mirroring, and this one was not: set "
                "labels.mirroring: false, or train with labels.augmentation: nnunet or wide"
            )
        self._channels = trained.channels
        with quiet():
            self._predictor = _BatchedPredictor(
                use_mirroring=mirroring, device=trained.device, allow_tqdm=False, verbose=False
            )
            self._predictor.manual_initialization(
                trained.network,
                trained.plans,
                trained.configuration,
                [trained.network.state_dict()],
                trained.dataset,
                "nnUNetTrainer",
                trained.mirroring_axes,
            )

    @classmethod
    def load(cls, folder: Path, mirroring: bool) -> "Labeller":
        """Check the hashes of a labeller folder and load it.

        Args:
            folder: written by `cof.labels.stage.train`.
            mirroring: average the predictions of all mirrored images, at four times the cost.

        Raises:
            UsageError: the folder is incomplete or was changed, or mirroring is asked of a labeller that was trained
                without it.
        """
        return cls(artefact.load(folder), mirroring)

    def segment(self, volume: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
        """Label one stack by nnU-Net's official prediction, before any clean-up.

        Args:
            volume: [Z, Y, X], native intensities.
            spacing_mm: along z, y, x.

        Returns:
            uint8 [Z, Y, X].
        """
        image = np.stack(channels(np.asarray(volume, np.float32), self._channels))
        return self._predictor.predict_single_npy_array(image, {"spacing": list(spacing_mm)}).astype(np.uint8)

    def label(
        self,
        frames: np.ndarray,
        spacing_mm: tuple[float, float, float],
        labelled: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """Label a cine: nnU-Net frame by frame (intensities normalised over the stack), then `largest_components`.

        On a CPU, frames are labelled in parallel: as many at a time as torch has threads.

        Args:
            frames: [T, Z, Y, X], native intensities.
            spacing_mm: along z, y, x.
            labelled: called after each frame, to show progress; with parallel frames, from their threads.

        Returns:
            uint8 [T, Z, Y, X]: 0 background, 1 LV, 2 myocardium, 3 RV.
        """

        def one(frame: np.ndarray) -> np.ndarray:
            labels = largest_components(self.segment(frame, spacing_mm))
            labelled()
            return labels

        threads = torch.get_num_threads()
        with quiet():
            if threads == 1 or self._predictor.device.type != "cpu":
                return np.stack([one(frame) for frame in frames])
            torch.set_num_threads(1)
            try:
                with ThreadPoolExecutor(threads) as pool:
                    return np.stack(list(pool.map(one, frames)))
            finally:
                torch.set_num_threads(threads)
