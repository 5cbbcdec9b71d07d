"""`dermflow serve`: the numbers of the predictor, clear refusals, and a model that is replaced while it runs."""

from __future__ import annotations

import base64
import io
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from components.base.errors import RunError
from components.deployment.bundle import Bundle, open_bundle
from components.deployment.predictor import Predictor
from flows.serving.access import Token, check_address, read_token
from flows.serving.app import Admission, Limits, RefusedError, make_app
from flows.serving.batcher import Batcher, BusyError, about, as_answers
from flows.serving.server import watch
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import make_bundle
from tests.unit.training.small_trainings import CLASSES, SIDE

LIMITS = Limits(body_bytes=100_000, pixels=10_000, images=3)


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return Predictor.open(open_bundle(bundle_folder), device="cpu")


@pytest.fixture
def client(predictor: Predictor) -> Iterator[TestClient]:
    app = make_app(predictor, limits=LIMITS, hosts=["testserver"], threads=2)
    with TestClient(app) as found:
        yield found


def draw(seed: int, side: int = SIDE) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def expected(predictor: Predictor, data: bytes) -> dict[str, object]:
    return dict(as_answers(predictor, predictor.read(data)[None])[0])


def assert_equal(found: dict[str, object], wanted: dict[str, object]) -> None:
    """Equal but for rounding: an image can be computed together with others."""
    assert found.keys() == wanted.keys()
    for name in ("predicted", "malignant", "set", "abstain"):
        assert found[name] == wanted[name], name
    assert found["probabilities"] == pytest.approx(wanted["probabilities"], rel=1e-5)
    assert found["outlier_p"] == pytest.approx(wanted["outlier_p"], abs=0.06)  # one of 19 val images


def test_an_image_as_the_body_gets_the_predictors_answer(client: TestClient, predictor: Predictor) -> None:
    response = client.post("/predict", content=draw(0), headers={"Content-Type": "image/png"})
    assert response.status_code == 200
    content = response.json()
    assert content["model"] == about(predictor)
    assert content["model"]["synthetic"] is True
    assert_equal(content["answer"], expected(predictor, draw(0)))
    assert sum(content["answer"]["probabilities"].values()) == pytest.approx(1)
    assert list(content["answer"]["probabilities"]) == list(CLASSES)


def test_several_images_in_json_get_an_answer_or_an_error_each(client: TestClient, predictor: Predictor) -> None:
    images = [base64.b64encode(data).decode() for data in (draw(1), b"no image", draw(2))]
    response = client.post("/predict", json={"images": images})
    assert response.status_code == 200
    first, second, third = response.json()["answers"]
    assert_equal(first["answer"], expected(predictor, draw(1)))
    assert_equal(third["answer"], expected(predictor, draw(2)))
    assert second["error"]["problem"] == "not_an_image"


def test_many_clients_at_once_each_get_their_own_answer(client: TestClient, predictor: Predictor) -> None:
    wanted = [expected(predictor, draw(seed)) for seed in range(24)]
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda seed: client.post("/predict", content=draw(seed)).json(), range(24)))
    for one, other in zip(found, wanted, strict=True):
        assert_equal(one["answer"], other)


def huge_png(width: int, height: int) -> bytes:
    """A small file that states an enormous image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    blocks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in blocks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("content", "headers", "status", "problem", "words"),
    [
        (b"", {}, 422, "empty", "no body, expected an image file or JSON"),
        (b"GIF or not", {}, 422, "not_an_image", "cannot be read"),
        (draw(0)[:-40], {}, 422, "corrupt", "cannot be read"),
        (draw(0, 150), {}, 413, "too_large", "150 x 150 pixels, expected at most 10000 in all"),
        (huge_png(60_000, 60_000), {}, 413, "too_large", "cannot be read"),
        (b"0" * 100_001, {}, 413, "too_large", "more than 100000 bytes"),
        (b"{", {"Content-Type": "application/json"}, 422, "bad_request", "the JSON is not"),
        (b'{"images": []}', {"Content-Type": "application/json"}, 422, "bad_request", "the JSON is not"),
        ('{"images": ["é"]}'.encode(), {"Content-Type": "application/json"}, 422, "bad_request", "no base64"),
        (b'{"images": ["%"]}', {"Content-Type": "application/json"}, 422, "bad_request", "no base64"),
        (b'{"images": ["a", "a", "a", "a"]}', {"Content-Type": "application/json"}, 413, "too_many", "at most 3"),
    ],
    ids=[
        "no body", "no image", "cut image", "many pixels", "decompression bomb", "large body", "no JSON", "no images",
        "no ASCII", "no base64", "many images",
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_in_words(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, problem: str, words: str
) -> None:
    response = client.post("/predict", content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["problem"] == problem
    assert words in response.json()["error"]["message"]
    assert client.post("/predict", content=draw(0)).status_code == 200


def test_another_host_name_is_refused(client: TestClient) -> None:
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400


SECRET = "a-token-of-this-test"


@pytest.mark.parametrize(
    "header", [None, "Bearer another-token-of-it", f"Basic {SECRET}", f"Bearer {SECRET}x", "Bearer é"]
)
def test_without_the_token_nothing_is_answered(predictor: Predictor, header: str | None) -> None:
    app = make_app(predictor, limits=LIMITS, hosts=["*"], threads=1, token=Token(SECRET))
    with TestClient(app) as client:
        wrong = {} if header is None else {"Authorization": header.encode()}
        refused = client.post("/predict", content=draw(0), headers=wrong)
        assert refused.status_code == 401
        assert refused.json()["error"]["problem"] == "no_token" and refused.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/metrics", headers=wrong).status_code == 401
        assert client.get("/health", headers=wrong).json() == {"status": "ok"}
        right = {"Authorization": f"Bearer {SECRET}"}
        assert client.post("/predict", content=draw(0), headers=right).status_code == 200
        assert "dermflow_requests_total" in client.get("/metrics", headers=right).text
        assert client.get("/health", headers=right).json()["run"] == "vae-frozen-1"


def test_an_address_that_others_reach_needs_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        check_address(host, None)
    for host in ("0.0.0.0", "::", "10.0.0.4", "clinic.example"):  # what is refused
        with pytest.raises(RunError, match=f"--host {host}: other hosts reach this address, and no token is set"):
            check_address(host, None)
        check_address(host, Token(SECRET))


@pytest.mark.parametrize("secret", ["short", "with a blank, and long enough", "ä" * 20])
def test_a_token_that_cannot_be_one_is_refused_without_its_text(secret: str) -> None:
    with pytest.raises(RunError, match=r"DERMFLOW_SERVE_TOKEN has \d+ characters, expected 16 or more") as refused:
        read_token({"DERMFLOW_SERVE_TOKEN": secret})
    assert secret not in str(refused.value) and SECRET not in repr(Token(SECRET))
    assert read_token({"DERMFLOW_SERVE_TOKEN": ""}) is None
    assert read_token({"DERMFLOW_SERVE_TOKEN": SECRET}) == Token(SECRET)


def test_the_page_of_the_interface_shows_every_operation_and_loads_nothing(predictor: Predictor) -> None:
    app = make_app(predictor, limits=LIMITS, hosts=["testserver"], threads=1, token=Token(SECRET))
    with TestClient(app) as client:
        page = client.get("/docs")
        document = client.get("/openapi.json").json()
        links = re.findall(r'href="([^"]*)"', page.text)
        assert {link: client.get(link).status_code for link in links} == {"/openapi.json": 200}
    assert "<!--" not in page.text  # no place that another stage would fill
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not re.search(r"<script|src=|@import|url\(|<link|https?://", page.text)
    operations = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert sorted(operations) == [("GET", "/health"), ("GET", "/metrics"), ("POST", "/predict")]
    for method, path in operations:
        assert f"<code>{method} {path}</code>" in page.text
    assert page.text.count("Authorization: Bearer TOKEN") == 2
    assert {"200", "401", "413", "422", "503"} <= set(document["paths"]["/predict"]["post"]["responses"])


def test_health_and_metrics_say_what_happened(client: TestClient, predictor: Predictor) -> None:
    client.post("/predict", content=draw(0))
    client.post("/predict", content=b"bad")
    client.get("/anything")
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert health["bundle"] == predictor.bundle.sha256
    text = client.get("/metrics").text
    assert 'dermflow_requests_total{path="/predict",status="200"} 1.0' in text
    assert 'dermflow_requests_total{path="/predict",status="422"} 1.0' in text
    assert 'dermflow_requests_total{path="other",status="404"} 1.0' in text
    assert "dermflow_batch_images_count 1.0" in text
    assert 'dermflow_images_total{outcome="not_an_image"} 1.0' in text
    assert re.search(r'dermflow_model\{bundle="[0-9a-f]{64}",run="vae-frozen-1"\} 1.0', text)
    assert "/predict" in client.get("/openapi.json").json()["paths"]


def test_images_that_wait_share_a_batch_and_too_many_are_refused(predictor: Predictor) -> None:
    sizes: list[int] = []
    entered, free = threading.Event(), threading.Event()

    def observe(images: int, _seconds: float) -> None:
        sizes.append(images)
        entered.set()
        free.wait(20)

    batcher = Batcher(predictor, most=4, wait_s=0.0, limit=6, observe=observe)
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    first = batcher.submit(pixels, predictor)
    assert entered.wait(20)  # the thread is held in `observe`
    others = [batcher.submit(pixels, predictor) for _ in range(6)]
    with pytest.raises(BusyError, match="6 images wait already; try again later"):
        batcher.submit(pixels, predictor)
    assert others.pop(1).cancel()  # its client went away
    free.set()
    answers = [future.result(20) for future in (first, *others)]
    assert {each.answer["predicted"] for each in answers} == {answers[0].answer["predicted"]}
    batcher.close()
    assert sizes == [1, 3, 2]
    with pytest.raises(BusyError, match="stopping"):
        batcher.submit(pixels, predictor)


def test_an_image_that_waits_is_answered_by_the_model_that_read_it(predictor: Predictor, tmp_path: Path) -> None:
    make_bundle(tmp_path, run="random-frozen-0")
    other = Predictor.open(open_bundle(tmp_path / FOLDERS["bundle"]), device="cpu")
    batcher = Batcher(predictor, most=8, wait_s=0.2, limit=8)
    pixels = predictor.read(draw(5))
    first = batcher.submit(pixels, predictor)
    batcher.replace(other)
    second = batcher.submit(pixels, batcher.predictor)
    for future, model in ((first, predictor), (second, other)):
        assert future.result(20).model == about(model)
        assert_equal(dict(future.result(20).answer), expected(model, draw(5)))
    batcher.close()


def test_requests_beyond_the_limits_of_all_are_refused_and_places_come_back(predictor: Predictor) -> None:
    admission = Admission(Limits(waiting=3, waiting_bytes=100))
    with admission.place() as first, admission.place():
        first.take(size=90)
        with pytest.raises(RefusedError, match="2 images wait, of at most 3"):
            first.take(images=2)
        with pytest.raises(RefusedError, match="requests of 90 bytes wait already"), admission.place() as third:
            third.take(size=11)
        assert (admission.images, admission.size) == (2, 90)
    assert (admission.images, admission.size) == (0, 0)


def test_a_failing_model_is_counted(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(predictor, limits=LIMITS, hosts=["testserver"], threads=1)
    monkeypatch.setattr(Predictor, "predict", lambda *_: 1 / 0)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/predict", content=draw(0)).status_code == 500
        assert 'dermflow_requests_total{path="/predict",status="500"} 1.0' in client.get("/metrics").text
        assert client.get("/health").json()["status"] == "ok"


def test_another_bundle_takes_over_and_a_broken_one_does_not(tmp_path: Path, bundle_folder: Path) -> None:
    served = tmp_path / "bundle"
    shutil.copytree(bundle_folder, served)
    make_bundle(tmp_path / "other", run="random-frozen-0")
    lines: list[str] = []

    def find() -> Bundle:
        return open_bundle(served)

    first = Predictor.open(find(), device="cpu")
    app = make_app(first, limits=LIMITS, hosts=["testserver"], threads=1)
    stop = threading.Event()
    watcher = threading.Thread(
        target=watch,
        args=(
            app,
            first.bundle.sha256,
            find,
            lambda bundle: Predictor.open(bundle, device="cpu"),
            stop,
            lines.append,
            0.02,
        ),
    )
    with TestClient(app) as client:
        watcher.start()
        try:
            (served / "classifier.safetensors").write_bytes(b"broken")
            wait_for(lambda: any("the model stays" in line and "the file was changed" in line for line in lines))
            assert client.post("/predict", content=draw(0)).json()["model"]["run"] == "vae-frozen-1"
            shutil.rmtree(served)
            shutil.copytree(tmp_path / "other" / FOLDERS["bundle"], tmp_path / "new")
            (tmp_path / "new").rename(served)
            wait_for(lambda: client.get("/health").json()["run"] == "random-frozen-0")
            answer = client.post("/predict", content=draw(0)).json()
            assert (answer["model"]["run"], answer["model"]["bundle"]) == ("random-frozen-0", find().sha256)
        finally:
            stop.set()
            watcher.join()
    assert any("now answers with random-frozen-0" in line for line in lines)


def wait_for(holds: Callable[[], bool]) -> None:
    """Until something is true, at most a minute."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from components.deployment.bundle import open_bundle
from components.deployment.predictor import Predictor
from flows.serving.app import Limits
from flows.serving.server import serve
serve(partial(open_bundle, Path(sys.argv[1])), partial(Predictor.open, device="cpu"), host="127.0.0.1", port=0,
      threads=1, limits=Limits(), echo=lambda line: print(line, flush=True))
"""


def test_a_real_server_answers_and_stops_on_sigterm(bundle_folder: Path, repo: Path, predictor: Predictor) -> None:
    command = [sys.executable, "-c", SCRIPT, str(bundle_folder)]
    with subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            address = re.search(r"http://127.0.0.1:\d+", line)
            assert address, line
            with httpx.Client(base_url=address[0], timeout=60) as client:
                assert_equal(client.post("/predict", content=draw(3)).json()["answer"], expected(predictor, draw(3)))
                assert client.get("/health").status_code == 200
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) in (0, -signal.SIGTERM)
        finally:
            server.kill()
