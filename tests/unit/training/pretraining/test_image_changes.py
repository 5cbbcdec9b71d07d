"""Random changes of images: symmetries, crops against torchvision, colours, hidden cells."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2.functional import resized_crop

from components.models.encoder import IMAGENET_MEAN
from components.training.pretraining.image_changes import (
    ImageChanges,
    hide_cells,
    jitter_colours,
    random_crop,
    random_symmetry,
)


@pytest.fixture
def images():
    return 0.2 + 0.6 * torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("share", "cell", "count"), [(0.5, 8, 8), (0.25, 16, 1), (0.75, 4, 48)])
def test_whole_cells_are_hidden_as_many_in_each_image(images, share, cell, count):
    found = hide_cells(images, share, cell)
    grey = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    hidden = (found == grey).all(dim=1)  # (B, S, S)
    cells = hidden.unfold(1, cell, cell).unfold(2, cell, cell).flatten(3).float().mean(dim=3)  # (B, n, n)
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    assert (cells.sum(dim=(1, 2)) == count).all()
    assert torch.equal(found[~hidden[:, None].expand_as(found)], images[~hidden[:, None].expand_as(images)])


def test_every_cell_is_hidden_equally_often():
    torch.manual_seed(0)
    often = (hide_cells(torch.zeros(4000, 3, 32, 32), 0.5, 16) != 0)[:, 0, ::16, ::16].float().mean(dim=0)
    assert (often - 0.5).abs().max() < 0.04


def test_cells_at_the_border_are_cut_where_the_side_is_no_multiple():
    assert hide_cells(torch.zeros(2, 3, 50, 50), 0.5, 16).shape == (2, 3, 50, 50)


def test_colours_change_within_their_limits_and_their_mean_stays():
    torch.manual_seed(0)
    flat = torch.full((4000, 3, 1, 1), 0.4)  # one colour has no contrast and no saturation
    found = jitter_colours(flat, 0.2) / 0.4
    assert found.min() >= 0.8 * 0.9 and found.max() <= 1.2 * 1.1
    assert float(found.mean()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(jitter_colours(flat, 0.0), flat)


def test_each_image_gets_its_own_colours_and_pixels_stay_in_their_range(images):
    found = jitter_colours(images[:1].expand(20, -1, -1, -1), 0.5)
    assert len({round(float(image.mean()), 4) for image in found}) > 15
    assert found.min() >= 0 and found.max() <= 1


def test_without_changes_the_images_stay(images):
    assert ImageChanges()(images) is images


def test_every_symmetry_of_the_square_comes_up_equally_often():
    torch.manual_seed(0)
    picture = torch.arange(9.0).view(1, 1, 3, 3)
    turned = random_symmetry(picture.expand(8000, 1, 3, 3))
    kinds_, counts = turned.flatten(1).unique(dim=0, return_counts=True)
    turns = [torch.rot90(side, k, (2, 3)) for side in (picture, picture.flip(3)) for k in range(4)]
    assert {tuple(row.tolist()) for row in kinds_} == {tuple(turn.flatten().tolist()) for turn in turns}
    assert counts.min() > 850 and counts.max() < 1150


def test_a_crop_of_the_whole_area_is_the_image(images):
    torch.testing.assert_close(random_crop(images, 1.0), images)


def test_crops_keep_their_area_and_lie_inside_the_image_everywhere():
    """A ramp tells from its cropped values which part they come from: its ends are the part's ends."""
    torch.manual_seed(0)
    side, count = 64, 4000
    ramp = ((torch.arange(side) + 0.5) / side).expand(count, 1, side, side)  # the pixel's place, 0 to 1
    found = random_crop(ramp, 0.25)[:, 0, 0]  # (N, S) one row of each
    width = (found[:, -1] - found[:, 0]) * side / (side - 1)  # from outermost pixel centres to the part's edges
    inside = (found[:, 0] > 1 / side) & (found[:, -1] < 1 - 1 / side)  # elsewhere the border bends the ramp
    areas = width[inside] ** 2
    assert float(width.square().min()) >= 0.25 - 0.02 and float(areas.max()) <= 1
    assert float(found.min()) >= 0.5 / side - 1e-5 and float(found.max()) <= 1 - 0.5 / side + 1e-5
    assert float(width.square().mean()) == pytest.approx(0.625, abs=0.01)  # uniform between 0.25 and 1
    middle = found[:, side // 2 - 1 : side // 2 + 1].mean(dim=1)
    assert float(middle.mean()) == pytest.approx(0.5, abs=0.01)


def test_a_crop_is_what_torchvision_cuts_and_enlarges(images, monkeypatch):
    """Area 1/4 in the upper left corner, without antialiasing: an enlargement needs none."""
    draws = iter([torch.zeros(20), torch.zeros(20, 2)])  # the smallest part; as far to the upper left as it goes
    monkeypatch.setattr(torch, "rand", lambda *_given, **_named: next(draws))
    found = random_crop(images, 0.25)
    expected = resized_crop(images, top=0, left=0, height=16, width=16, size=[32, 32], antialias=False)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5, rtol=0)  # inner pixels


def test_each_image_has_its_own_changes(images):
    changes = ImageChanges(least_area=0.3, jitter=0.2, hidden=0.25, cell=8)
    torch.manual_seed(0)
    found = changes(images[:1].expand(20, -1, -1, -1))
    assert found.shape == images.shape and len({image.numpy().tobytes() for image in found}) == 20
