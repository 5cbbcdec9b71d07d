"""The page shows maps with their verdict, and loads nothing from the network."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from components.explanations import page
from components.explanations.analysis import ExplanationsResult
from tests.unit.explanations.explained_runs import QUESTION, small_result


@pytest.fixture(scope="module")
def result() -> ExplanationsResult:
    return small_result()


def render(result: ExplanationsResult) -> str:
    grey = page.encode_photograph(np.full((8, 8, 3), 128, np.uint8))
    photographs = dict.fromkeys(["a", "b", "c", "t1"], grey)
    return page.render(result, photographs, page.draw_figures(result))


def test_a_map_that_failed_its_check_is_crossed_out_with_a_warning(result: ExplanationsResult) -> None:
    text = render(result)
    assert text.count('class="map unread"') == 2  # one a case, of vae
    assert text.count('class="map"') == 2
    assert text.count("map: do not read") == 2
    assert "The maps of 1 of 2 models may be read: imagenet-frozen" in re.sub(r"\s+", " ", text)
    assert "they show the image and not what was learned" in text


def test_the_page_loads_nothing_from_the_network_and_states_what_it_is_not(result: ExplanationsResult) -> None:
    text = render(result)
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert text.count("<h1>") == 1
    assert "Not a medical device" in text
    assert "malignant predicted as benign" in text
    assert "wrong in 1 of 1 seed, and in 0 of 1 other arm" in text
    assert "SYNTHETIC" not in text
    assert "SYNTHETIC" in render(replace(result, question=replace(QUESTION, synthetic=True)))
    assert text == render(result)


def test_the_headline_counts_the_models(result: ExplanationsResult) -> None:
    bad, good = result.models
    assert "<h1>No model's maps may be read</h1>" in render(replace(result, models=(bad,)))
    assert "The maps of the model depend on what it learned" in render(replace(result, models=(good,)))
    assert "The maps of all 2 models depend on what they learned" in render(replace(result, models=(good, good)))


def test_a_map_keeps_sign_and_strength_as_colour_and_opacity() -> None:
    uri = page.encode_map(np.array([[1.0, 0.0], [-0.5, -1.0]]))
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert pixels[..., 3].tolist() == [[255, 0], [128, 255]]
    assert pixels[0, 0, :3].tolist() == [0xD5, 0x5E, 0x00]
    assert pixels[1, 0, :3].tolist() == [0x00, 0x72, 0xB2]


def test_large_images_are_reduced() -> None:
    data = page.encode_photograph(np.zeros((300, 300, 3), np.uint8)).split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (page.SIDE,) * 2
