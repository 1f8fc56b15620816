"""`/internal/targets`: where each process of the platform is scraped, in the form of Prometheus' HTTP
service discovery (https://prometheus.io/docs/prometheus/latest/http_sd/).

It tells what this gateway knows: the registry as read within the last seconds, instances named in
GATEWAY_UPSTREAMS, and the gateways themselves, once for each address however many workers share it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gateway.own_api.page import Page, json_page
from gateway.upstream.discovery import GATEWAYS, Discovery


class Targets:
    """Makes the page; who may read it is for Scrapers to say."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery

    async def page(self) -> Page:
        return json_page(self.groups())

    def groups(self) -> list[dict[str, Any]]:
        """One group for each instance, in a stable order; labels `service` and `version`."""
        found = {
            (service, one.url, one.version)
            for service, several in self._discovery.services.items()
            for one in several
        }
        found |= {(GATEWAYS, str(one.url), str(one.version)) for one in self._discovery.fellows}
        return [_group(*one) for one in sorted(found)]


def _group(service: str, url: str, version: str) -> dict[str, Any]:
    parts = urlsplit(url)
    labels = {"service": service, "version": version}
    if parts.scheme != "http":
        labels["__scheme__"] = parts.scheme
    # Credentials in an address are the gateway's.
    return {"targets": [parts.netloc.rpartition("@")[2]], "labels": labels}
