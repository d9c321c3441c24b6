"""Planning, preprocessing and training through nnU-Net v2's API, reproducible and resumable."""

import copy
import json
import logging
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
from nnunetv2.preprocessing.preprocessors import default_preprocessor
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from cof.artefacts.folders import whole_file
from cof.config.data import LabelSettings
from cof.errors import UsageError
from cof.heart.structures import STRUCTURES
from cof.labels import artefact
from cof.labels.augmentation import wide
from cof.labels.dataset import DATASET, Case, write_raw
from cof.labels.environment import nnunet_folders, threads_for_processes
from cof.progress import Progress

log = logging.getLogger(__name__)

_DATASET_ID = 1
_PLANS = "nnUNetPlans"
_UPRIGHT = (-np.pi / 6, np.pi / 6)
_LATEST = "checkpoint_latest.pth"
_FINAL = "checkpoint_final.pth"


class CineTrainer(nnUNetTrainer):
    """nnU-Net's trainer with our settings, which can be repeated and resumed exactly.

    Every epoch starts from its own seed and ends with a complete checkpoint, so a resumed training gives the same
    weights as one that was never interrupted. (The constructor keeps nnU-Net's signature, because nnU-Net inspects it.)
    """

    seed: int
    augmentation: str
    momentum: float
    half: bool
    batch_size: int
    whole_from: int
    whole_slices: list[int]
    progress: Progress

    def configure(self, settings: LabelSettings, seed: int) -> None:
        """Apply the settings and the seed, and build the network. Call this once, before anything else."""
        self.seed = seed
        self.num_epochs = settings.epochs
        self.num_iterations_per_epoch = settings.iterations
        # nnU-Net's own ratio: 250 training and 50 validation iterations.
        self.num_val_iterations_per_epoch = max(1, settings.iterations // 5)
        self.augmentation = settings.augmentation
        self.half = settings.half_precision
        self.whole_from = self.num_epochs - settings.whole_epochs
        self.initial_lr = settings.learning_rate
        self.momentum = settings.momentum
        self.save_every = 1
        self.logger.plot_progress_png = lambda output_folder: None  # takes seconds per epoch; the report draws log.csv
        self.seed_all(0)
        self.initialize()

    def seed_all(self, stage: int) -> None:
        """Seed every random generator that nnU-Net uses. Stage 0 is initialisation; epoch e is stage e + 1."""
        drawn = int(np.random.SeedSequence([self.seed, stage]).generate_state(1)[0])
        random.seed(drawn)
        np.random.seed(drawn)  # noqa: NPY002 - the generator that nnU-Net's data loader uses
        torch.manual_seed(drawn)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Make nnU-Net's optimizer and schedule, with our momentum."""
        optimizer, schedule = super().configure_optimizers()
        for group in optimizer.param_groups:
            group["momentum"] = self.momentum
        return optimizer, schedule

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple:
        """Return nnU-Net's range of rotation and its mirroring; for upright hearts small rotations and no mirroring."""
        rotation, dummy_2d, initial_patch, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if self.augmentation == "upright":
            rotation, mirror_axes = _UPRIGHT, ()
            self.inference_allowed_mirroring_axes = None
            initial_patch = get_patch_size(self.configuration_manager.patch_size, *3 * [rotation], (0.85, 1.25))
        return rotation, dummy_2d, initial_patch, mirror_axes

    def get_training_transforms(  # type: ignore[override]
        self, patch_size: Any, rotation: Any, scales: Any, mirror_axes: Any, *args: Any, **kwargs: Any
    ) -> BasicTransform:
        """Return the wide augmentation, or nnU-Net's own.

        In the latter, the blur no longer chooses its algorithm by measured time, which would not be reproducible.
        """
        if self.augmentation == "wide":
            return wide(tuple(patch_size), rotation, mirror_axes, scales)
        args = (patch_size, rotation, scales, mirror_axes, *args)
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        for transform in transforms.transforms:
            inner = getattr(transform, "transform", transform)
            if isinstance(inner, GaussianBlurTransform):
                inner.benchmark = False
        return transforms

    def train_step(self, batch: dict) -> dict:
        """Take nnU-Net's training step, with convolutions in bfloat16 if half precision is set."""
        if not self.half:
            return super().train_step(batch)
        target = [part.to(self.device) for part in batch["target"]]
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self.network(batch["data"].to(self.device))
        loss = self.loss([part.float() for part in output], target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}

    def run_training(self) -> None:
        """Train the remaining epochs."""
        with Progress("nnU-Net", self.num_epochs, "epoch", self.current_epoch) as shown:
            self.progress = shown
            super().run_training()

    def on_epoch_start(self) -> None:
        """Seed the epoch, and switch to whole slices for the last `whole_epochs`."""
        super().on_epoch_start()
        configuration = self.configuration_manager.configuration
        if self.current_epoch >= self.whole_from and configuration["patch_size"] != self.whole_slices:
            # The number of pixels per batch stays the same.
            share = np.prod(configuration["patch_size"]) / np.prod(self.whole_slices)
            configuration["patch_size"] = self.whole_slices
            self.batch_size = max(2, round(self.batch_size * share))
            self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        self.seed_all(self.current_epoch + 1)

    def on_epoch_end(self) -> None:
        """Log, write a checkpoint, and advance the progress bar."""
        super().on_epoch_end()
        loss, dice = (self.logger.get_value(name, step=-1) for name in ("train_losses", "mean_fg_dice"))
        self.progress.step(noted=f"loss {loss:.3f}, pseudo Dice {dice:.3f}")

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint, which gets its name only when it is complete.

        No best checkpoint is kept: nnU-Net predicts with the last one.
        """
        if not filename.endswith("checkpoint_best.pth"):
            with whole_file(Path(filename)) as aside:
                super().save_checkpoint(str(aside))

    def print_to_log_file(self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        """Send nnU-Net's messages to the debug log."""
        log.debug("nnU-Net: %s", " ".join(map(str, args)).strip())

    def _save_debug_information(self) -> None:
        """Keep the name of the machine out of the folder."""

    def history(self) -> pd.DataFrame:
        """Return one row per epoch: losses, pseudo Dice (random patches of held-out cases, pooled), learning rate."""
        dice = np.array(self.logger.get_value("dice_per_class_or_region", step=None), float)
        return pd.DataFrame(
            {
                "epoch": np.arange(1, len(dice) + 1),
                "train_loss": self.logger.get_value("train_losses", step=None),
                "validation_loss": self.logger.get_value("val_losses", step=None),
                **{f"pseudo_dice_{name}": dice[:, label - 1] for name, label in STRUCTURES.items()},
                "learning_rate": self.logger.get_value("lrs", step=None),
            }
        )


def _working_grid(cases: list[Case], spacing_mm: float | None) -> tuple[tuple[float, float, float], np.ndarray]:
    """Choose the spacing (z, y, x in mm) to resample to, and a patch size (y, x) that holds nearly every slice whole.

    nnU-Net takes the median spacing and size. Native spacings of one scanner differ by about one percent, so half of
    the slices would be a pixel or two larger than the median patch and need four tiles each. With the 90th percentile,
    nearly all need one tile. Spacings of several scanners differ by more: for those set `labels.spacing_mm` (in-plane).
    """
    spacing = np.array([case.spacing_mm for case in cases])
    in_plane = np.percentile(spacing[:, 1:], 90, axis=0) if spacing_mm is None else np.full(2, spacing_mm)
    wanted = np.array([np.median(spacing[:, 0]), *in_plane])
    sizes = [np.round(np.array(case.image.shape[1:]) * case.spacing_mm[1:] / wanted[1:]) for case in cases]
    return (float(wanted[0]), float(wanted[1]), float(wanted[2])), np.percentile(sizes, 90, axis=0)


def _edit_plans(plans: dict[str, Any], size: np.ndarray, settings: LabelSettings) -> dict[str, Any]:
    """Return nnU-Net's plans with our batch size, width and depth, and patches that hold slices of `size` (y, x).

    Raises:
        UsageError: nnU-Net would transpose the stacks, because the slice axis is not the coarsest.
    """
    if plans["transpose_forward"] != [0, 1, 2]:
        raise UsageError(
            "the annotated stacks are coarser in-plane than across slices, so they are not short-axis stacks: check "
            "the spacing of the cines"
        )
    configuration = plans["configurations"][artefact.CONFIGURATION]
    architecture = configuration["architecture"]["arch_kwargs"]
    levels = min(settings.levels, architecture["n_stages"])
    widest = max(architecture["features_per_stage"])
    stride = np.prod(architecture["strides"][:levels], axis=0)
    configuration |= {
        "batch_size": settings.batch,
        "patch_size": [int(length) for length in np.ceil(size / stride) * stride],
    }
    architecture |= {
        "n_stages": levels,
        "features_per_stage": [min(settings.features * 2**level, widest) for level in range(levels)],
        "strides": architecture["strides"][:levels],
        "kernel_sizes": architecture["kernel_sizes"][:levels],
        "n_conv_per_stage": architecture["n_conv_per_stage"][:levels],
        "n_conv_per_stage_decoder": architecture["n_conv_per_stage_decoder"][: levels - 1],
    }
    return plans | {"configurations": {artefact.CONFIGURATION: configuration}}


def prepare(cases: list[Case], held_out: set[str], settings: LabelSettings, root: Path) -> None:
    """Write the raw dataset, let nnU-Net take its fingerprint, plan and preprocess it, and fix the split.

    Args:
        cases: the annotated frames.
        held_out: pseudonyms of the held-out participants.
        settings: batch size, width, depth and spacing override nnU-Net's plan.
        root: folder for nnU-Net's files; it is complete once `root/prepared` exists.
    """
    done = root / "prepared"
    if done.exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with (
        Progress("planning and preprocessing for nnU-Net", None),
        nnunet_folders(root),
        threads_for_processes(fingerprint_extractor),
        threads_for_processes(default_preprocessor),
    ):
        raw = write_raw(cases, root / "raw", settings.neighbours)
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(_DATASET_ID, num_processes=1)
        extractor.show_progress_bar = False
        # By default nnU-Net draws 10^8 samples for intensity statistics, which z-score normalisation does not use.
        extractor.num_foreground_voxels_for_intensitystats = 1e6
        extractor.run(overwrite_existing=True)
        spacing, size = _working_grid(cases, settings.spacing_mm)
        plan_experiment_dataset(_DATASET_ID, overwrite_target_spacing=spacing)
        preprocessed = root / "preprocessed" / DATASET
        plans_file = preprocessed / f"{_PLANS}.json"
        plans = _edit_plans(json.loads(plans_file.read_text()), size, settings)
        plans_file.write_text(json.dumps(plans, indent=1))
        split = {
            "train": [case.name for case in cases if case.participant not in held_out],
            "val": [case.name for case in cases if case.participant in held_out],
        }
        (preprocessed / "splits_final.json").write_text(json.dumps([split], indent=1))
        configuration = PlansManager(plans).get_configuration(artefact.CONFIGURATION)
        preprocessor = configuration.preprocessor_class(verbose=False)
        preprocessor.show_progress_bar = False
        preprocessor.run(_DATASET_ID, artefact.CONFIGURATION, _PLANS, num_processes=1)
    shutil.rmtree(raw)
    done.touch()


def planned(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the plans and the dataset description (without its list of cases) that `prepare` wrote to `root`."""
    preprocessed = root / "preprocessed" / DATASET
    plans = json.loads((preprocessed / f"{_PLANS}.json").read_text())
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    del dataset["dataset"]
    return plans, dataset


def _with_patch(plans: dict[str, Any], settings: LabelSettings) -> dict[str, Any]:
    """Return the plans for training, with patches of at most `patch_mm`; prediction takes whole slices."""
    if settings.patch_mm is None:
        return plans
    plans = copy.deepcopy(plans)
    configuration = plans["configurations"][artefact.CONFIGURATION]
    stride = np.prod(configuration["architecture"]["arch_kwargs"]["strides"], axis=0)
    wanted = settings.patch_mm / np.array(configuration["spacing"]) / stride
    whole = configuration["patch_size"]
    configuration["patch_size"] = [min(int(length), most) for length, most in zip(np.ceil(wanted) * stride, whole)]
    return plans


def fit(root: Path, settings: LabelSettings, seed: int, model: Path) -> pd.DataFrame:
    """Train on the prepared dataset, from the latest checkpoint if there is one, and write the model folder.

    Args:
        root: folder that `prepare` has filled.
        settings: settings of the training.
        seed: seed of weights, sampling and augmentation.
        model: existing folder for the trained nnU-Net.

    Returns:
        The history of the training, one row per epoch.
    """
    plans, dataset = planned(root)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with nnunet_folders(root, settings.augmentation_workers):
        trainer = CineTrainer(
            _with_patch(plans, settings) | {"continue_training": False}, artefact.CONFIGURATION, 0, dataset, device
        )
        trainer.configure(settings, seed)
        trainer.whole_slices = plans["configurations"][artefact.CONFIGURATION]["patch_size"]
        folder = Path(trainer.output_folder)
        found = next((folder / name for name in (_FINAL, _LATEST) if (folder / name).exists()), None)
        if found is not None:
            trainer.load_checkpoint(str(found))
            log.info("nnU-Net resumes after epoch %d of %d", trainer.current_epoch, settings.epochs)
        if trainer.current_epoch < settings.epochs:
            trainer.run_training()
        axes = None if trainer.augmentation == "upright" else (0, 1)
        artefact.write_model(model, plans, dataset, trainer.network.state_dict(), axes)
        return trainer.history()
