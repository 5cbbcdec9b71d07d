"""The answers of the model for use against a naive count of each image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.chosen_model.analysis import of_hundred
from tests.unit.chosen_model.simulated_choice import CLASSES, LEAST, assess, choice, manifest, tables


def _said(row: dict[str, float]) -> str:
    """What `dermflow predict` says: equal frequencies, so the probabilities are used as they are."""
    p = [row[f"p_{name}"] for name in CLASSES]
    if max(p) < 0.5:
        return "unanswered"
    return "malignant" if p[0] + p[1] >= 0.4 else "benign"


def test_shares_of_each_diagnosis_are_those_of_a_naive_count() -> None:
    table, _ = tables()
    said = [_said(row) for row in table.to_dict("records")]
    found = {each.name: each for each in choice().diagnoses}
    names = {"melanoma": "mel", "basal cell carcinoma": "bcc", "naevus": "nv"}
    assert set(found) == set(names)
    for name, word in names.items():
        own = [each for each, label in zip(said, table["label"], strict=True) if label == word]
        assert found[name].images == len(own)
        for part in ("malignant", "benign", "unanswered"):
            share = getattr(found[name], part)
            assert share.mean == pytest.approx(own.count(part) / len(own))
            assert share.low <= share.mean <= share.high
    assert choice().melanoma == found["melanoma"]


def test_a_lesion_with_several_images_counts_once() -> None:
    table, accepted = tables()
    found = table[(table["lesion_id"] < "l15") | (np.arange(480) % 2 == 0)]  # some lesions keep one of two images
    melanoma = assess(found, accepted, manifest()).melanoma
    own = found[found["label"] == "mel"]
    said = pd.Series([_said(row) for row in own.to_dict("records")])
    assert melanoma is not None
    assert melanoma.malignant.mean != pytest.approx((said == "malignant").mean(), abs=1e-4)  # the share of images
    for part in ("malignant", "benign", "unanswered"):
        by_lesion = (said == part).groupby(own["lesion_id"].to_numpy()).mean()
        assert getattr(melanoma, part).mean == pytest.approx(by_lesion.mean())


def test_images_lesions_and_patients_are_counted_apart() -> None:
    _table, accepted = tables()
    found, melanoma = choice(), choice().melanoma
    assert (found.images, found.lesions, found.patients) == (480, 240, 120)
    own = accepted[accepted["diagnosis"] == "mel"]
    assert melanoma is not None
    counts = own["image_id"].nunique(), own["lesion_id"].nunique(), own["patient_id"].nunique()
    assert (melanoma.images, melanoma.lesions, melanoma.groups) == counts
    assert len(set(counts)) == 3


def test_every_skin_type_has_its_row_and_few_melanomas_show_no_number() -> None:
    rows = {each.value: each for each in choice().groups if each.attribute == "skin type"}
    assert list(rows) == ["I", "II", "III", "IV", "V", "VI"]
    _, accepted = tables()
    own = accepted[(accepted["diagnosis"] == "mel") & (accepted["skin_type"] == 2)]
    assert rows["II"].lesions == own["lesion_id"].nunique() >= LEAST
    assert rows["II"].found is not None
    assert [(rows[name].lesions, rows[name].found) for name in ("I", "IV", "V", "VI")] == [(None, None)] * 4


def test_overconfidence_is_that_of_trains_frequencies_whatever_those_of_the_clinic_are() -> None:
    table, accepted = tables()
    rare = assess(table, accepted, manifest({"bcc": 0.01, "mel": 0.01, "nv": 0.98}))
    expected = (table["p_bcc"] + table["p_mel"] - table["label"].isin(["bcc", "mel"])).mean()
    assert rare.overconfidence.mean == pytest.approx(expected)
    assert rare.overconfidence == choice().overconfidence


@pytest.mark.parametrize("seed", range(5))
def test_of_a_hundred_the_parts_add_up_and_miss_their_shares_by_less_than_one(seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(3))
    whole = of_hundred(shares.tolist())
    assert sum(whole) == 100
    assert np.abs(np.array(whole) - 100 * shares).max() < 1
