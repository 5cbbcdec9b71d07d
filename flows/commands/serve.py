"""`dermflow serve`: the model for use behind HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from components.deployment.predictor import Predictor
from flows.prediction.models import find_bundle
from flows.serving.access import check_address, read_token
from flows.serving.app import Limits
from flows.serving.server import serve as serve_model
from flows.settings import load_settings


def serve(*, model: str | None, host: str, port: int, echo: Callable[[str], None]) -> None:
    """Serve until the process is stopped.

    Args:
        model: as `find_bundle` takes it; it is looked up again every few seconds.
        host: address to listen at.
        port: 0 for any free one.
        echo: shows one line.

    Raises:
        RunError: where other hosts reach the address and the environment has no token.
    """
    token = read_token(os.environ)
    check_address(host, token)
    settings = load_settings()
    compute = settings.compute
    serve_model(
        partial(find_bundle, model, settings.paths.bundle),
        partial(Predictor.open, device=compute.device, threads=compute.threads),
        host=host,
        port=port,
        threads=compute.threads,
        limits=Limits(),
        echo=echo,
        token=token,
    )
