"""One new file in each family and nothing else: settings name it, a study runs with it, contract tests cover it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import f1_score

from components.synthetic.dataset import draw_dataset
from flows.orchestration.freshness import read_stages
from tests.pipeline.conftest import REPO, Checkout

pytestmark = pytest.mark.slow
ADDITIONS = REPO / "tests" / "additions"
ADDED = ("two_columns", "resnet10t", "orthogonal", "macro_f1", "low_contrast", "accuracy_and_gap")
STUDY = (
    "dataset={kind: two_columns, path: data/raw/own}", "privacy.key=secret", "synthesize.lesions=0",
    "synthesize.unlabelled=0", "validate.max_missing_share=1", "backbone.kind=resnet10t",
    "study.arms=[random,orthogonal]", "study.reference=random",
    "pretrain.arms={random: {kind: random}, orthogonal: {kind: orthogonal, gain: 1.5}}",
    "evaluate.metrics=[balanced_accuracy,accuracy,macro_auroc,expected_calibration_error,log_loss,macro_f1]",
    "compare.figures=[accuracy_and_gap,confusion]", "robustness.corruptions=[blur,low_contrast]",
)  # fmt: skip


@pytest.fixture(scope="module")
def checkout(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A checkout with the six files, and a folder of images in the new adapter's layout."""
    found = new_checkout()
    shutil.copytree(ADDITIONS, found.folder / "components", dirs_exist_ok=True)
    own = found.folder / "data" / "raw" / "own"
    draw_dataset(
        own, lesions=90, unlabelled=0, image_size=48, images_per_lesion=1, confounding=0.5, difficulty=0.4, seed=3
    )
    table = pd.read_csv(own / "metadata.csv", dtype="str", keep_default_na=False)
    table.rename(columns={"path": "file"})[["file", "diagnosis"]].to_csv(own / "images.csv", index=False)
    return found


@pytest.fixture(scope="module")
def study(checkout: Checkout) -> Checkout:
    """A finished study that uses all six."""
    checkout.run("-m", "flows.commands.cli", "key")
    checkout.use(*STUDY)
    checkout.repro()
    return checkout


def read(checkout: Checkout, path: str) -> dict:
    return json.loads((checkout.folder / path).read_text())


def test_each_file_is_new_and_alone() -> None:
    files = [path for path in ADDITIONS.rglob("*.py")]
    names = {path.parent.name if path.name == "__init__.py" else path.stem for path in files}
    assert len(files) == len(ADDED)
    assert names == set(ADDED)
    assert not any((REPO / "components" / path.relative_to(ADDITIONS)).exists() for path in files)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("dataset.kind=two", "two_columns"),
        ("backbone.kind=resnet", "resnet10t"),
        ("pretrain.arms.random.kind=orthogon", "orthogonal"),
        ("evaluate.metrics=[f1]", "macro_f1"),
        ("compare.figures=[gap]", "accuracy_and_gap"),
        ("robustness.corruptions=[contrast]", "low_contrast"),
    ],
)
def test_a_wrong_name_is_answered_with_the_new_one(checkout: Checkout, change: str, name: str) -> None:
    done = checkout.run("-m", "flows.commands.cli", "use", "demo", change, check=False)
    assert done.returncode == 1
    assert name in done.stderr
    assert change.partition("=")[0].removesuffix(".kind") in done.stderr


def test_the_commands_of_the_page_are_accepted(checkout: Checkout) -> None:
    """Before the study is made: each writes other settings."""
    page = (REPO / "docs" / "extending.md").read_text()
    commands = [command for command in re.findall(r"`dermflow use ([^`]+)`", page) if "PRESET" not in command]
    assert len(commands) == len(ADDED)
    for command in commands:
        checkout.run("-m", "flows.commands.cli", "use", *shlex.split(command))


def test_the_metric_is_measured(study: Checkout) -> None:
    measured = read(study, "metrics/evaluate.json")
    assert set(measured) == {"random-frozen-0", "orthogonal-frozen-0"}
    for run, values in measured.items():
        table = pd.read_parquet(study.folder / f"data/predictions/{run}.parquet").query("split == 'test'")
        classes = [name.removeprefix("p_") for name in table if name.startswith("p_")]
        predicted = np.array(classes)[table[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)]
        present = sorted({*table["label"], *predicted})
        assert values["macro_f1"] == pytest.approx(
            f1_score(table["label"], predicted, labels=present, average="macro"), abs=1e-12
        )


def test_the_figure_is_on_the_page(study: Checkout) -> None:
    page = (study.folder / "reports/study.html").read_text()
    assert "Accuracy and gap together" in page
    assert "Upper left is best" in page
    assert "Test metrics of the arms" not in page  # a figure that the setting does not name


def test_the_corruption_is_measured(study: Checkout) -> None:
    found = read(study, "metrics/robustness.json")
    assert {"random-frozen/drop_blur", "random-frozen/drop_low_contrast"} <= set(found)
    assert not any("jpeg" in name for name in found)


def test_the_encoder_has_the_weights_of_the_method_in_the_new_backbone(study: Checkout) -> None:
    weights = load_file(study.folder / "data/encoders/orthogonal-0.safetensors")
    kernels = [value.reshape(len(value), -1) for value in weights.values() if value.ndim == 4]
    assert len(kernels) > 8
    for kernel in kernels:
        small = kernel if len(kernel) <= kernel.shape[1] else kernel.T
        np.testing.assert_allclose(small @ small.T, 1.5**2 * np.eye(len(small)), atol=1e-4)


def test_the_card_states_whose_images_and_weights_they_are(study: Checkout) -> None:
    assert read(study, "metrics/pretrain/orthogonal-0.json")["licence"] is None
    card = re.sub(r"\s+", " ", (study.folder / "reports/data_sheet.md").read_text())
    assert "images of one's own" in card


def test_dvc_knows_the_new_files(study: Checkout) -> None:
    deps = {entry.name: set(entry.body["deps"]) for entry in read_stages(study.folder)}
    assert "components/statistics/metrics/macro_f1.py" in deps["evaluate"]
    assert "components/comparison/figures/accuracy_and_gap.py" in deps["compare"]
    assert "components/robustness/corruptions/low_contrast.py" in deps["robustness"]
    assert not {"components/robustness/corruptions/jpeg.py"} & deps["robustness"]
    assert json.loads(study.run("-m", "dvc", "status", "--json").stdout) == {}
    with (study.folder / "components/models/backbones/resnet10t.py").open("a") as file:
        file.write("# a change\n")
    stale = set(json.loads(study.run("-m", "dvc", "status", "--json").stdout))
    assert {"pretrain@random-0", "pretrain@orthogonal-0", "finetune@random-frozen-0", "evaluate"} <= stale
    assert not {"ingest", "validate", "split", "pack"} & stale


def test_a_list_with_a_name_that_dvc_yaml_lacks_is_refused(study: Checkout) -> None:
    params = study.folder / "params.yaml"
    before = params.read_text()
    try:
        params.write_text(before.replace("low_contrast", "noise"))
        assert params.read_text() != before
        done = study.run("-m", "flows.robustness", check=False)
        assert done.returncode == 1
        assert "dvc.yaml does not list components/robustness/corruptions/noise.py" in done.stderr
        assert "run `make graph`" in done.stderr
    finally:
        params.write_text(before)


def test_the_contract_tests_of_each_family_cover_the_new_file(checkout: Checkout) -> None:
    shutil.copytree(REPO / "tests", checkout.folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    files = [
        "tests/unit/data/test_adapter_contract.py", "tests/unit/models/test_backbone_contract.py",
        "tests/unit/pretraining/test_contract.py", "tests/unit/statistics/test_metrics.py",
        "tests/unit/robustness/test_corruption_contract.py", "tests/unit/comparison/test_figures.py",
    ]  # fmt: skip
    said = checkout.run(
        "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", str(REPO / "pyproject.toml"), "--rootdir", ".",
        "-k", " or ".join(ADDED), *files,
    ).stdout  # fmt: skip
    for name in ADDED:
        assert len(re.findall(rf"{name}\b.* PASSED", said)) >= 2, name
    assert "FAILED" not in said
