"""Every setting, parsed once at a process's edge into a frozen value.

Each is a field of `Config`: the field says its default, meaning and form, and a variable of the
environment with the field's name in capitals sets it. From the fields come `SETTINGS` and
`env.example`. Nothing else in the platform reads the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from shared.config_values import (
    Network,
    choice,
    folder,
    microseconds,
    networks,
    origins,
    pause,
    port,
    positive,
    seconds,
    secret32,
    timezone,
    upstreams,
    url,
)
from shared.errors import ConfigError
from shared.services import GATEWAY, PROCESSES
from shared.serving.secret_files import with_secret_files

_SAID: Final = "setting"  # in a field's metadata: its setting, or those of its keys


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its default (None = unset), meaning, an example, its parser.

    `unset_as` is the field of `Config` whose value counts where this one is unset.
    """

    name: str
    default: str | None
    meaning: str
    example: str
    parse: Callable[[str], Any] = str
    secret: bool = False
    unset_as: str = ""

    def read(self, environ: Mapping[str, str]) -> Any:
        """The value; None where unset and without default. ConfigError that shows an example."""
        text = environ.get(self.name, "").strip() or self.default
        if text is None:
            return None
        try:
            return self.parse(text)
        except ValueError as error:
            shown = "the value given" if self.secret else repr(text)
            raise ConfigError(
                f"{self.name}: {shown} does not fit: {error}. Example: {self.name}={self.example}"
            ) from error


def setting(
    default: str | None,
    meaning: str,
    example: str,
    parse: Callable[[str], Any] = str,
    *,
    name: str = "",
    secret: bool = False,
    unset_as: str = "",
) -> Any:
    """A field of `Config` that a setting fills; `name` if that isn't the field's in capitals."""
    said = Setting(name, default, meaning, example, parse, secret, unset_as)
    return field(repr=not secret, metadata={_SAID: said})


def _ports() -> Any:
    """A field of `Config` that the port settings of all processes fill."""
    said: dict[str, Setting] = {}
    for one in PROCESSES:
        whose = "the gateway" if one is GATEWAY else f"the {one.name} service"
        default = str(one.port)
        said[one.name] = Setting(one.port_setting, default, f"port of {whose}", default, port)
    return field(metadata={_SAID: said})


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one process. Secrets are left out of `repr`."""

    home: Path = setting(
        ".looma",
        "data directory of the embedded stores, secrets and logs",
        "/var/lib/looma",
        folder,
        name="LOOMA_HOME",
    )
    bind_host: str = setting(
        "127.0.0.1",
        "address that every process listens on; 0.0.0.0 for all, behind a firewall",
        "10.0.0.5",
    )
    advertise_host: str = setting(
        None,
        "address under which this process can be reached by the gateway; unset = BIND_HOST",
        "portrait-1",
        unset_as="bind_host",
    )
    ports: Mapping[str, int] = _ports()  # by the name of the process
    listen_fd: int | None = setting(
        None,
        "descriptor of a listening socket that the process gets from whoever starts it; unset = it opens its port itself",
        "3",
        positive,
    )
    database_url: str | None = setting(
        None,
        "PostgreSQL 15 or newer; unset = embedded",
        "postgresql://looma:secret@db:5432/looma",
        url("postgresql", "postgres"),
        secret=True,
    )
    database_pool_size: int = setting("10", "connections to PostgreSQL per process", "20", positive)
    graph_url: str | None = setting(
        None,
        "Neo4j 5 by Bolt; unset = embedded",
        "bolt://neo4j:secret@graph:7687/neo4j",
        url("bolt", "neo4j", "bolt+s", "neo4j+s"),
        secret=True,
    )
    vector_url: str | None = setting(
        None,
        "Weaviate; unset = pgvector in the embedded PostgreSQL",
        "http://weaviate:8080",
        url("http", "https"),
        secret=True,
    )
    search_url: str | None = setting(
        None,
        "Elasticsearch 8; unset = full-text search in PostgreSQL",
        "http://elastic:secret@search:9200",
        url("http", "https"),
        secret=True,
    )
    redis_url: str | None = setting(
        None,
        "Redis 7; unset = embedded",
        "redis://:secret@cache:6379/0",
        url("redis", "rediss", "unix"),
        secret=True,
    )
    internal_token_secret: bytes | None = setting(
        None,
        "key that the gateway signs internal tokens with, the same for all processes; unset = made once and kept in LOOMA_HOME",
        "64 hex digits of openssl rand -hex 32",
        secret32,
        secret=True,
    )
    data_key: bytes | None = setting(
        None,
        "key for phone numbers and private keys at rest; losing it loses them; unset = made once and kept in LOOMA_HOME",
        "64 hex digits of openssl rand -hex 32",
        secret32,
        secret=True,
    )
    token_issuer: str = setting("looma", "`iss` of access tokens", "https://crm.example.com")
    token_audience: str = setting("looma", "`aud` of access tokens", "looma")
    access_token_seconds: int = setting("900", "life of an access token", "900", positive)
    refresh_token_seconds: int = setting(
        "1209600", "life of a refresh token that is not used", "1209600", positive
    )
    admin_email: str = setting(
        "admin@looma.local",
        "e-mail address of the admin that the first start makes",
        "ops@example.com",
    )
    admin_password: str | None = setting(
        None,
        "password of that admin; unset = random, shown once",
        "a long pass phrase",
        secret=True,
    )
    organisation: str = setting(
        "main", "short name of the organisation that the first start makes", "acme"
    )
    default_timezone: str = setting(
        "Asia/Shanghai", "time zone of new organisations", "Europe/Berlin", timezone
    )
    gateway_upstreams: Mapping[str, tuple[str, ...]] = setting(
        "",
        "static upstreams beside those in the registry: service=url, several by comma",
        "portrait=http://10.0.0.5:8215,portrait=http://10.0.0.6:8215",
        upstreams,
    )
    gateway_routes: Path | None = setting(
        None,
        "route table to use in place of the one in the package",
        "/etc/looma/routes.toml",
        Path,
    )
    gateway_issuers: Path | None = setting(
        None,
        "identity providers of organisations whose tokens are taken beside our own: docs/identity.md",
        "/etc/looma/issuers.toml",
        Path,
    )
    gateway_workers: int = setting(
        "1", "processes of the gateway that share its port", "4", positive
    )
    gateway_busy_poll_us: int = setting(
        "400",
        "microseconds for which a gateway that is asked in quick succession looks for more before it sleeps; 0: never",
        "0",
        microseconds,
    )
    gateway_replicas: int = setting(
        "1",
        "gateways (hosts or containers) that share one Redis, at least: each counts its part of the limits while it is away",
        "3",
        positive,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "",
        "networks of the proxies in front, by comma: only their X-Forwarded-For and -Proto are believed",
        "10.0.0.0/8,192.168.1.7/32",
        networks,
    )
    metrics_networks: tuple[Network, ...] = setting(
        "",
        "networks of the scrapers that may read the gateway's /metrics, by comma; none: this machine itself, unless it is a proxy in front",
        "10.0.3.0/24",
        networks,
    )
    cors_origins: tuple[str, ...] = setting(
        "",
        "origins whose pages may read answers, by comma; * for all",
        "https://crm.example.com",
        origins,
    )
    service_version: str = setting(
        "1", "version under which a service announces itself, for canary shares by version", "2"
    )
    analysis_workers: int = setting(
        "1", "processes of the enrichment service that analyse transcripts", "4", positive
    )
    shutdown_seconds: float = setting(
        "30", "longest time that work in flight has to finish after SIGTERM", "30", seconds
    )
    drain_delay_seconds: float = setting(
        "0",
        "time after SIGTERM in which /ready is 503 and requests are still taken, so that whoever balances load looks elsewhere first",
        "5",
        pause,
    )
    log_level: str = setting(
        "info", "debug, info, warning or error", "info", choice("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "json", "json for machines, console for people", "console", choice("json", "console")
    )
    otlp_endpoint: str | None = setting(
        None,
        "OpenTelemetry collector for traces; unset = traces are not exported",
        "http://otel:4318",
        url("http", "https"),
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Parse the environment; raises ConfigError that names the setting and shows an example."""
        environ = with_secret_files(os.environ if environ is None else environ, _SECRETS)
        values: dict[str, Any] = {}
        for name, said in _FIELDS.items():
            if isinstance(said, Setting):
                value = said.read(environ)
                values[name] = values[said.unset_as] if value is None and said.unset_as else value
            else:
                values[name] = {key: one.read(environ) for key, one in said.items()}
        return cls(**values)

    def port_of(self, service: str) -> int:
        """The port of a process by its name; KeyError for a name that is none."""
        return self.ports[service]

    @property
    def gateway_port(self) -> int:
        return self.ports[GATEWAY.name]


def _said_of_fields() -> dict[str, Setting | Mapping[str, Setting]]:
    said = {one.name: one.metadata[_SAID] for one in fields(Config)}
    return {
        name: replace(one, name=one.name or name.upper()) if isinstance(one, Setting) else one
        for name, one in said.items()
    }


_FIELDS: Final = _said_of_fields()
SETTINGS: Final[tuple[Setting, ...]] = tuple(
    one
    for said in _FIELDS.values()
    for one in ((said,) if isinstance(said, Setting) else said.values())
)
_SECRETS: Final = {one.name: one.example for one in SETTINGS if one.secret}


def process_environment(**overrides: str) -> dict[str, str]:
    """The environment for a child process: ours with some settings replaced."""
    return {**os.environ, **overrides}


def env_example() -> str:
    """The text of `env.example`; `python -m shared.config` writes it."""
    lines = [
        "# Every setting of Looma AI with its default. A line that is commented out has none:",
        "# the example shows the form. Set them in the environment of the processes.",
        "# A secret can be a file, too: NAME_FILE=/run/secrets/name, readable by its owner only.",
    ]
    for one in SETTINGS:
        lines += ["", f"# {one.meaning}"]
        if one.default is None:
            lines.append(f"# {one.name}={one.example}")
        else:
            lines.append(f"{one.name}={one.default}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(env_example())
