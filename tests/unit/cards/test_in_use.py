"""The model card states for which class frequencies its probabilities are, and what those of a clinic change."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest

from flows.cards import cards
from tests.unit.cards.simulated_run import (
    CLASSES,
    TRUTH,
    arguments,
    chosen_of,
    ends_of,
    load_json,
    numbers_in,
    prepare,
    read_text,
    table_below,
)
from tests.unit.comparison.simulated_study import settings

SHARE = 0.02
"""Of malignant images in the clinic."""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A study whose clinic is stated."""
    clinical = settings(TRUTH)["clinical"].model_copy(update={"deployment": SHARE})
    place = tmp_path_factory.mktemp("deployed")
    with chdir(place):
        prepare(clinical=clinical)
        cards.work(**arguments(repo, clinical=clinical))
    return place


def frequencies(cell: str) -> list[float]:
    """The shares of a cell, in the order of the classes."""
    found = [cell.partition(f"{name} ")[2].partition(" %")[0] for name in CLASSES]
    return [float(share) / 100 for share in found]


def train_shares(folder: Path) -> np.ndarray:
    shares = load_json(folder, "reports/clinical.json")["plan"]["train_frequencies"]
    return np.array([shares[name] for name in CLASSES])


def test_the_card_states_the_clinic_and_its_class_frequencies(deployed: Path) -> None:
    """With one number, malignant and benign classes keep their ratios within train: a closed form."""
    rows = re.findall(
        r"^\| (As trained|Restored|In the clinic)[^|]*\| ([^|]*) \|$", read_text(deployed, "model_card.md"), re.M
    )
    found = {name: re.sub(r"\\(.)", r"\1", cell) for name, cell in rows}
    train = train_shares(deployed)
    malignant = np.isin(CLASSES, settings(TRUTH)["clinical"].malignant)
    assert 0 < malignant.sum() < len(CLASSES)
    within = np.where(malignant, SHARE / train[malignant].sum(), (1 - SHARE) / train[~malignant].sum())
    assert frequencies(found["Restored"]) == pytest.approx(train, abs=0.0006)
    assert frequencies(found["In the clinic"]) == pytest.approx(train * within, abs=0.0006)


def test_the_effect_on_the_figures_is_that_of_the_clinical_page(deployed: Path) -> None:
    _, _, assessment = chosen_of(deployed)
    rows = {cells[0]: cells[1:] for cells in table_below(effect_part(deployed), "Effect")}
    for place, column in (("study", 0), ("deployed", 1)):
        found = assessment["deployment"][place]
        for point in found["points"]:
            where = f"threshold for {100 * point['level']:g} % {point['fixed']}"
            for title, name in (("PPV", "ppv"), ("NPV", "npv"), ("Referred", "referred")):
                assert numbers_in(rows[f"{title}, {where}"][column]) == ends_of(point["rates"][name])
        assert numbers_in(rows["Log loss"][column]) == ends_of(found["log_loss"], 1)
        assert numbers_in(rows["Calibration intercept, malignancy"][column]) == ends_of(found["line"]["intercept"], 1)
        assert numbers_in(rows["Mean probability of malignancy"][column]) == ends_of(found["line"]["predicted"])


def test_referred_images_follow_from_sensitivity_and_specificity_at_the_stated_share(deployed: Path) -> None:
    _, _, assessment = chosen_of(deployed)
    rows = {cells[0]: cells[1:] for cells in table_below(effect_part(deployed), "Effect")}
    for point in assessment["deployment"]["deployed"]["points"]:
        rates = point["rates"]
        called = SHARE * rates["sensitivity"]["mean"] + (1 - SHARE) * (1 - rates["specificity"]["mean"])
        cell = rows[f"Referred, threshold for {100 * point['level']:g} % {point['fixed']}"][1]
        assert numbers_in(cell)[0] == pytest.approx(100 * called, abs=0.051)


def test_net_benefit_in_the_clinic_is_that_of_the_clinical_page_and_treat_all_has_its_closed_form(
    deployed: Path,
) -> None:
    _, _, assessment = chosen_of(deployed)
    curve = assessment["deployment"]["deployed"]["benefit"]
    part = read_text(deployed, "model_card.md")
    rows = table_below("# Benefit\n" + part[part.index("| Threshold, probability of malignancy |") :], "Benefit")
    assert len(rows) == len(curve["thresholds"]) > 2
    for (threshold, model, treat_all, treat_none, over), at, its, advantage in zip(
        rows, curve["thresholds"], curve["model"], curve["over_both"], strict=True
    ):
        assert threshold == f"{100 * at:g} %" and treat_none == "0"
        for cell, found in ((model, its), (over, advantage)):
            ends = [1000 * found[end] for end in ("mean", "low", "high")]
            assert numbers_in(cell) == pytest.approx(ends, abs=0.051)
        everyone = 1000 * (SHARE - (1 - SHARE) * at / (1 - at))  # all malignant ones found, all others treated
        assert numbers_in(treat_all) == pytest.approx([everyone], abs=0.051)
        assert numbers_in(over)[0] == pytest.approx(numbers_in(model)[0] - max(everyone, 0), abs=0.11)


def effect_part(folder: Path) -> str:
    """The second table below the heading, with a heading of its own."""
    part = read_text(folder, "model_card.md").partition("### Class frequencies\n")[2].partition("\n### ")[0]
    return "\n# Effect\n" + part[part.index("| Measure |") :]


def test_a_clinic_that_is_not_stated_is_said_to_be_so_with_the_prior_of_the_probabilities(folder: Path) -> None:
    part = read_text(folder, "model_card.md").partition("### Class frequencies\n")[2].partition("\n### ")[0]
    assert "| In the clinic | **not stated** |" in part
    assert "The class frequencies of the clinic are not stated" in part
    assert "| Measure |" not in part and "Net benefit" not in part
    assert f"nv {100 * train_shares(folder)[list(CLASSES).index('nv')]:.1f} %" in part
