"""The model card shows the model of the card on each external test set, with the licence of its images."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from dataclasses import asdict
from pathlib import Path

from components.data.adapters.pad_ufes import Config as PadUfes
from components.external_validation.record import as_record
from flows.cards import cards
from flows.settings.data import Cohort
from tests.unit.cards.simulated_run import arguments, chosen_of, ends_of, numbers_in, read_text, table_below
from tests.unit.external_validation.planted_drop import assess_runs, simulate_runs


def record_of(run: str) -> dict:
    """An analysis whose last model has the arm and protocol of the card's run."""
    record = as_record(assess_runs(simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}), resamples=20))
    record["sheets"][1] |= dict(zip(("arm", "protocol"), run.split("-"), strict=False))
    record["sheets"][0] |= {"arm": "another"}
    record["plan"]["missing_ids"]["external"] = ["no image has an id"]
    return json.loads(json.dumps(record | {"data": asdict(PadUfes.licence)}))


def test_the_card_has_the_numbers_of_its_own_model_and_the_licence_of_the_images(
    folder: Path, tmp_path: Path, repo: Path
) -> None:
    place = tmp_path / "study"
    shutil.copytree(folder, place)
    record = record_of(chosen_of(place)[0])
    (place / "reports" / "external" / "pad.json").write_text(json.dumps(record))
    pad = Cohort(name="pad", dataset=PadUfes(path=Path("data/raw/pad")))
    with chdir(place):
        cards.work(**arguments(repo, external=(pad,)))
    text = read_text(place, "model_card.md")
    ((name, images, lesions, classes, *values),) = table_below(text, "External test sets")
    changed = record["sheets"][1]["changes"]["balanced_accuracy"]
    assert (name, classes) == ("pad", ", ".join(record["labels"]["compared"]))
    assert numbers_in(images) == [sum(each["external_images"] for each in record["labels"]["classes"])]
    assert numbers_in(lesions) == [record["lesions"]["external"]]
    for cell, side in zip(values, ("internal", "external", "drop"), strict=True):
        assert numbers_in(cell) == ends_of(changed[side])
    assert f"- pad: {PadUfes.licence.name} (" in text and f"; {PadUfes.licence.terms}. **no image has an id.**" in text
    assert "None: nothing is known of its performance" not in text


def test_without_an_external_set_the_card_says_so(folder: Path) -> None:
    text = read_text(folder, "model_card.md")
    assert "### External test sets\n\nNone: nothing is known of its performance on images of another clinic" in text
