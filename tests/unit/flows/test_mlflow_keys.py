"""MLflow's own database takes classes of any name as metrics, params and tags, and keeps them apart."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from components.base.keys import as_key
from components.base.log import Log
from components.data.labels import Labels
from flows.settings import PARAMS, load_settings
from flows.stage import stage
from flows.tracking.mlflow_log import recorded_run
from tests.unit.flows.test_mlflow_log import newest
from tests.unit.names import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("plain_checkout")


@pytest.fixture
def odd_classes(plain_checkout) -> tuple[str, ...]:
    """params.yaml with a class for each name."""
    values = YAML(typ="safe").load(PARAMS.read_text())
    values["labels"] = {"scheme": "odd", "schemes": {"odd": {name: [name] for name in CLASS_NAMES}}}
    values["clinical"] |= {"malignant": None, "severity": None, "costs": None}
    with PARAMS.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(values, file)
    return load_settings().labels.classes


def test_every_class_is_a_metric_and_a_param_of_its_own(odd_classes: tuple[str, ...]) -> None:
    counts = {name: 100 + place for place, name in enumerate(odd_classes)}

    @stage
    def odd_names(labels: Labels, log: Log) -> dict:
        log.tags(dict.fromkeys(odd_classes, "seen"))
        return {"images": len(counts), "classes": counts, "splits": {name: {"train": 1} for name in odd_classes}}

    odd_names.run([])
    run = newest("odd_names")
    metrics = {key: value for key, value in run.data.metrics.items() if key.startswith("classes/")}
    assert sorted(metrics.values()) == sorted(counts.values())
    assert len([key for key in run.data.metrics if key.startswith("splits/")]) == len(odd_classes)
    params = [value for key, value in run.data.params.items() if key.startswith("labels.schemes.odd.")]
    assert sorted(params) == sorted(str([name]) for name in odd_classes)
    assert all(run.data.tags[as_key(name)] == "seen" for name in odd_classes)
    assert len({as_key(name) for name in odd_classes}) == len(odd_classes) == len(CLASS_NAMES)


def test_a_plain_class_keeps_its_plain_metric(odd_classes: tuple[str, ...]) -> None:
    with recorded_run(load_settings(), "plain", {"stage": "plain"}) as log:
        log.metrics({"classes/mel": 1, "val/balanced_accuracy": 0.5})
    assert {"classes/mel", "val/balanced_accuracy"} <= set(newest("plain").data.metrics)
