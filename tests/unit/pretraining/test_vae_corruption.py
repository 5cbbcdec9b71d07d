"""Hidden cells and changed colours of the encoder's input."""

from __future__ import annotations

import pytest
import torch

from components.models.encoder import IMAGENET_MEAN
from components.pretraining.vae.corruption import hide_cells, jitter_colours
from components.pretraining.vae.learner import Corruption


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


def test_without_corruption_the_input_is_the_image(images):
    assert Corruption()(images) is images
