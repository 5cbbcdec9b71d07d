import numpy as np
import pytest

from components.synthetic.confounders import DRAWINGS, HAIR_COLOURS, hair_cover, paint, ruler_cover
from components.synthetic.drawing import stream


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_confounder_changes_part_of_the_picture(name: str):
    before = np.full((48, 64, 3), 0.7, np.float32)
    after = DRAWINGS[name](before.copy(), stream(1, 2))
    changed = (np.abs(after - before) > 0.02).any(axis=2).mean()
    assert 0.005 < changed < 0.8
    assert np.isfinite(after).all()


def test_paint_covers_fully_where_cover_is_255_and_changes_nothing_where_it_is_0():
    cover = np.zeros((2, 3), np.uint8)
    cover[0] = 255
    painted = paint(np.full((2, 3, 3), 0.5, np.float32), cover, HAIR_COLOURS[0])
    np.testing.assert_allclose(painted[0], np.broadcast_to(np.array(HAIR_COLOURS[0]) / 255, (3, 3)), rtol=1e-6)
    np.testing.assert_array_equal(painted[1], 0.5)


def test_more_hairs_keep_the_first_ones():
    few, many = (hair_cover(64, 80, 0.3, count, stream(1)) for count in (3, 9))
    assert few.any()
    assert (many[few > 0] > 0).all()
    assert (many > 0).sum() > (few > 0).sum()


@pytest.mark.parametrize("top", [True, False])
def test_a_ruler_lies_along_one_edge_with_ticks_at_its_pitch(top: bool):
    cover = ruler_cover(200, 260, top, 0.1, 0.0)
    rows = cover[:20] if top else cover[-20:]
    assert not (cover[100:] if top else cover[:100]).any()
    ticks = np.flatnonzero((rows > 0).sum(axis=0) > 10)
    starts = ticks[np.diff(ticks, prepend=-9) > 3]
    np.testing.assert_allclose(np.diff(starts), 20, atol=1)  # a tenth of 200 pixels
