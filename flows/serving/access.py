"""The token of `dermflow serve`: who may ask, where the server listens at an address that other hosts reach."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi.security import HTTPBearer

from components.base.errors import RunError

VARIABLE = "DERMFLOW_SERVE_TOKEN"

LEAST = 16
"""Characters of a token."""

MAKE = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'

SCHEME = HTTPBearer(auto_error=False, description=f"the token of the server's variable {VARIABLE}")


@dataclass(frozen=True)
class Token:
    """A secret that a request must carry; it is in no message and no log."""

    secret: str = field(repr=False)

    def fits(self, header: str) -> bool:
        """Whether the header `Authorization` has it; the time of the comparison does not tell where they differ."""
        scheme, _, given = header.partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self.secret.encode())
        return scheme.lower() == "bearer" and same


def read_token(environment: Mapping[str, str]) -> Token | None:
    """The token of the environment; None where the variable is not set or empty.

    Raises:
        RunError: where it is too short, or has characters that a header cannot carry.
    """
    secret = environment.get(VARIABLE, "")
    if not secret:
        return None
    if len(secret) < LEAST or not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise RunError(
            f"{VARIABLE} has {len(secret)} characters, expected {LEAST} or more, ASCII without blanks: make one with "
            f"{MAKE}"
        )
    return Token(secret)


def check_address(host: str, token: Token | None) -> None:
    """Refuse to listen at an address that other hosts reach, where no token is required.

    Raises:
        RunError: naming the address and the variable.
    """
    if token is None and not is_loopback(host):
        raise RunError(
            f"--host {host}: other hosts reach this address, and no token is set: set {VARIABLE} "
            f"({MAKE}), or listen at 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is of this host alone; another name than localhost counts as not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
