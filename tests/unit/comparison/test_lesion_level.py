"""Figures per lesion against scikit-learn on averaged probabilities, and what counts as a lesion."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from components.comparison.comparison import Comparison
from components.comparison.lesion_level import find_units, measure_lesions
from components.comparison.rarest_class import plan_rarest_class
from components.statistics.bootstrap import make_design
from components.statistics.prior import Priors
from components.statistics.runs import Images, Run, same_images
from tests.unit.comparison.simulated_study import CLASSES, Truth, simulate_comparison

TRUTH = Truth(right={"vae": 0.7, "imagenet": 0.8}, gap={"vae": 0.1, "imagenet": 0.2}, lesions=90)
UNIFORM = np.full(3, 1 / 3)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, list[Run]]:
    """Two arms, two protocols, three seeds; a lesion has one to three images."""
    return simulate_comparison(TRUTH, tmp_path_factory.mktemp("study"))


def test_figures_per_lesion_are_those_of_averaged_probabilities(study: tuple[Comparison, list[Run]]) -> None:
    comparison, runs = study
    own = [run for run in runs if run.id.model == "vae-frozen"]
    balanced, losses = [], []
    for run in own:
        table = run.predictions[run.predictions["split"] == "test"]
        mean = table.groupby("lesion_id")[[f"p_{name}" for name in CLASSES]].mean()
        label = table.groupby("lesion_id")["label"].first()
        balanced.append(balanced_accuracy_score(label, np.array(CLASSES)[mean.to_numpy().argmax(1)]))
        losses.append(log_loss(label, mean.to_numpy(), labels=list(CLASSES)))
    found = comparison.lesion_level.models["vae-frozen"]
    assert found["balanced_accuracy"].mean == pytest.approx(np.mean(balanced))
    assert found["log_loss_restored"].mean == pytest.approx(np.mean(losses))  # training kept the class frequencies
    assert found["balanced_accuracy"].low < np.mean(balanced) < found["balanced_accuracy"].high


def test_the_paired_difference_per_lesion_is_the_difference_of_the_means(study: tuple[Comparison, list[Run]]) -> None:
    found = study[0].lesion_level
    means = [found.models[f"{arm}-full"]["balanced_accuracy"].mean for arm in ("vae", "imagenet")]
    assert found.differences["vae-full"].mean == pytest.approx(means[0] - means[1])
    assert set(found.differences) == {"vae-frozen", "vae-full"}


def test_lesions_with_several_images_are_counted(study: tuple[Comparison, list[Run]]) -> None:
    comparison, runs = study
    table = runs[0].predictions
    sizes = table[table["split"] == "test"]["lesion_id"].value_counts()
    assert comparison.lesion_level.lesions == len(sizes)
    assert comparison.lesion_level.several == (sizes > 1).sum()


def test_a_patient_with_lesions_of_several_classes_is_no_unit_and_an_unknown_lesion_is_its_image() -> None:
    images = Images(np.array(list("abcdef")), np.array([0, 0, 1, 1, 0, 0]), np.array(["p", "p", "p", "q", "q", "q"]))
    units = find_units(["1", "1", "2", None, "", float("nan")], images)
    assert units.member.tolist() == [0, 0, 1, 2, 3, 4]
    assert (units.several, units.unknown, units.mixed) == (1, 3, 0)


def test_a_lesion_id_of_two_classes_counts_as_one_lesion_a_class() -> None:
    images = Images(np.array(list("abc")), np.array([0, 1, 1]), np.array(["p", "p", "p"]))
    units = find_units(["1", "1", "1"], images)
    assert units.member.tolist() == [0, 1, 1]
    assert units.mixed == 1
    np.testing.assert_allclose(units.average(np.array([[1.0], [0.2], [0.4]])), [[1.0], [0.3]])


def test_nothing_is_measured_twice_where_every_lesion_has_one_image(study: tuple[Comparison, list[Run]]) -> None:
    comparison, runs = study
    single = [Run(run.id, run.predictions.assign(lesion_id=run.predictions["image_id"])) for run in runs]
    test = same_images(single, "test", CLASSES)
    design = make_design(test.groups, test.labels, 20, np.random.default_rng(0))
    units = find_units(
        single[0].predictions.query("split == 'test'").sort_values("image_id")["lesion_id"].tolist(), test
    )
    found = measure_lesions(single, units, test, design, comparison.question, Priors(UNIFORM, UNIFORM))
    assert (found.models, found.several, found.lesions) == ({}, 0, len(test.names))


def test_the_lesions_of_the_classes_add_up_to_the_test_lesions(study: tuple[Comparison, list[Run]]) -> None:
    comparison, runs = study
    lesions = runs[0].predictions.query("split == 'test'")["lesion_id"]
    assert sum(comparison.test_lesions.values()) == comparison.known_lesions == lesions.nunique()


def test_the_rarest_class_is_planned_for_a_sensitivity_of_four_fifths() -> None:
    found = plan_rarest_class({"nv": 500, "df": 12, "mel": 80}, 0.95)
    assert (found.name, found.lesions) == ("df", 12)
    assert found.describe(0.95).startswith(
        "The rarest class, df, has 12 test lesions: at a sensitivity of 80 % its 95 %"
    )
    assert f"for ±5 points {found.needed} lesions are needed" in found.describe(0.95)
    empty = plan_rarest_class({"nv": 5, "df": 0}, 0.95)
    assert empty.describe(0.95).startswith("The rarest class, df, has no test lesion: its sensitivity is not known")
