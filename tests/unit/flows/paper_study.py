"""A study that never ran, with everything that the stage paper reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from components.comparison.record import as_record as comparison_record
from components.comparison.settings import COMPARED_METRICS, Evaluate
from components.external_validation.record import as_record as external_record
from components.label_efficiency.record import as_record as label_record
from components.label_efficiency.settings import LabelEfficiency
from components.pretraining.imagenet import Config as Imagenet
from components.pretraining.random import Config as Random
from components.pretraining.vae import Config as Vae
from components.probes.against_reference import compare_probes
from components.probes.analysis import EncoderProbes, summarise
from components.probes.linear import Probed
from components.probes.record import as_record
from components.robustness.record import as_record as robustness_record
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from flows.settings.data import Cohort
from flows.settings.training import Pretrain
from tests.unit.comparison.simulated_study import Truth, simulate_comparison, write_json
from tests.unit.external_validation.planted_drop import assess_runs
from tests.unit.external_validation.planted_drop import simulate_runs as simulate_external
from tests.unit.label_efficiency.planted_curves import assess_runs as assess_labels
from tests.unit.label_efficiency.planted_curves import simulate_runs as simulate_labels
from tests.unit.robustness.simulated_runs import QUESTION, analyse_simulated, simulate

METHODS = {"vae": Vae, "imagenet": Imagenet, "random": Random}
TRUTH = Truth(
    right={"vae": 0.6, "imagenet": 0.75}, gap={"vae": 0.0, "imagenet": 0.06}, protocols=("frozen",), lesions=120
)
"""The gap is smaller, and the loss falls less."""

PROBE_ACCURACY = {"vae": 0.5, "imagenet": 0.75, "random": 0.4}
"""Of a linear probe on the encoder's features: the VAE's have less structure."""


def build(folder: Path, truth: Truth = TRUTH) -> None:
    """What compare, robustness, external_validation and label_efficiency leave, under `folder`."""
    comparison, _ = simulate_comparison(truth, folder)
    reports = folder / "reports"
    evaluate = Evaluate(metrics=COMPARED_METRICS, calibration_bins=15)
    write_json(reports / "comparison.json", comparison_record(comparison, evaluate))
    write_json(reports / "robustness.json", robustness_record(analyse_simulated(*simulate())))
    found = assess_runs(simulate_external({"imagenet": (2.2, 1.0), "vae": (2.6, 2.6)}), resamples=50)
    record = external_record(found)
    write_json(reports / "external" / "pad.json", record | {"plan": record["plan"] | {"cohort": "pad"}})
    write_json(reports / "pretraining.json", probe_record(PROBE_ACCURACY, truth))
    write_json(reports / "label_efficiency" / "frozen.json", label_record(assess_labels(simulate_labels())))


def probe_record(accuracy: Mapping[str, float], truth: Truth) -> dict:
    """What the stage probe writes of encoders with these balanced accuracies, up to the difficulty of val images."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % len(truth.classes)
    groups, difficulty = np.arange(180) // 2, rng.random(180)  # the same images are difficult for all encoders
    probed = Probed(features=4, train_balanced_accuracy=1.0, balanced_accuracy=0.5, macro_auroc=0.7, effective_rank=3.0)
    probes = []
    for arm in truth.right:
        for seed in truth.seeds:
            right = difficulty + 0.05 * rng.normal(size=180) < accuracy[arm]
            p = np.eye(len(truth.classes))[np.where(right, labels, (labels + 1) % len(truth.classes))]
            own = replace(probed, balanced_accuracy=balanced_accuracy(labels, p))
            probes.append(EncoderProbes(arm, seed, (own,), own, p))
    question = replace(
        QUESTION, arms=tuple(truth.right), seeds=tuple(truth.seeds), classes=tuple(truth.classes), resamples=400
    )
    return as_record(
        summarise(probes, floors=(), found={}, confidence=0.95),
        compare_probes(probes, labels, groups, question),
        train_images=180,
        val_images=180,
    )


def arguments(
    truth: Truth = TRUTH, external: tuple[str, ...] = (), protocols: tuple[str, ...] = ()
) -> dict[str, object]:
    """Of the stage, without its log."""
    return {
        "pretrain": Pretrain.model_construct(arms={arm: METHODS[arm].model_construct(kind=arm) for arm in truth.right}),
        "external": [Cohort.model_validate({"name": n, "dataset": {"kind": "isic", "path": n}}) for n in external],
        "label_efficiency": LabelEfficiency.model_construct(protocols=protocols),
        "paths": truth.paths,
    }
