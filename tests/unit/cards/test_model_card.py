"""The model card: each number is that of the run, and its limits are stated."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import chdir
from html import unescape
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from flows.cards import cards
from tests.unit.cards.simulated_run import (
    CLASSES,
    TRUTH,
    arguments,
    chosen_of,
    ends_of,
    load_json,
    measured_by,
    numbers_in,
    prepare,
    read_text,
    table_below,
)
from tests.unit.comparison.simulated_study import settings, write_json


def test_the_overall_numbers_are_those_of_the_run(folder: Path) -> None:
    run, row, _ = chosen_of(folder)
    table = table_below(read_text(folder, "model_card.md"), "Overall")
    names = ("balanced_accuracy", "macro_auroc", "accuracy", "log_loss", "ece")
    for name, (_, own, mean) in zip(names, table, strict=True):
        unit = 1 if name in ("macro_auroc", "log_loss") else 100
        assert numbers_in(own) == [pytest.approx(unit * measured_by(run)[name], abs=0.06 * unit / 100)]
        assert numbers_in(mean) == ends_of(row["test"][name], unit)


def test_each_class_has_its_own_numbers_and_counts_of_lesions(folder: Path) -> None:
    run, row, _ = chosen_of(folder)
    comparison, measured = load_json(folder, "reports/comparison.json"), measured_by(run)
    for name, cells in zip(CLASSES, table_below(read_text(folder, "model_card.md"), "By class"), strict=True):
        assert cells[0].removesuffix(" †").split(" (")[0] == name  # then the name spelled out
        assert numbers_in(cells[1]) + numbers_in(cells[2]) == [
            comparison["test_images"][name],
            comparison["test_lesions"][name],
        ]
        assert numbers_in(cells[3]) == ends_of(row["test"][f"sensitivity.{name}"])
        assert numbers_in(cells[4]) == [pytest.approx(100 * measured["sensitivity"][name], abs=0.051)]
        assert numbers_in(cells[5]) == [pytest.approx(100 * measured["specificity"][name], abs=0.051)]


def test_thresholds_and_temperature_are_those_of_this_run_and_not_of_another_seed(folder: Path) -> None:
    run, _, assessment = chosen_of(folder)
    place = list(TRUTH.seeds).index(int(run.rpartition("-")[2]))
    points = [point for each in assessment["operating"] for point in each["points"]]
    rows = table_below(read_text(folder, "model_card.md"), "Operating points")
    for point, cells in zip(points, rows, strict=True):
        assert float(cells[2]) == point["thresholds"][place]  # to the last bit, since others decide by it
        for name, cell in zip(("sensitivity", "specificity", "ppv", "npv"), cells[3:], strict=True):
            assert numbers_in(cell) == ends_of(point["test"][name])
    temperatures = assessment["calibration"]["temperatures"]
    assert len(set(temperatures)) == len(temperatures)
    assert f"**Temperature of this run: {temperatures[place]}.**" in read_text(folder, "model_card.md")


def test_calibration_is_shown_before_and_after_temperature_scaling(folder: Path) -> None:
    _, _, assessment = chosen_of(folder)
    rows = table_below(read_text(folder, "model_card.md"), "Calibration")
    for column, found in ((1, assessment["calibration"]["before"]), (2, assessment["calibration"]["after"])):
        assert numbers_in(rows[0][column]) == ends_of(found["log_loss"], 1)
        assert numbers_in(rows[1][column]) == ends_of(found["brier"], 1)
        assert numbers_in(rows[2][column]) == ends_of(found["errors"]["squared"], 1)


def test_subgroups_are_those_of_the_clinical_section(folder: Path) -> None:
    _, _, assessment = chosen_of(folder)
    shown = [each for each in assessment["subgroups"]["subgroups"] if each["groups"] >= 20]
    rows = table_below(read_text(folder, "model_card.md"), "Subgroups")
    assert len(shown) >= 4
    assert any(each["differences"] for each in shown)
    for each, cells in zip(shown, rows, strict=True):
        assert cells[0] == f"{each['attribute']}: {each['value']}"
        assert numbers_in(cells[1]) + numbers_in(cells[2]) == [each["images"], each["groups"]]
        for name, cell in zip(("balanced_accuracy", "sensitivity", "specificity"), cells[3:], strict=False):
            known = name in each["differences"]
            assert known or cell == "too few lesions"
            if known:
                assert numbers_in(cell) == [*ends_of(each["values"][name]), *ends_of(each["differences"][name])]


def test_a_subgroup_of_few_lesions_shows_no_number(tmp_path: Path, repo: Path) -> None:
    clinical = settings(TRUTH)["clinical"].model_copy(update={"least_groups": 80})
    with chdir(tmp_path):
        prepare(clinical=clinical)
        cards.work(**arguments(repo, clinical=clinical))
        found = chosen_of(Path())[2]["subgroups"]["subgroups"]
        text = Path("reports/model_card.md").read_text()
    few = [each for each in found if each["groups"] is None]
    assert all(each["groups"] >= 80 for each in found if each not in few)
    assert few and len(few) < len(found)
    part = text.partition("### Subgroups")[2].partition("\n## ")[0]
    named = part.partition("Fewer than 80 lesions, and so without any number: ")[2]
    for each in few:
        assert f"| {each['attribute']}: {each['value']} |" not in part
        assert f"{each['attribute']}: {each['value']}" in named


def test_where_malignancy_and_subgroups_are_not_known_the_card_says_so(tmp_path: Path, repo: Path) -> None:
    clinical = settings(TRUTH)["clinical"].model_copy(update={"malignant": None, "severity": None, "costs": None})
    with chdir(tmp_path):
        prepare(clinical=clinical)
        found = json.loads(Path("reports/clinical.json").read_text())
        for assessment in found["sheets"]:
            assessment["subgroups"] = None
        write_json(Path("reports/clinical.json"), found)
        cards.work(**arguments(repo, clinical=clinical))
        text = Path("reports/model_card.md").read_text()
    assert "Not known: no class is named as malignant (`clinical.malignant`)." in text
    assert text.count("No attribute of the test images is known by which subgroups could be compared.") == 2
    assert table_below(text, "Calibration")


def test_hugging_face_reads_the_front_matter(folder: Path) -> None:
    run, _, _ = chosen_of(folder)
    card = ModelCard(read_text(folder, "model_card.md"), ignore_metadata_errors=False)
    assert (card.data.license, card.data.datasets, card.data.model_name) == ("unknown", ["ham10000"], run)
    assert {"dermatology", "imagenet", "not-a-medical-device"} <= set(card.data.tags)
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["balanced_accuracy"] == pytest.approx(measured_by(run)["balanced_accuracy"], abs=1e-6)
    assert values["roc_auc"] == pytest.approx(measured_by(run)["macro_auroc"], abs=1e-6)
    assert card.text.strip().startswith(f"# Model card: {run}")


def test_the_model_is_named_by_the_hash_and_the_parameters_of_its_file(folder: Path) -> None:
    run, _, _ = chosen_of(folder)
    details = dict(table_below(read_text(folder, "model_card.md"), "Model details"))
    digest = hashlib.sha256((folder / "classifiers" / f"{run}.safetensors").read_bytes()).hexdigest()
    assert details["Weights, sha256"] == f"`{digest}`"
    assert details["Parameters"] == "11"  # the running mean was not learned
    assert "Dermflow 9.8.7" in details["Made with"]


def test_the_cards_limits_are_those_of_the_comparison(folder: Path) -> None:
    limits = load_json(folder, "reports/comparison.json")["limits"]
    text = re.sub(r"\\(.)", r"\1", read_text(folder, "model_card.md"))
    assert len(limits) >= 4
    assert all(f"- {limit}\n" in text for limit in limits)
    page = unescape((folder / "reports" / "comparison.html").read_text())
    assert all(limit in page for limit in limits)
