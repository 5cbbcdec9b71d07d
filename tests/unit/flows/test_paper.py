"""The stage paper: seven claims from the records of other stages, on a study with a known truth."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import chdir
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.comparison.against_null import read_against_null
from components.paper.curve_measures import epochs_to_converge
from components.pretraining import vae
from components.report.page import PAGES
from flows.paper import paper
from tests.unit.comparison.simulated_study import write_json
from tests.unit.flows.paper_study import arguments, build

CREDIT = {"learned": True, "below": [], "baselines": [], "alarms": []}
"""An arm against which nothing speaks."""

KEYS = ["convergence", "gap", "fall", "steadiness", "shortcuts", "adaptability", "latent"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its VAE has no gap, and its val loss falls less than that of ImageNet."""
    folder = tmp_path_factory.mktemp("paper")
    build(folder)
    return folder


def run(folder: Path, **chosen: object) -> tuple[dict, dict, str, SilentLog]:
    """Metrics, record, page and log."""
    log = SilentLog()
    with chdir(folder):
        metrics = paper.work(**{**arguments(), "log": log, **chosen})
        record = json.loads(Path("reports/paper.json").read_text())
        return metrics, record, Path("reports/paper.html").read_text(), log


def edit(folder: Path, name: str, change: object) -> None:
    """Change a record in place."""
    record = json.loads((folder / name).read_text())
    change(record)
    write_json(folder / name, record)


@pytest.fixture
def copied(study: Path, tmp_path: Path) -> Path:
    """A copy that a test can change."""
    subprocess.run(["cp", "-r", f"{study}/.", str(tmp_path)], check=True)
    return tmp_path


def above_null_lines(record: dict) -> None:
    record["against_null"] = {name: CREDIT for name in record["against_null"]}


def record_resamples(folder: Path) -> int:
    return min(
        json.loads((folder / "reports" / f"{name}.json").read_text())["plan"]["resamples"]
        for name in ("comparison", "robustness")
    )


def words(record: dict, of: str = "paper") -> dict[str, str]:
    (model,) = record[of]
    return {key: each["word"] for key, each in model["answers"].items()}


def test_each_claim_has_one_word_with_the_truth_of_the_study(copied: Path) -> None:
    edit(copied, "reports/comparison.json", above_null_lines)
    metrics, record, page, log = run(copied)
    found = words(record)
    assert list(found) == KEYS
    assert found["gap"] == "confirmed"
    assert found["fall"] == "contradicted"
    assert found["steadiness"] == "not decided"  # neither arm's accuracy ever falls
    assert found["adaptability"] == "not tested"
    assert found["latent"] == "contradicted"
    counts = {word: list(found.values()).count(word.replace("_", " ")) for word in list(metrics)[:4]}
    assert metrics == {**counts, "tests": 6}
    assert record["smallest_p"] == pytest.approx(6 * 2 / (record_resamples(copied) + 1))
    assert log.lines[0].startswith(
        "vae against imagenet, encoder frozen. Confirmed: smaller overfitting gap. Contradicted: "
    )
    assert log.lines[-1] == "Look at reports/paper.html"
    assert {path.name for _, path in log.artifacts} == {"paper.html", "paper.json"}
    assert run(copied)[2] == page


def test_numbers_are_those_of_the_comparison(study: Path) -> None:
    _, record, _, _ = run(study)
    comparison = json.loads((study / "reports/comparison.json").read_text())
    (test,) = record["paper"][0]["answers"]["gap"]["tests"]
    (difference,) = comparison["differences"]
    assert test["difference"] == difference["gap"]
    assert test["p"] == difference["tests"]["gap"]["p"] <= test["holm"]
    assert test["arm"] - test["reference"] == pytest.approx(difference["gap"]["mean"])


BASELINE = {"baseline": "colour", "difference": {"mean": -0.02, "low": -0.05, "high": 0.01}}
"""An arm whose mean is below a baseline, without being significantly below it."""


@pytest.mark.parametrize(
    ("changes", "credit", "reason"),
    [
        ({}, True, ""),
        ({"learned": False}, False, "no credit: vae is not shown to be above chance in balanced accuracy"),
        ({"alarms": ["dead decoder"]}, False, "no credit: the pretraining of vae has alarms: dead decoder"),
        ({"baselines": [BASELINE]}, False, "no credit: vae is below the baseline colour"),
        ({"below": ["log loss"]}, True, ""),  # a warning about probabilities alone, as in the verdict
    ],
)
def test_a_small_gap_gets_the_credit_that_the_verdict_gives(
    copied: Path, changes: dict, credit: bool, reason: str
) -> None:
    def change(record: dict) -> None:
        above_null_lines(record)
        record["against_null"]["vae-frozen"] = CREDIT | changes

    edit(copied, "reports/comparison.json", change)
    _, record, page, _ = run(copied)
    found = words(record)
    assert found["gap"] == ("confirmed" if credit else "not decided")
    assert found["fall"] == found["latent"] == "contradicted"  # what speaks against an arm needs no credit of it
    assert reason in page
    assert read_against_null(CREDIT | changes).gets_credit is credit


def test_a_reference_without_credit_contradicts_nothing(copied: Path) -> None:
    def change(record: dict) -> None:
        above_null_lines(record)
        record["against_null"]["imagenet-frozen"] = CREDIT | {"baselines": [BASELINE]}

    edit(copied, "reports/comparison.json", change)
    _, record, page, _ = run(copied)
    assert words(record)["fall"] == "not decided"
    assert "no credit: imagenet is below the baseline colour" in page


def test_the_latent_space_is_judged_by_the_probes_of_the_encoders(study: Path) -> None:
    _, record, _, _ = run(study)
    probes = json.loads((study / "reports/pretraining.json").read_text())
    (test,) = record["paper"][0]["answers"]["latent"]["tests"]
    (difference,) = probes["differences"]
    assert (test["difference"], test["p"], test["claimed"]) == (difference["difference"], difference["p"], 1)
    assert test["arm"] - test["reference"] == pytest.approx(difference["difference"]["mean"], abs=1e-5)
    assert test["difference"]["high"] < 0 and test["seeds"] == 3


def test_external_sets_and_curves_over_labels_test_adaptability(study: Path) -> None:
    metrics, record, page, _ = run(study, **arguments(external=("pad",), protocols=("frozen",)))
    cohort, labels = record["paper"][0]["answers"]["adaptability"]["tests"]
    assert metrics["tests"] == 8
    assert cohort["difference"]["low"] > 0 and cohort["claimed"] == 1  # the VAE loses less
    assert labels["p"] < 0.05 and labels["claimed"] == -1  # it never reaches what imagenet reaches
    assert labels["difference"]["mean"] is None
    assert "lesions needed, % of all: more than all against 100.0" in page
    assert words(record)["adaptability"] == "not decided"


def test_few_seeds_decide_nothing(copied: Path) -> None:
    edit(copied, "reports/comparison.json", lambda record: record["plan"]["rule"].update(min_seeds=5))
    _, record, page, _ = run(copied)
    assert set(words(record).values()) == {"not decided", "not tested"}
    assert "3 seeds, compare.min_seeds requires 5" in page


def test_too_few_lesions_to_mask_leave_shortcuts_untested(copied: Path) -> None:
    def forget(record: dict) -> None:
        for sheet in record["sheets"]:
            sheet["shortcuts"] = [each | {"kept": None} for each in sheet["shortcuts"]]

    edit(copied, "reports/robustness.json", forget)
    assert words(run(copied)[1])["shortcuts"] == "not tested"


def test_without_a_vae_the_papers_claims_are_not_tested_and_other_arms_are_shown_apart(copied: Path) -> None:
    kinds = arguments()["pretrain"]
    kinds.arms["vae"] = kinds.arms["vae"].model_copy(update={"kind": "random"})
    metrics, record, page, log = run(copied, pretrain=kinds)
    assert metrics == {"confirmed": 0, "contradicted": 0, "not_decided": 0, "not_tested": 7, "tests": 0}
    assert record["paper"] == [] and words(record, "others")["fall"] == "contradicted"
    reason = "no arm is of kind vae; the arms beside imagenet are of kind random"
    assert log.lines[0] == f"The paper's claims: not tested, since {reason}."
    assert f"Not tested: {reason}." in page and "The paper says nothing of these arms" in page


def test_a_vae_that_starts_from_published_weights_is_not_the_papers(copied: Path) -> None:
    kinds = arguments()["pretrain"]
    kinds.arms["vae"] = vae.Config(**(vae.EXAMPLE | {"init": {"source": "package"}}))
    assert kinds.arms["vae"].licence is not None
    assert (
        "no arm is of kind vae; the arms beside imagenet are of kind vae from published"
        in run(copied, pretrain=kinds)[2]
    )


def test_another_reference_than_imagenet_tests_none_of_the_papers_claims(copied: Path) -> None:
    kinds = arguments()["pretrain"]
    kinds.arms["imagenet"] = kinds.arms["imagenet"].model_copy(update={"kind": "random"})
    assert "the reference imagenet is of kind random, the paper" in run(copied, pretrain=kinds)[2]


def test_one_arm_makes_a_page(copied: Path) -> None:
    edit(copied, "reports/comparison.json", lambda record: record["plan"].update(arms=["imagenet"]))
    metrics, record, _, log = run(copied)
    assert metrics["not_tested"] == 7 and not record["others"]
    assert "the arms beside imagenet are of kind none" in log.lines[0]


def test_images_that_are_not_of_their_curve_and_missing_files_are_named(copied: Path) -> None:
    file = copied / "curves/finetune/vae-frozen-0.csv"
    curve = pd.read_csv(file)
    curve.assign(**{"val/loss": curve["val/loss"] + 1}).to_csv(file, index=False)
    with pytest.raises(DataError, match=r"vae-frozen-0 are not of its curve: val/loss is "):
        run(copied)
    file.unlink()
    with pytest.raises(DataError, match=r"vae-frozen-0.csv is missing, expected a run that was compared"):
        run(copied)


def test_the_measures_of_a_curve_are_those_of_the_curve_as_it_is(study: Path) -> None:
    answers = run(study)[1]["paper"][0]["answers"]
    curves = [pd.read_csv(study / f"curves/finetune/vae-frozen-{seed}.csv") for seed in range(3)]
    falls = [curve["val/loss"].iloc[-1] / curve["val/loss"].iloc[0] - 1 for curve in curves]
    assert answers["fall"]["tests"][0]["arm"] == pytest.approx(np.mean(falls), abs=1e-5)
    times = [epochs_to_converge(curve[["val/balanced_accuracy"]].to_numpy(), 1 / 3)[0] for curve in curves]
    assert answers["convergence"]["tests"][0]["arm"] == pytest.approx(np.mean(times), abs=1e-5)


def test_the_page_is_whole_and_loads_nothing(study: Path) -> None:
    _, record, page, _ = run(study)

    class Tags(HTMLParser):
        open: list[str] = []  # noqa: RUF012  # of one parse

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Tags()
    reader.feed(page)
    assert reader.open == []
    assert not re.search(r"https?:|@import|<script", page)
    assert set(re.findall(r'href="([^"]*)"', page)) == set(PAGES)
    text = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page)))
    for claim in record["claims"]:
        assert claim["title"] in text and claim["paper"] in text and claim["measured"] in text
    assert "arXiv 2505.16773" in text
