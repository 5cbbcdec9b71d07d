"""The HTTP application: one image as the body, or several in JSON; health, and metrics in Prometheus' text format.

It keeps no image and logs no content. Only the hosts that are named may be asked for, so that a page in a browser
cannot reach it under another name. With a token, only requests that carry it get answers or metrics.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from components.deployment.predictor import Images, Predictor
from components.validation.containers import read_header
from components.validation.image_header import UndecodableError
from flows.serving.access import SCHEME, Token
from flows.serving.api_page import HEADERS, render_api
from flows.serving.batcher import Answered, Batcher, BusyError, about

RETRY_AFTER_S = 1

ERROR = {"application/json": {"example": {"error": {"problem": "too_large", "message": "the image has ..."}}}}

PREDICT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}
                    },
                }
            },
        },
    },
    "responses": {
        "200": {"description": "the answer and the model that gave it; in JSON, one or an error for each image"},
        "401": {"description": "no token, or another one", "content": ERROR},
        "413": {"description": "the request or an image is too large", "content": ERROR},
        "422": {"description": "the image cannot be read, or the JSON is not as expected", "content": ERROR},
        "503": {"description": "too much waits: try again later", "content": ERROR},
    },
}
"""What `/predict` takes and answers, for the OpenAPI document."""


@dataclass(frozen=True)
class Limits:
    """What is refused."""

    body_bytes: int = 32 * 2**20
    """Of a request."""
    pixels: int = 64_000_000
    """Of an image, before it is decoded: a small file can hold an enormous image."""
    images: int = 64
    """Of a request."""
    waiting: int = 1024
    """Images that may wait, from the request on; further requests are refused."""
    waiting_bytes: int = 512 * 2**20
    """Of all requests that are being answered."""
    batch: int = 64
    """Images that are computed together."""
    wait_s: float = 0.002
    """For which the first image of a batch waits for others."""


class RefusedError(Exception):
    """A request or an image that is not answered: HTTP status, one word, and a sentence for the sender."""

    def __init__(self, status: int, problem: str, message: str) -> None:
        super().__init__(message)
        self.status, self.problem = status, problem

    def as_json(self) -> dict[str, Any]:
        """The content of `error`."""
        return {"problem": self.problem, "message": str(self)}


class Admission:
    """Counts the images and bytes of all requests that are being answered; used in the event loop's thread alone."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.images, self.size = limits, 0, 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one request with one image, given back at its end."""
        place = Place(self)
        try:
            place.take(images=1)
            yield place
        finally:
            self.images -= place.images
            self.size -= place.size


class Place:
    """What one request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.images, self.size = admission, 0, 0

    def take(self, images: int = 0, size: int = 0) -> None:
        """Count further images, and bytes of the body.

        Raises:
            RefusedError: where the limits of all requests are reached.
        """
        all_, limits = self._admission, self._admission.limits
        if all_.images + images > limits.waiting:
            raise RefusedError(503, "busy", f"{all_.images} images wait, of at most {limits.waiting}; try again later")
        if all_.size + size > limits.waiting_bytes:
            raise RefusedError(503, "busy", f"requests of {all_.size} bytes wait already; try again later")
        self.images, self.size = self.images + images, self.size + size
        all_.images, all_.size = all_.images + images, all_.size + size


class ImagesRequest(BaseModel):
    """Several images."""

    model_config = ConfigDict(extra="forbid")
    images: Annotated[list[str], Field(min_length=1, description="image files, each in base64")]


class Metrics:
    """What Prometheus reads; of this application alone."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dermflow_requests", "Requests by path and status", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "dermflow_request_seconds", "Seconds from a request to its answer", ["path"], registry=self.registry
        )
        self.images = Counter("dermflow_images", "Images by outcome", ["outcome"], registry=self.registry)
        self.batch = Histogram(
            "dermflow_batch_images",
            "Images computed together",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.compute = Histogram("dermflow_batch_seconds", "Seconds of a batch", registry=self.registry)
        self.waiting = Gauge("dermflow_waiting_images", "Images that wait", registry=self.registry)
        self.model = Gauge("dermflow_model", "The model that answers", ["run", "bundle"], registry=self.registry)

    def observe_batch(self, images: int, seconds: float) -> None:
        """One batch of the model."""
        self.batch.observe(images)
        self.compute.observe(seconds)

    def name_model(self, predictor: Predictor) -> None:
        """The model of now, the only one with the value 1."""
        self.model.clear()
        self.model.labels(predictor.bundle.manifest.run, predictor.bundle.sha256).set(1)


def make_app(
    predictor: Predictor, *, limits: Limits, hosts: Sequence[str], threads: int, token: Token | None = None
) -> FastAPI:
    """The application.

    Args:
        predictor: the model at first; `app.state.replace(predictor)` sets another one.
        limits: what is refused.
        hosts: names under which it may be asked, without port.
        threads: images decoded at once.
        token: that requests must carry, except for the state and the page of the interface; None: no token is required.
    """
    metrics = Metrics()
    batcher = Batcher(
        predictor,
        most=limits.batch,
        wait_s=limits.wait_s,
        limit=limits.waiting,
        observe=metrics.observe_batch,
    )
    decoders = ThreadPoolExecutor(threads, thread_name_prefix="decoder")
    metrics.name_model(predictor)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close)
        decoders.shutdown()

    app = FastAPI(
        title="Dermflow",
        description="Answers of the model for use. For research: no medical device, and its answers are no diagnoses.",
        version=predictor.bundle.manifest.provenance.dermflow,
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from another host; `docs` below does not
        redoc_url=None,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    def replace(other: Predictor) -> None:
        batcher.replace(other)
        metrics.name_model(other)

    app.state.replace = replace
    app.state.batcher = batcher

    admission = Admission(limits)

    async def answer(data: bytes) -> Answered:
        reader = batcher.predictor
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(decoders, decode_within, reader, data, limits.pixels)
        try:
            return await asyncio.wrap_future(batcher.submit(pixels, reader))
        except BusyError as error:
            raise RefusedError(503, "busy", str(error)) from error

    @app.middleware("http")
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began, status = time.monotonic(), 500  # where the application raises
        known = request.url.path if request.url.path in ("/predict", "/health", "/metrics") else "other"
        try:
            response = await call_next(request)
            status = response.status_code
            return response
        finally:
            metrics.requests.labels(known, status).inc()
            metrics.seconds.labels(known).observe(time.monotonic() - began)

    @app.exception_handler(RefusedError)
    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusedError)
        headers = {503: {"Retry-After": str(RETRY_AFTER_S)}, 401: {"WWW-Authenticate": "Bearer"}}.get(error.status)
        return JSONResponse({"error": error.as_json()}, status_code=error.status, headers=headers)

    def is_known(request: Request) -> bool:
        return token is None or token.fits(request.headers.get("authorization", ""))

    async def check_token(request: Request) -> None:
        if not is_known(request):
            raise RefusedError(
                401, "no_token", "expected the header 'Authorization: Bearer TOKEN' with this server's token"
            )

    guarded = [Depends(check_token), *([Depends(SCHEME)] if token else [])]  # the second is for the OpenAPI document

    @app.post("/predict", openapi_extra=PREDICT, dependencies=guarded)
    async def predict(request: Request) -> dict[str, Any]:
        """The answer for one image (the body is the image file), or for several (JSON: `{"images": [base64, ...]}`)."""
        with admission.place() as place:
            return await respond(request, place)

    async def respond(request: Request, place: Place) -> dict[str, Any]:
        body = await _read_body(request, limits.body_bytes, place)
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            try:
                found = await answer(body)
            except RefusedError as error:
                metrics.images.labels(error.problem).inc()
                raise
            metrics.images.labels("abstained" if found.answer["abstain"] else "answered").inc()
            return {"model": found.model, "answer": found.answer}
        images = _parse(body, limits.images)
        place.take(images=len(images) - 1)
        results = await asyncio.gather(*(answer(data) for data in images), return_exceptions=True)
        answers: list[dict[str, Any]] = []
        for result in results:
            if isinstance(result, RefusedError):
                metrics.images.labels(result.problem).inc()
                answers.append({"error": result.as_json()})
            elif isinstance(result, BaseException):
                raise result
            else:
                metrics.images.labels("abstained" if result.answer["abstain"] else "answered").inc()
                answers.append({"model": result.model, "answer": result.answer})
        return {"answers": answers}

    @app.get("/health")
    async def health(request: Request) -> JSONResponse:
        """Whether it answers; where the token was sent or none is set, also with which model."""
        model = about(batcher.predictor) if is_known(request) else {}
        content = {"status": "ok" if batcher.works else "stopping", **model}
        return JSONResponse(content, status_code=200 if batcher.works else 503)

    @app.get("/metrics", dependencies=guarded)
    async def metrics_text() -> Response:
        """In Prometheus' text format."""
        metrics.waiting.set(admission.images)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        """The OpenAPI document as a page that loads nothing."""
        return HTMLResponse(render_api(app.openapi()), headers=HEADERS)

    return app


def decode_within(predictor: Predictor, data: bytes, most_pixels: int) -> Images:
    """The pixels for the model, (S, S, 3) uint8.

    Raises:
        RefusedError: where the bytes are no image that is read, or it has too many pixels.
    """
    try:
        header = read_header(data)
        if header.width * header.height > most_pixels:
            raise RefusedError(
                413,
                "too_large",
                f"the image has {header.width} x {header.height} pixels, expected at most {most_pixels} in all",
            )
        return predictor.read(data)
    except UndecodableError as error:
        status = 413 if error.problem == "too_large" else 422
        raise RefusedError(status, error.problem, f"the image cannot be read: {error}") from error


async def _read_body(request: Request, most: int, place: Place) -> bytes:
    """The body, which is no longer read once it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        place.take(size=len(part))
        if size > most:
            raise RefusedError(413, "too_large", f"the request has more than {most} bytes")
        parts.append(part)
    if not size:
        raise RefusedError(422, "empty", "the request has no body, expected an image file or JSON")
    return b"".join(parts)


def _parse(body: bytes, most: int) -> list[bytes]:
    """The images of a JSON request."""
    try:
        request = ImagesRequest.model_validate_json(body)
    except ValueError as error:
        raise RefusedError(
            422, "bad_request", 'the JSON is not {"images": [...]} with image files in base64'
        ) from error
    if len(request.images) > most:
        raise RefusedError(413, "too_many", f"the request has {len(request.images)} images, expected at most {most}")
    try:
        return [base64.b64decode(text, validate=True) for text in request.images]
    except ValueError as error:  # binascii.Error, or letters that are not ASCII
        raise RefusedError(422, "bad_request", f"an image is no base64: {error}") from error
