"""Images in rows and columns, each where its row and column say."""

from __future__ import annotations

import numpy as np
import pytest

from components.report.figures import tiles


def test_tiles_stand_where_their_rows_and_columns_say():
    images = np.zeros((2, 3, 4, 4, 3))
    images[1, 2] = 0.5
    (axes,) = tiles.draw(images, ["above", "below"], "title").axes
    mosaic = axes.images[0].get_array()
    step = 4 + tiles.GAP
    assert mosaic.shape == (2 * step - tiles.GAP, 3 * step - tiles.GAP, 3)
    assert (mosaic[step : step + 4, 2 * step : 2 * step + 4] == 0.5).all()
    assert (mosaic[:4, :4] == 0).all() and (mosaic[4:step] == 1).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["above", "below"]


def test_rows_need_a_name_each():
    with pytest.raises(ValueError, match="1 names for 2 rows"):
        tiles.draw(np.zeros((2, 1, 4, 4, 3)), ["one"], "title")
