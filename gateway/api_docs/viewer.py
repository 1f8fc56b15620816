"""`/docs`: Swagger UI shows `/openapi.json` and sends what is tried; no other host is asked for anything.

Its script and style are those of npm's `swagger-ui-dist`, as the package `offapi` carries them.
Their paths name what they hold, so a browser keeps them for good and asks for others after an
update.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from gateway.api_docs.pages import packed_page
from gateway.own_api.page import OwnPage, Page

_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_START: Final = """
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  displayRequestDuration: true,
  showExtensions: true,
  tagsSorter: "alpha",
  tryItOutEnabled: true,
});
"""
_HTML: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Looma AI</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
</head>
<body>
<div id="viewer"></div>
<noscript>Without JavaScript there is <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="{script}"></script>
<script>{start}</script>
</body>
</html>
"""


@cache
def viewer_pages() -> dict[str, OwnPage]:
    """Path → page: `/docs` and the two files that it loads, the same for the life of a process."""
    # Read, not imported: on import it puts pages of its own together, 9 MB with three viewers.
    folder = Path(str(distribution("offapi").locate_file("offapi")))
    script = (folder / "swagger_bundle.js").read_bytes()
    style = (folder / "swagger_style.css").read_bytes()
    script_path = f"/docs/swagger-ui.{_digest(script)}.js"
    style_path = f"/docs/swagger-ui.{_digest(style)}.css"
    html = _HTML.format(script=script_path, style=style_path, start=_START)
    policy = ("Content-Security-Policy", _policy())
    pages = {
        "/docs": packed_page(html.encode(), "text/html; charset=utf-8", policy),
        script_path: packed_page(script, _SCRIPT, ("Cache-Control", _FOR_GOOD)),
        style_path: packed_page(style, _STYLE, ("Cache-Control", _FOR_GOOD)),
    }
    return {path: _fixed(page) for path, page in pages.items()}


def _fixed(page: Page) -> OwnPage:
    async def make() -> Page:
        return page

    return OwnPage(make)


def _policy() -> str:
    start = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{start}'",
            "style-src 'self'",
            "img-src data:",  # the pictures in Swagger UI's style
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _digest(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()[:16]
