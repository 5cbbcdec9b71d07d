"""What changed since the run before: images by class, metrics, verdicts and the recommended model."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.validation.drift import assemble
from flows.orchestration.run_report import Result, describe

SENTENCE = "No recommendation: {} is best on val"


def images(labels: dict[str, str], quarantined: tuple[str, ...] = ()) -> pd.DataFrame:
    """A version of the data set: ids with their labels."""
    records = pd.DataFrame({"image_id": list(labels), "label": list(labels.values())}).astype("str")
    records = records.assign(path=records["image_id"] + ".jpg", diagnosis=records["label"], source="own")
    facts = pd.DataFrame({"path": records["path"], "sha256": "hash of " + records["image_id"]}).astype("str")
    return assemble(records, facts, records[~records["image_id"].isin(quarantined)])


def compared(verdict: str, best: str) -> dict[str, Any]:
    return {
        "differences": [{"verdict": {"sentence": verdict}}], "recommendation": {"sentence": SENTENCE.format(best)}
    }  # fmt: skip


OLD = Result({"vae/ece": 0.25, "old/ece": 0.5}, compared("vae is worse.", "vae"), images({"a": "mel", "b": "nv"}))


def lines(before: Result | None, now: Result) -> list[str]:
    return describe("clinic", before, now, "the run of yesterday").splitlines()


def test_images_are_counted_by_class() -> None:
    now = Result(OLD.metrics, OLD.comparison, images({"b": "nv", "c": "nv", "d": "nv", "e": "bcc"}, ("d",)))
    found = lines(OLD, now)
    assert found[0] == "# clinic: changes since the run of yesterday"
    assert {"| bcc | 1 | 0 | 0 | 1 |", "| mel | 0 | 1 | 1 | 0 |", "| nv | 2 | 0 | 1 | 2 |"} <= set(found)
    assert "Of the images of both runs: 0 relabelled, 0 replaced, 0 renamed, 0 newly accepted" in "\n".join(found)


def test_metrics_show_both_values_and_the_difference() -> None:
    found = lines(OLD, Result({"vae/ece": 0.125, "new/ece": 1.0, "stages/all": 3}, OLD.comparison, OLD.images))
    rows = [line for line in found if "/ece" in line]
    assert rows == [
        "| new/ece | none | 1 |  |", "| old/ece | 0.5 | none |  |", "| vae/ece | 0.25 | 0.125 | -0.125 |"
    ]  # fmt: skip
    assert not [line for line in found if "stages/" in line]


def test_verdict_and_recommendation_show_what_they_were() -> None:
    found = lines(OLD, Result(OLD.metrics, compared("vae is better.", "old"), OLD.images))
    assert found[found.index("## Verdicts") :][2:4] == ["- now: vae is better.", ""]
    assert {
        "- before: vae is worse.",
        "- now: " + SENTENCE.format("old"),
        "- before: " + SENTENCE.format("vae"),
    } <= set(found)


def test_a_run_that_changed_nothing_says_so_in_each_section() -> None:
    found = lines(OLD, OLD)
    assert sum(line.startswith("No changes") for line in found) == 4
    assert "- vae is worse." in found


def test_the_first_run_shows_what_there_is() -> None:
    found = lines(None, OLD)
    assert found[0] == "# clinic: the first finished run"
    assert not [line for line in found if "cache" in line]
    assert {"| mel | 1 |", "| nv | 1 |", "| vae/ece | none | 0.25 |  |", "- now: vae is worse."} <= set(found)


def test_former_tables_that_are_lost_are_told() -> None:
    found = lines(Result(OLD.metrics, OLD.comparison), OLD)
    assert "The tables of the run before are not known or no longer in DVC's cache." in found
    assert "| mel | 1 |" in found


def test_a_run_without_comparison_has_a_report() -> None:
    found = lines(None, Result({"stages/all": 1}))
    assert {"This run made no tables of images.", "There are no metrics of arms."} <= set(found)
