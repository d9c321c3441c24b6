import numpy as np
import pytest
import torch

from cof.config.motion import RegistrationSettings
from cof.motion.losses import dice_loss, diffusion_energy, excess, image_loss, labels_loss, mse_loss, ncc_loss

WINDOW = (3, 9, 9)


def _everywhere(batch: int, depth: int) -> torch.Tensor:
    return torch.ones(batch, depth, dtype=torch.bool)


def test_identical_images_have_no_loss():
    image = torch.rand(2, 1, 6, 20, 20)
    assert ncc_loss(image, image, WINDOW, _everywhere(2, 6)) < 1e-4
    assert ncc_loss(-0.5 * image, image, WINDOW, _everywhere(2, 6)) < 1e-4  # the sign and size of contrast are free
    assert ncc_loss(torch.rand_like(image), image, WINDOW, _everywhere(2, 6)) > 0.7


def test_local_correlation_agrees_with_numpy_window_by_window():
    a, b = torch.rand(2, 1, 1, 5, 11, 12).double()
    found = 1 - ncc_loss(a, b, (3, 5, 3), _everywhere(1, 5)).item()
    padded = [np.pad(image[0, 0].numpy(), ((1, 1), (2, 2), (1, 1))) for image in (a, b)]
    squared = []
    for z, y, x in np.ndindex(5, 11, 12):
        p, q = (image[z : z + 3, y : y + 5, x : x + 3].ravel() for image in padded)
        p, q = p - p.mean(), q - q.mean()
        squared.append((p @ q) ** 2 / ((p @ p) * (q @ q) + 1e-5))
    assert found == pytest.approx(np.mean(squared), abs=1e-9)


def test_invalid_slices_do_not_count():
    target = torch.rand(1, 1, 8, 16, 16)
    warped = target.clone()
    warped[:, :, 6:] = torch.rand(1, 1, 2, 16, 16)
    valid = torch.tensor([[True] * 5 + [False] * 3])
    assert ncc_loss(warped, target, WINDOW, valid) < 1e-4
    assert ncc_loss(warped, target, WINDOW, _everywhere(1, 8)) > 0.1


def test_even_window_is_refused():
    with pytest.raises(ValueError, match="odd"):
        ncc_loss(torch.rand(1, 1, 4, 8, 8), torch.rand(1, 1, 4, 8, 8), (2, 9, 9), _everywhere(1, 4))


def test_dice_has_its_closed_form():
    teacher = torch.zeros(1, 4, 1, 4, 4)
    teacher[:, 1, :, :2], teacher[:, 2, :, 2], teacher[:, 3, :, 3] = 1, 1, 1
    assert dice_loss(teacher, teacher) == pytest.approx(0, abs=1e-5)
    # Probability p on the right class: dice = 2 p n / (p^2 n + n), the same for every class.
    p = 0.5
    assert dice_loss(p * teacher, teacher) == pytest.approx(1 - 2 * p / (p * p + 1), abs=1e-4)
    assert dice_loss(torch.zeros_like(teacher), teacher) == pytest.approx(1)


def test_dice_ignores_the_background_and_averages_samples():
    teacher = torch.zeros(2, 4, 1, 2, 2)
    teacher[:, 1:] = 1
    student = teacher.clone()
    student[:, 0] = 0.7
    student[1, 1:] = 0
    assert dice_loss(student, teacher) == pytest.approx(0.5, abs=1e-4)


def test_diffusion_energy_of_a_linear_field():
    spacing = (10.0, 3.6, 1.8)
    z, y, x = torch.meshgrid(*(torch.arange(6) * h for h in spacing), indexing="ij")
    field = torch.stack([0.1 * z, 0.2 * x, 0.3 * y - 0.1 * z])[None]
    assert diffusion_energy(field, spacing) == pytest.approx(0.1**2 + 0.2**2 + 0.3**2 + 0.1**2, rel=1e-4)
    assert diffusion_energy(torch.ones_like(field), spacing) == 0


def test_excess_counts_only_what_is_beyond_the_limit():
    u = torch.tensor([1.0, -33.0, 30.0, 31.0])
    assert excess(u, 30.0) == pytest.approx((9 + 1) / 4)


def test_mean_squared_difference_over_the_valid_slices():
    target = torch.rand(2, 1, 4, 6, 6)
    warped = target + 0.5
    warped[:, :, 3] += 9
    valid = torch.tensor([[True, True, True, False]] * 2)
    assert mse_loss(warped, target, valid) == pytest.approx(0.25, rel=1e-4)


def test_the_similarity_of_the_settings_decides():
    a, b, valid = torch.rand(1, 1, 4, 12, 12), torch.rand(1, 1, 4, 12, 12), _everywhere(1, 4)
    window = RegistrationSettings(ncc_window=(1, 5, 5))
    assert image_loss(a, b, valid, window) == ncc_loss(a, b, (1, 5, 5), valid)
    assert image_loss(a, b, valid, RegistrationSettings(similarity="mse")) == mse_loss(a, b, valid)


def test_labels_that_a_displacement_brings_together_have_no_loss():
    """A block moved by two voxels: its pull-back displacement gives no loss, none gives that of the overlap left."""
    labels = torch.zeros(1, 4, 6, 16, 16)
    labels[:, 1, 1:5, 4:10, 4:10], labels[:, 2, 1:5, 4:10, 10:12], labels[:, 3, 1:5, 10:12, 4:12] = 1, 1, 1
    target = labels.roll(2, dims=-1)
    displacement = torch.zeros(1, 3, 6, 16, 16, requires_grad=True)
    back = torch.zeros(1, 3, 6, 16, 16)
    back[:, 2] = -2 * 1.5
    spacing = (10.0, 2.0, 1.5)
    assert labels_loss(labels, target, back, spacing, _everywhere(1, 6)) == pytest.approx(0, abs=1e-5)
    # Dice of classes 6 by 6, 2 by 6 and 8 by 2 (x by y), of which 4, 0 and 6 columns overlap.
    left = labels_loss(labels, target, displacement, spacing, _everywhere(1, 6))
    assert left.item() == pytest.approx(1 - (4 / 6 + 0 + 6 / 8) / 3, abs=1e-5)
    left.backward()
    assert displacement.grad[:, 2].sum() > 0  # the way down is to pull from smaller x


def test_labels_of_invalid_slices_do_not_count():
    labels = torch.zeros(1, 4, 4, 8, 8)
    labels[:, 1, :, 2:6, 2:6], labels[:, 2, :, 6:7], labels[:, 3, :, 7:] = 1, 1, 1
    target = labels.clone()
    target[:, :, 3] = labels[:, :, 3].flip(2)
    still = torch.zeros(1, 3, 4, 8, 8)
    valid = torch.tensor([[True, True, True, False]])
    assert labels_loss(labels, target, still, (10.0, 2.0, 2.0), valid) == pytest.approx(0, abs=1e-5)
    assert labels_loss(labels, target, still, (10.0, 2.0, 2.0), _everywhere(1, 4)) > 0.1
