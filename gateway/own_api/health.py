"""`/health` and `/ready`: how the platform is doing, and whether this process can serve.

`/health` is always 200 while the gateway can answer: its `status` says how the rest is. A load
balancer that took the gateway out because services are down would turn a partial outage into a
whole one. Nor does it wait for one that hangs: probes of whether the gateway lives ask this page.
`/ready` is 503 while nothing could be served: draining, or no key to verify a token.

/health   ok        every instance of every routed service is up
          degraded  some are not
          down      none is
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from gateway.auth.jwks import FRESH_S, STALE_S, SigningKeys
from gateway.own_api.page import Page, json_page
from gateway.upstream.discovery import Discovery
from gateway.upstream.instance import Instance
from gateway.upstream.service_calls import ServiceCalls
from shared.errors import UpstreamError
from shared.serving.single_flight import SingleFlight

_KEPT_S: Final = 1.0  # anybody may ask; the services are not asked for each
_ANSWER_S: Final = 1.0  # of a service; the images' health check waits for this page for 2 s


class Health:
    """The two pages; `close` at the end."""

    def __init__(
        self,
        services: Callable[[], Collection[str]],
        discovery: Discovery,
        calls: ServiceCalls,
        keys: SigningKeys,
        draining: Callable[[], bool],
    ) -> None:
        self._services = services
        self._discovery = discovery
        self._calls = calls
        self._keys = keys
        self._draining = draining
        self._looking: SingleFlight[str, None] = SingleFlight("health")
        self._kept: tuple[float, dict[str, Any]] = (float("-inf"), {})

    async def health(self) -> Page:
        if time.monotonic() - self._kept[0] > _KEPT_S:
            await self._looking.do("", self._renew)
        return json_page(self._kept[1])

    def close(self) -> None:
        self._looking.close()

    async def ready(self) -> Page:
        age = self._keys.age
        keys = age is not None and age < FRESH_S + STALE_S
        checks = {
            "signing_keys": "up" if keys else "the auth service has not been reached",
            "registry": self._discovery.registry,
        }
        status = "draining" if self._draining() else "ready" if keys else "not_ready"
        body = {"status": status, "service": "gateway", "checks": checks}
        if status == "ready":
            return json_page(body)
        return json_page(body, 503, (("Retry-After", "2"),))

    async def _renew(self) -> None:
        self._kept = (time.monotonic(), await self._look())

    async def _look(self) -> dict[str, Any]:
        names = sorted(self._services())
        looked = await asyncio.gather(*(self._service(name) for name in names))
        services = dict(zip(names, looked, strict=True))
        return {
            "status": overall([service["status"] for service in services.values()]),
            "service": "gateway",
            "registry": self._discovery.registry,
            "services": services,
        }

    async def _service(self, name: str) -> dict[str, Any]:
        upstreams = self._discovery.of(name)
        instances = await asyncio.gather(*(self._instance(name, one) for one in upstreams))
        return {
            "status": overall(["ok" if one["status"] == "up" else "down" for one in instances]),
            "instances": list(instances),
        }

    async def _instance(self, service: str, instance: Instance) -> Mapping[str, Any]:
        # Addresses stay inside: anybody may read this page.
        started = time.perf_counter()
        try:
            async with asyncio.timeout(_ANSWER_S):
                status, _ = await self._calls.ask_instance(instance, service, "/health")
        except UpstreamError as error:
            return {"id": instance.name, "status": "down", "reason": error.message}
        except TimeoutError:
            reason = f"no answer within {_ANSWER_S:g} s"
            return {"id": instance.name, "status": "down", "reason": reason}
        latency = round((time.perf_counter() - started) * 1000, 1)
        if status != 200:
            return {"id": instance.name, "status": "down", "reason": f"answers {status}"}
        return {"id": instance.name, "status": "up", "latency_ms": latency}


def overall(states: Collection[str]) -> str:
    """'ok' if all are, 'down' if all are (or there are none), else 'degraded'."""
    if states and all(state == "ok" for state in states):
        return "ok"
    return "down" if all(state == "down" for state in states) else "degraded"
