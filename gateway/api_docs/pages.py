"""`/openapi.json`, from the descriptions that the services give of themselves."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
import structlog

from gateway.api_docs.openapi import is_description, merge
from gateway.own_api.page import Page
from gateway.own_api.routes import OwnRoute
from gateway.routing.route import Route
from gateway.upstream.service_calls import ServiceCalls
from shared.errors import UpstreamError
from shared.serving.entity_tag import weak_tag
from shared.serving.single_flight import SingleFlight

_KEPT_S: Final = 10.0
_RETRY_S: Final = 1.0
log = structlog.get_logger()


class Descriptions:
    """Asks each service at most every 10 s; one that is away is described as it last was.

    `close` at the end.
    """

    def __init__(
        self,
        routes: Callable[[], Sequence[Route]],
        own: Sequence[OwnRoute],
        calls: ServiceCalls,
    ) -> None:
        self._routes = routes
        self._own = own
        self._calls = calls
        self._asking: SingleFlight[str, None] = SingleFlight("descriptions")
        self._asked_at = float("-inf")
        self._documents: dict[str, Any] = {}
        self._json = b""
        self._page = Page(b"")

    async def openapi(self) -> Page:
        if time.monotonic() - self._asked_at >= _KEPT_S:
            await self._asking.do("", self._renew)
        return self._page

    def close(self) -> None:
        self._asking.close()

    async def _renew(self) -> None:
        routes = self._routes()
        services = sorted({route.service for route in routes})
        await asyncio.gather(*(self._ask(service) for service in services))
        merged = merge(self._documents, routes)
        for one in self._own:
            operation, schemas = one.describe()
            merged["paths"].setdefault(one.path, {})[one.method.lower()] = operation
            merged["components"]["schemas"].update(schemas)
        written = orjson.dumps(merged)
        if written != self._json:
            self._page = await asyncio.to_thread(packed_page, written, "application/json")
            self._json = written
        # While a service is missing, readers ask again sooner.
        complete = len(self._documents) == len(services)
        self._asked_at = time.monotonic() - (0 if complete else _KEPT_S - _RETRY_S)

    async def _ask(self, service: str) -> None:
        try:
            status, document = await self._calls.ask(service, "GET", "/openapi.json")
        except UpstreamError as error:
            log.info("no description of a service", upstream=service, reason=error.message)
            return
        if status == 200 and is_description(document):
            self._documents[service] = document
        else:
            log.warning("a service's description is not readable", upstream=service)


def packed_page(body: bytes, content_type: str, *headers: tuple[str, str]) -> Page:
    """Compressed once for all who ask, and with a validator."""
    kept = (("Cache-Control", "no-cache"), ("ETag", weak_tag(body)), *headers)
    return Page(body, content_type, headers=kept, packed=gzip.compress(body))
