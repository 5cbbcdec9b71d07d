import numpy as np
import pytest

from components.synthetic.dataset import plan_lesions
from components.synthetic.drawing import stream
from components.synthetic.lesions import RECIPES, blend, draw_lesion


def test_another_seed_gives_other_images():
    first, second = ([draw_lesion(plan_lesions(1, 0, 1, seed)[0], 32, 0.4, seed)] for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_at_full_difficulty_nothing_of_the_class_is_left():
    recipes = [blend(name, 1.0, stream(1, 2, 3)) for name in RECIPES]
    assert all(recipe == pytest.approx(recipes[0]) for recipe in recipes)


def test_without_difficulty_a_lesion_shows_its_class_features_only():
    for name, recipe in RECIPES.items():
        shown = {feature for feature, amount in blend(name, 0.0, stream(1, 2, 3)).items() if amount > 0}
        assert shown == set(recipe)
