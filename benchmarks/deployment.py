"""The model for use: loading, predicting beside a plain forward pass, ONNX Runtime beside torch, serving beside MLflow.

EfficientNet-Lite0 at 64 px with random weights, which cost the same as trained ones. Served throughput is images a
second over HTTP with CLIENTS clients that each send one image at a time; both servers run and are asked in turn. MLflow
serves timm's network of the same size in its stock PyTorch flavour, which takes arrays of numbers as JSON.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from benchmarks.measure import Result, ratios, rounds, summarise
from components.deployment.bundle import Bundle, open_bundle, write_bundle
from components.deployment.manifest import (
    VERSION,
    Abstention,
    Conformal,
    Frequencies,
    Manifest,
    OperatingPoint,
    Provenance,
)
from components.deployment.onnx_model import export_onnx
from components.deployment.outliers import OutlierReference
from components.deployment.predictor import Predictor
from components.deployment.trained_on import as_text
from components.models.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.models.classifier import Classifier, build_head
from components.models.classifier_file import save_classifier

SIZE, IMAGES, BATCH = 64, 512, 256
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
CLIENTS, REQUESTS, TURNS = 16, 320, 5
COMMAND = "python -m benchmarks deployment"
START_S = 60


def run() -> list[Result]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = make_bundle(folder / "bundle")
        predictor = Predictor.open(bundle, device="cpu")
        pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
        loads = [each for (each,) in rounds(lambda: Predictor.open(open_bundle(bundle.folder), device="cpu"))]
        plain = [1 / each for each in ratios(lambda: predictor.predict(pixels), forward(predictor, pixels))]
        onnx = ratios(onnx_forward(bundle, folder / "onnx", pixels), forward(predictor, pixels))
        served = throughput(bundle, folder)
    return [
        summarise("bundle_load_s", loads, "under 1", "s CPU", COMMAND),
        summarise("predict_vs_forward", plain, "at most 1.1", "x time", COMMAND),
        summarise("onnx_vs_torch", onnx, "at least 1", "x", COMMAND),
        summarise("serve_vs_mlflow", [ours / theirs for ours, theirs in served], "at least 3", "x", COMMAND),
        summarise("serve_images_s", [ours for ours, _ in served], "-", "img/s", COMMAND),
    ]


def make_bundle(folder: Path) -> Bundle:
    """A bundle with random weights; its answers mean nothing."""
    torch.manual_seed(0)
    backbone = EfficientNetLite0()
    encoder = backbone.build().read("all_stages")
    head = build_head(encoder.feature_sizes, 256, 0.2, len(CLASSES), seed=0)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, encoder.feature_dim)).astype(np.float32)
    head.standardisation.fit(torch.from_numpy(features))
    path = folder.with_name("classifier.safetensors")
    header = {"classes": list(CLASSES), "features": "all_stages", "head": {"hidden": 256, "dropout": 0.2}}
    save_classifier(path, Classifier(encoder, head).state_dict(), backbone, header)
    uniform = dict.fromkeys(CLASSES, 1 / len(CLASSES))
    point = OperatingPoint(fixed="sensitivity", level=0.9, threshold=0.5, val={}, test={})
    return write_bundle(
        folder,
        lambda files: Manifest(
            version=VERSION, run="random-frozen-0", arm="random", protocol="frozen", seed=0, recommended=False,
            recommendation="", protocol_followed="", synthetic=True, classes=CLASSES, malignant=("akiec", "bcc", "mel"),
            image_size=SIZE, fit="crop", backbone={"kind": "efficientnet_lite0"},
            frequencies=Frequencies(learned=uniform, train=uniform, clinic=None), temperature=1.0, points=(point,),
            point=0, conformal=Conformal(promised=0.9, lesions=100, limits=dict.fromkeys(CLASSES, 0.9)),
            abstention=Abstention(answered=0.8, threshold=0.2), unlike=0.01, test={},
            provenance=Provenance(dermflow="0", study="benchmark", dataset="noise", images={}, split_sha256="",
                                  test_sha256="", fingerprints={}, data_licence={}, weights_licence=None),
            files=files,
        ),
        classifier=path,
        outliers=OutlierReference.fit(features, features[:100], 64),
        trained_on=as_text([]),
        card=None,
    )  # fmt: skip


def forward(predictor: Predictor, pixels: np.ndarray) -> Callable[[], object]:
    """The network, its head and a softmax, and nothing else."""
    classifier = predictor.classifier

    @torch.no_grad()
    def work() -> None:
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(pixels[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255
            classifier(batch).softmax(1)

    return work


def onnx_forward(bundle: Bundle, folder: Path, pixels: np.ndarray) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(export_onnx(bundle, folder), options, providers=["CPUExecutionProvider"])
    return lambda: [session.run(None, {"images": pixels[at : at + BATCH]}) for at in range(0, len(pixels), BATCH)]


# --- servers


def throughput(bundle: Bundle, folder: Path) -> list[tuple[float, float]]:
    """Images a second of `dermflow serve` and of MLflow's server, TURNS times in turn."""
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    numbers = (image.transpose(2, 0, 1)[None].astype(np.float32) / 255).tolist()
    arrays = json.dumps({"inputs": numbers}).encode()
    with our_server(bundle) as ours, mlflow_server(folder / "mlflow") as theirs:
        ask_ours = asker(f"{ours}/predict", buffer.getvalue(), "image/jpeg")
        ask_theirs = asker(f"{theirs}/invocations", arrays, "application/json")
        ask_ours(), ask_theirs()
        return [(ask_ours(), ask_theirs()) for _ in range(TURNS)]


def asker(address: str, content: bytes, kind: str) -> Callable[[], float]:
    def ask() -> float:
        with httpx.Client(timeout=120, limits=httpx.Limits(max_connections=CLIENTS)) as client:

            def one(_place: int) -> None:
                client.post(address, content=content, headers={"Content-Type": kind}).raise_for_status()

            began = time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as executor:
                list(executor.map(one, range(REQUESTS)))
            return REQUESTS / (time.monotonic() - began)

    return ask


@contextmanager
def our_server(bundle: Bundle) -> Iterator[str]:
    words = ["-m", "flows.commands.cli", "serve", "--model", str(bundle.folder), "--port", "0"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"(http://127.0.0.1:\d+)/predict", server.stdout.readline())
            assert found
            yield found[1]
        finally:
            server.terminate()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    import mlflow.pytorch
    import timm

    example = np.random.default_rng(0).random((2, 3, SIZE, SIZE)).astype(np.float32)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=len(CLASSES)).eval()
    mlflow.pytorch.save_model(network, folder, input_example=example, pip_requirements=[])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts `uvicorn` by its name
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL, env=environment) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/ping")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait(address: str) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < until, f"{address} does not answer"
        time.sleep(0.5)
