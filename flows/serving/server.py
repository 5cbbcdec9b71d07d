"""Serve a model until the process is stopped, and take over a new one when the bundle or its alias changes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import uvicorn
from fastapi import FastAPI

from components.deployment.bundle import Bundle
from components.deployment.predictor import Predictor
from flows.serving.access import Token, check_address
from flows.serving.app import Limits, make_app

LOOK_AGAIN_S = 5.0
"""Seconds between two looks at which model is meant."""

STOP_S = 10
"""Seconds that open requests get when the server stops."""


def serve(
    find: Callable[[], Bundle],
    open_predictor: Callable[[Bundle], Predictor],
    *,
    host: str,
    port: int,
    threads: int,
    limits: Limits,
    echo: Callable[[str], None],
    token: Token | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; open requests are answered first.

    Args:
        find: the model that is meant now.
        open_predictor: loads it.
        host: address to listen at.
        port: 0 for any free one.
        threads: images decoded at once.
        limits: what is refused.
        echo: shows one line.
        token: that requests must carry; None: no request is asked for one.

    Raises:
        RunError: where other hosts reach the address and there is no token.
    """
    check_address(host, token)
    predictor = open_predictor(find())
    hosts = ["*"] if token else [host, "localhost", "127.0.0.1"]  # a page of another name does not have the token
    app = make_app(predictor, limits=limits, hosts=hosts, threads=threads, token=token)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=STOP_S
    )
    listening = config.bind_socket()
    listening.listen()  # requests that come before the server has started wait
    manifest, (host, port) = predictor.bundle.manifest, listening.getsockname()[:2]
    echo(f"model {manifest.run}, bundle {predictor.bundle.sha256[:12]}: http://{host}:{port}/predict")
    stop = threading.Event()
    watcher = threading.Thread(
        target=watch, args=(app, predictor.bundle.sha256, find, open_predictor, stop, echo), daemon=True
    )
    watcher.start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        stop.set()


def watch(
    app: FastAPI,
    sha256: str,
    find: Callable[[], Bundle],
    open_predictor: Callable[[Bundle], Predictor],
    stop: threading.Event,
    echo: Callable[[str], None],
    every_s: float = LOOK_AGAIN_S,
) -> None:
    """Replace the model of `app` where another bundle is meant; a broken one is told once and changes nothing."""
    refused = ""
    while not stop.wait(every_s):
        try:
            bundle = find()
            if bundle.sha256 != sha256:
                app.state.replace(_tried(open_predictor(bundle)))
                echo(f"now answers with {bundle.manifest.run}, bundle {bundle.sha256[:12]}; before: {sha256[:12]}")
                sha256 = bundle.sha256
            refused = ""
        except Exception as error:  # whatever it is: the present model keeps answering, and the next look comes
            if str(error) != refused:
                echo(f"the model stays {sha256[:12]}: {error}")
            refused = str(error)


def _tried(predictor: Predictor) -> Predictor:
    """The same, after it answered a blank image."""
    side = predictor.bundle.manifest.image_size
    predictor.predict(np.zeros((1, side, side, 3), np.uint8))
    return predictor
