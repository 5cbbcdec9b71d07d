"""Prefect's server as an ASGI application that answers at no host name but this machine's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOSTS = ("127.0.0.1", "localhost")


def create() -> ASGIApp:
    """The application; where its login comes from, see `prefect_server`.

    Prefect has no setting for the header Host. Without a check, a page whose own name was made to point to 127.0.0.1
    (DNS rebinding) would have the origin of this server.
    """
    from prefect.server.api.server import create_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return TrustedHostMiddleware(create_app(), allowed_hosts=HOSTS)
