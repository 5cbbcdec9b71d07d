"""The registry: MLflow's model predicts what the bundle predicts, and a bundle is registered once."""

from __future__ import annotations

import ast
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient
from packaging.requirements import Requirement

from components.base.errors import CheckpointError, RunError
from components.deployment.bundle import CLASSIFIER, open_bundle
from components.deployment.predictor import Predictor
from flows.orchestration.processes import venv_path
from flows.prediction.models import find_bundle
from flows.registry.model import example
from flows.registry.requirements import NEEDED, pinned
from flows.registry.versions import find_alias, model_name, open_version, register
from flows.settings import load_settings
from flows.tracking.mlflow_log import open_client, recorded_run, tracking_uri
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import RUN, make_bundle
from tests.unit.flows.test_prediction import write_images
from tests.unit.training.small_trainings import SIDE

NAME = "dermflow-demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundled")
    make_bundle(root)
    return root / FOLDERS["bundle"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, repo: Path, folder: Path):
    """A checkout whose MLflow has the bundle's run and its registered version."""
    root = tmp_path_factory.mktemp("registry")
    for name in ("params.yaml", "requirements.lock"):
        (root / name).write_text((repo / name).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        bundle, settings = open_bundle(folder), load_settings()
        with recorded_run(settings, "bundle", {"stage": "bundle"}) as log:
            log.tags({"bundle": bundle.sha256})
        register(open_client(), bundle, settings)
        yield root


@pytest.fixture
def client(store: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_client()


def test_the_version_leads_back_to_bundle_run_and_commit(client: MlflowClient, folder: Path) -> None:
    version = client.get_model_version(NAME, "1")
    bundle = open_bundle(folder)
    assert version.tags["bundle"] == bundle.sha256
    assert version.tags["run"] == RUN
    assert version.tags["recommended"] == "true"
    run = client.get_run(version.run_id)
    assert version.tags["mlflow.run"] == run.info.run_id
    assert run.data.tags["bundle/version"] == f"{NAME}/1"
    assert version.tags["git.commit"] == run.data.tags["git.commit"]
    assert version.tags["dvc.lock.md5"] == run.data.tags["dvc.lock.md5"]
    assert "| balanced_accuracy | 0.500 |" in version.description
    point = bundle.manifest.points[bundle.manifest.point]
    assert f"Malignant from {point.threshold:.4f} on" in version.description
    assert version.description.endswith((folder / "model_card.md").read_text())


def test_the_same_bundle_is_registered_once(client: MlflowClient, folder: Path) -> None:
    version, new = register(client, open_bundle(folder), load_settings())
    assert (int(version.version), new) == (1, False)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    experiment = client.get_experiment_by_name("demo").experiment_id
    assert len(client.search_logged_models([experiment])) == 1


def test_mlflow_predicts_the_numbers_of_the_bundle_without_a_pickle(
    client: MlflowClient, store: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow puts the model's code there
    mlflow.set_tracking_uri(tracking_uri())
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    paths = write_images(tmp_path, 3)
    given = [str(paths[0]), *(base64.b64encode(path.read_bytes()).decode() for path in paths[1:])]
    found = model.predict(pd.DataFrame({"image": given}))
    predictor = Predictor.open(open_bundle(folder))
    expected = predictor.predict(np.stack([predictor.read(path.read_bytes()) for path in paths]))
    assert found["malignant"].tolist() == expected["malignant"].tolist()
    pd.testing.assert_frame_equal(found.drop(columns="malignant"), expected.drop(columns="malignant"))
    stated = {column.name: column.type for column in model.metadata.signature.outputs}
    answered = found.assign(malignant=found["malignant"].astype(bool), set=found["set"].map(list))
    inferred = {column.name: column.type for column in infer_signature(given, answered).outputs}
    assert stated == inferred
    assert list(stated) == expected.columns.tolist()
    files = [path for path in (store / "mlruns").rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]
    assert files == []
    assert model.input_example.equals(example(SIDE))
    with pytest.raises(Exception, match="row 1 of column 'image': is no image"):
        model.predict(pd.DataFrame({"image": [given[0], "bm8gaW1hZ2U="]}))


def test_a_model_is_found_by_alias_version_and_name(client: MlflowClient, folder: Path, tmp_path: Path) -> None:
    sha256 = open_bundle(folder).sha256
    assert find_bundle(f"models:/{NAME}/1", tmp_path).sha256 == sha256
    with pytest.raises(RunError, match=r"models:/dermflow-demo@champion: is not in MLflow's registry"):
        find_bundle(NAME, tmp_path)
    client.set_registered_model_alias(NAME, "champion", "1")
    try:
        assert find_bundle(NAME, tmp_path).sha256 == sha256
        assert find_bundle(f"models:/{NAME}@champion", tmp_path).sha256 == sha256
    finally:
        client.delete_registered_model_alias(NAME, "champion")
    assert find_alias(client, NAME, "champion") is None
    assert find_alias(client, "dermflow-other", "champion") is None
    with pytest.raises(RunError, match=r"models:/dermflow-demo/9: is not in MLflow's registry"):
        find_bundle(f"models:/{NAME}/9", tmp_path)
    with pytest.raises(RunError, match=r"expected models:/NAME@ALIAS"):
        find_bundle(f"models:/{NAME}", tmp_path)


def test_a_registered_file_that_was_changed_is_refused(client: MlflowClient, tmp_path: Path) -> None:
    version = client.get_model_version(NAME, "1")
    place = open_version(client, version).folder / CLASSIFIER
    before = place.read_bytes()
    place.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(CheckpointError, match="the file was changed"):
            find_bundle(f"models:/{NAME}/1", tmp_path)
    finally:
        place.write_bytes(before)


def test_a_version_of_another_bundle_than_its_tag_is_refused(client: MlflowClient, tmp_path: Path) -> None:
    version = client.get_model_version(NAME, "1")
    client.set_model_version_tag(NAME, "1", "bundle", "0" * 64)
    try:
        with pytest.raises(CheckpointError, match=r"expected 000000000000 of its tag 'bundle'"):
            find_bundle(f"models:/{NAME}/1", tmp_path)
    finally:
        client.set_model_version_tag(NAME, "1", "bundle", version.tags["bundle"])


def test_a_registration_that_fails_leaves_no_version_and_no_model(
    client: MlflowClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    other = settings.model_copy(update={"study": settings.study.model_copy(update={"name": "other"})})

    def fail(*arguments: object, **named: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", fail)
        with pytest.raises(OSError, match="no space"):
            register(client, open_bundle(folder), other)
    assert list(client.search_model_versions("name = 'dermflow-other'")) == []
    experiment = client.get_experiment_by_name("demo").experiment_id
    assert len(client.search_logged_models([experiment])) == 1
    assert register(client, open_bundle(folder), other)[1]


def test_names_have_no_character_that_mlflow_refuses() -> None:
    assert model_name("HAM10000: 64 px / frozen") == "dermflow-HAM10000-64-px-frozen"


def test_every_package_is_pinned_as_in_the_lock(repo: Path, tmp_path: Path) -> None:
    lines = pinned(lock=repo / "requirements.lock")
    assert {Requirement(line).name for line in lines} == set(NEEDED)
    assert all(next(iter(Requirement(line).specifier)).operator == "==" for line in lines)
    (tmp_path / "lock").write_text("numpy==1 \\\n    --hash=sha256:0\n")
    assert pinned(["numpy"], tmp_path / "lock") == ["numpy==1"]
    with pytest.raises(RunError, match=r"has no version of torch, which a registered model needs"):
        pinned(["numpy", "torch"], tmp_path / "lock")
    with pytest.raises(RunError, match=r"cannot be read"):
        pinned(lock=tmp_path / "none")


def test_the_model_requires_what_its_code_imports(folder: Path, repo: Path) -> None:
    code = (
        "import sys, json; from components.deployment.pyfunc import _load_pyfunc\n"
        f"_load_pyfunc({str(folder)!r}); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "mlflow" not in loaded
    files = [repo / f"{name.replace('.', '/')}.py" for name in loaded if name.startswith("components.")]
    trees = [ast.parse(file.read_text()) for file in files if file.is_file()]
    assert len(trees) > 30
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in imported & loaded}
    by_module = packages_distributions()
    assert "torch" in tops
    assert {each for top in tops for each in by_module.get(top, [])} - {"pydantic_core"} <= set(NEEDED)


@pytest.mark.slow
def test_mlflow_serves_the_numbers_of_the_bundle(
    client: MlflowClient, store: Path, folder: Path, tmp_path: Path
) -> None:
    """`mlflow models serve` in a process of its own, with the code that the model carries."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri(), "PYTHONPATH": "", "PATH": venv_path()}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}/1", "--env-manager", "local",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        serving = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_ready(port, serving, tmp_path / "log")
        paths = write_images(tmp_path / "images", 2)
        texts = [base64.b64encode(path.read_bytes()).decode() for path in paths]
        body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found = pd.DataFrame(json.loads(answer.read())["predictions"])
    finally:
        if serving.poll() is None:
            os.killpg(serving.pid, signal.SIGTERM)
            serving.wait()
    predictor = Predictor.open(open_bundle(folder), device="cpu")
    expected = predictor.predict(np.stack([predictor.read(path.read_bytes()) for path in paths]))
    numbers = [name for name in expected if pd.api.types.is_float_dtype(expected[name])]
    np.testing.assert_allclose(found[numbers], expected[numbers], rtol=1e-6)
    for name in ("predicted", "malignant", "set", "abstain", "reason"):
        assert found[name].tolist() == expected[name].tolist()


def wait_until_ready(port: int, serving: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert serving.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])
