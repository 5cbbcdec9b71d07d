"""The page `/docs`: what can be asked, from the OpenAPI document. It has no script and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def render_api(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: OpenAPI 3, as `FastAPI.openapi()` gives it.
    """
    from components.report.page import render  # here, since matplotlib takes a second to import and only pages need it

    return render("deployment/api_page.html.j2", info=document["info"], operations=_operations(document))


def _operations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each operation with its method, path, text, types of request and statuses of response."""
    return [
        {
            "method": method.upper(),
            "path": path,
            "text": operation.get("description") or operation.get("summary", ""),
            "takes": sorted(operation.get("requestBody", {}).get("content", {})),
            "parameters": operation.get("parameters", []),
            "answers": {code: answer["description"] for code, answer in sorted(operation["responses"].items())},
            "guarded": bool(operation.get("security")),
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
