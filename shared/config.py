"""Every setting, parsed once at a process's edge into a frozen value.

`SETTINGS` is the table from which `env.example` is written and `--help` texts are taken.
Nothing else in the platform reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.errors import ConfigError
from shared.services import GATEWAY, PROCESSES, SERVICES
from shared.serving.secret_files import with_secret_files


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its default (None = unset), meaning, an example, its parser."""

    name: str
    default: str | None
    meaning: str
    example: str
    parse: Callable[[str], Any] = str
    secret: bool = False


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError("must be a whole number above 0")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 10**9:
        raise ValueError("must be a number of seconds above 0")
    return number


def _microseconds(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 10_000:
        raise ValueError("must be a whole number of microseconds from 0 to 10000")
    return number


def _pause(text: str) -> float:
    number = float(text)
    if not 0 <= number < 3600:
        raise ValueError("must be a number of seconds from 0 to 3600")
    return number


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.lower()

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if urlsplit(text).scheme not in schemes:
            raise ValueError(
                f"must be a URL that starts with {' or '.join(s + '://' for s in schemes)}"
            )
        return text

    return parse


def _secret32(text: str) -> bytes:
    raw = text.encode()
    if len(raw) < 32:
        raise ValueError("must have at least 32 characters (try: openssl rand -hex 32)")
    return raw


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("must be an IANA time zone") from error
    return text


def _upstreams(text: str) -> dict[str, tuple[str, ...]]:
    result: dict[str, list[str]] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        service, separator, url = item.partition("=")
        if not separator or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{item!r} is not service=http://host:port")
        result.setdefault(service, []).append(url.rstrip("/"))
    return {service: tuple(urls) for service, urls in result.items()}


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or parts.path or parts.query):
            raise ValueError(f"{origin!r} is not an origin: scheme://host[:port], or * for all")
    return origins


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "LOOMA_HOME",
        ".looma",
        "data directory of the embedded stores, secrets and logs",
        "/var/lib/looma",
    ),
    Setting(
        "BIND_HOST",
        "127.0.0.1",
        "address that every process listens on; 0.0.0.0 for all, behind a firewall",
        "10.0.0.5",
    ),
    Setting(
        "ADVERTISE_HOST",
        None,
        "address under which this process can be reached by the gateway; unset = BIND_HOST",
        "portrait-1",
    ),
    Setting(
        GATEWAY.port_setting, str(GATEWAY.port), "port of the gateway", str(GATEWAY.port), _port
    ),
    *(
        Setting(
            one.port_setting, str(one.port), f"port of the {one.name} service", str(one.port), _port
        )
        for one in SERVICES
    ),
    Setting(
        "LISTEN_FD",
        None,
        "descriptor of a listening socket that the process gets from whoever starts it; unset = it "
        "opens its port itself",
        "3",
        _positive,
    ),
    Setting(
        "DATABASE_URL",
        None,
        "PostgreSQL 15 or newer; unset = embedded",
        "postgresql://looma:secret@db:5432/looma",
        _url("postgresql", "postgres"),
        secret=True,
    ),
    Setting("DATABASE_POOL_SIZE", "10", "connections to PostgreSQL per process", "20", _positive),
    Setting(
        "GRAPH_URL",
        None,
        "Neo4j 5 by Bolt; unset = embedded",
        "bolt://neo4j:secret@graph:7687/neo4j",
        _url("bolt", "neo4j", "bolt+s", "neo4j+s"),
        secret=True,
    ),
    Setting(
        "VECTOR_URL",
        None,
        "Weaviate; unset = pgvector in the embedded PostgreSQL",
        "http://weaviate:8080",
        _url("http", "https"),
        secret=True,
    ),
    Setting(
        "SEARCH_URL",
        None,
        "Elasticsearch 8; unset = full-text search in PostgreSQL",
        "http://elastic:secret@search:9200",
        _url("http", "https"),
        secret=True,
    ),
    Setting(
        "REDIS_URL",
        None,
        "Redis 7; unset = embedded",
        "redis://:secret@cache:6379/0",
        _url("redis", "rediss", "unix"),
        secret=True,
    ),
    Setting(
        "INTERNAL_TOKEN_SECRET",
        None,
        "key that the gateway signs internal tokens with, the same for all processes; unset = made once and kept in LOOMA_HOME",
        "64 hex digits of openssl rand -hex 32",
        _secret32,
        secret=True,
    ),
    Setting(
        "DATA_KEY",
        None,
        "key for phone numbers and private keys at rest; losing it loses them; unset = made once and kept in LOOMA_HOME",
        "64 hex digits of openssl rand -hex 32",
        _secret32,
        secret=True,
    ),
    Setting("TOKEN_ISSUER", "looma", "`iss` of access tokens", "https://crm.example.com"),
    Setting("TOKEN_AUDIENCE", "looma", "`aud` of access tokens", "looma"),
    Setting("ACCESS_TOKEN_SECONDS", "900", "life of an access token", "900", _positive),
    Setting(
        "REFRESH_TOKEN_SECONDS",
        "1209600",
        "life of a refresh token that is not used",
        "1209600",
        _positive,
    ),
    Setting(
        "ADMIN_EMAIL",
        "admin@looma.local",
        "e-mail address of the admin that the first start makes",
        "ops@example.com",
    ),
    Setting(
        "ADMIN_PASSWORD",
        None,
        "password of that admin; unset = random, shown once",
        "a long pass phrase",
        secret=True,
    ),
    Setting(
        "ORGANISATION", "main", "short name of the organisation that the first start makes", "acme"
    ),
    Setting(
        "DEFAULT_TIMEZONE",
        "Asia/Shanghai",
        "time zone of new organisations",
        "Europe/Berlin",
        _timezone,
    ),
    Setting(
        "GATEWAY_UPSTREAMS",
        "",
        "static upstreams beside those in the registry: service=url, several by comma",
        "portrait=http://10.0.0.5:8215,portrait=http://10.0.0.6:8215",
        _upstreams,
    ),
    Setting(
        "GATEWAY_ROUTES",
        None,
        "route table to use in place of the one in the package",
        "/etc/looma/routes.toml",
    ),
    Setting(
        "GATEWAY_ISSUERS",
        None,
        "identity providers of organisations whose tokens are taken beside our own: docs/identity.md",
        "/etc/looma/issuers.toml",
        Path,
    ),
    Setting(
        "GATEWAY_WORKERS",
        "1",
        "processes of the gateway that share its port",
        "4",
        _positive,
    ),
    Setting(
        "GATEWAY_BUSY_POLL_US",
        "400",
        "microseconds for which a gateway that is asked in quick succession looks for more before it sleeps; 0: never",
        "0",
        _microseconds,
    ),
    Setting(
        "GATEWAY_REPLICAS",
        "1",
        "gateways (hosts or containers) that share one Redis, at least: each counts its part of the limits while it is away",
        "3",
        _positive,
    ),
    Setting(
        "TRUSTED_PROXIES",
        "",
        "networks of the proxies in front, by comma: only their X-Forwarded-For and -Proto are believed",
        "10.0.0.0/8,192.168.1.7/32",
        _networks,
    ),
    Setting(
        "METRICS_NETWORKS",
        "",
        "networks of the scrapers that may read the gateway's /metrics, by comma; none: this machine itself, unless it is a proxy in front",
        "10.0.3.0/24",
        _networks,
    ),
    Setting(
        "CORS_ORIGINS",
        "",
        "origins whose pages may read answers, by comma; * for all",
        "https://crm.example.com",
        _origins,
    ),
    Setting(
        "SERVICE_VERSION",
        "1",
        "version under which a service announces itself, for canary shares by version",
        "2",
    ),
    Setting(
        "ANALYSIS_WORKERS",
        "1",
        "processes of the enrichment service that analyse transcripts",
        "4",
        _positive,
    ),
    Setting(
        "SHUTDOWN_SECONDS",
        "30",
        "longest time that work in flight has to finish after SIGTERM",
        "30",
        _seconds,
    ),
    Setting(
        "DRAIN_DELAY_SECONDS",
        "0",
        "time after SIGTERM in which /ready is 503 and requests are still taken, so that whoever balances load looks elsewhere first",
        "5",
        _pause,
    ),
    Setting(
        "LOG_LEVEL",
        "info",
        "debug, info, warning or error",
        "info",
        _choice("debug", "info", "warning", "error"),
    ),
    Setting(
        "LOG_FORMAT",
        "json",
        "json for machines, console for people",
        "console",
        _choice("json", "console"),
    ),
    Setting(
        "OTLP_ENDPOINT",
        None,
        "OpenTelemetry collector for traces; unset = traces are not exported",
        "http://otel:4318",
        _url("http", "https"),
    ),
)


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one process. Secrets are left out of `repr`."""

    home: Path
    bind_host: str
    advertise_host: str
    ports: Mapping[str, int]  # of each process, by its name
    listen_fd: int | None
    database_url: str | None = field(repr=False)
    database_pool_size: int
    graph_url: str | None = field(repr=False)
    vector_url: str | None = field(repr=False)
    search_url: str | None = field(repr=False)
    redis_url: str | None = field(repr=False)
    internal_token_secret: bytes | None = field(repr=False)
    data_key: bytes | None = field(repr=False)
    token_issuer: str
    token_audience: str
    access_token_seconds: int
    refresh_token_seconds: int
    admin_email: str
    admin_password: str | None = field(repr=False)
    organisation: str
    default_timezone: str
    gateway_upstreams: Mapping[str, tuple[str, ...]]
    gateway_routes: Path | None
    gateway_issuers: Path | None
    gateway_workers: int
    gateway_busy_poll_us: int
    gateway_replicas: int
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    metrics_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    cors_origins: tuple[str, ...]
    service_version: str
    analysis_workers: int
    shutdown_seconds: float
    drain_delay_seconds: float
    log_level: str
    log_format: str
    otlp_endpoint: str | None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Parse the environment; raises ConfigError that names the setting and shows an example."""
        values = parse_settings(os.environ if environ is None else environ)
        routes = values["GATEWAY_ROUTES"]
        special = {
            "home": Path(values.pop("LOOMA_HOME")).expanduser().absolute(),
            "ports": {one.name: values.pop(one.port_setting) for one in PROCESSES},
            "advertise_host": values.pop("ADVERTISE_HOST") or values["BIND_HOST"],
            "gateway_routes": Path(routes) if routes else None,
        }
        del values["GATEWAY_ROUTES"]
        return cls(**special, **{name.lower(): value for name, value in values.items()})

    def port_of(self, service: str) -> int:
        """The port of a process by its name; KeyError for a name that is none."""
        return self.ports[service]

    @property
    def gateway_port(self) -> int:
        return self.ports[GATEWAY.name]


def parse_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Setting name → parsed value (None where unset and without default)."""
    environ = with_secret_files(environ, {one.name: one.example for one in SETTINGS if one.secret})
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environ.get(setting.name, "").strip() or setting.default
        if text is None:
            values[setting.name] = None
            continue
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            shown = "the value given" if setting.secret else repr(text)
            raise ConfigError(
                f"{setting.name}: {shown} does not fit: {error}. Example: {setting.name}={setting.example}"
            ) from error
    return values


def process_environment(**overrides: str) -> dict[str, str]:
    """The environment for a child process: ours with some settings replaced."""
    return {**os.environ, **overrides}


def env_example() -> str:
    """The text of `env.example`."""
    lines = [
        "# Every setting of Looma AI with its default. A line that is commented out has none:",
        "# the example shows the form. Set them in the environment of the processes.",
        "# A secret can be a file, too: NAME_FILE=/run/secrets/name, readable by its owner only.",
    ]
    for setting in SETTINGS:
        lines += ["", f"# {setting.meaning}"]
        if setting.default is None:
            lines.append(f"# {setting.name}={setting.example}")
        else:
            lines.append(f"{setting.name}={setting.default}")
    return "\n".join(lines) + "\n"
