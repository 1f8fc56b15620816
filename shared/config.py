"""Every setting, parsed once at a process's edge into a frozen value.

Each is a field of `Config`: the field says its default, meaning and form, and a variable of the
environment with the field's name in capitals sets it. From the fields come `SETTINGS` and
`env.example`. Nothing else in the platform reads the environment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from shared.config_values import (
    Network,
    analyzer,
    at_least_500,
    choice,
    country,
    folder,
    microseconds,
    natural,
    networks,
    origins,
    pause,
    port,
    positive,
    seconds,
    secret32,
    share,
    switch,
    timezone,
    up_to_thousand,
    upstreams,
    url,
)
from shared.errors import ConfigError
from shared.services import GATEWAY, PROCESSES
from shared.serving.secret_files import FILE_SUFFIX, with_secret_files

_SAID: Final = "setting"  # in a field's metadata: its setting, or those of its keys


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its default (None = unset), meaning, an example, its parser.

    `unset_as` is the field of `Config` whose value counts where this one is unset. A setting that is
    `many` has NAME at its end, and stands for all variables that have a name of their own there.
    """

    name: str
    default: str | None
    meaning: str
    example: str
    parse: Callable[[str], Any] = str
    secret: bool = False
    unset_as: str = ""
    many: bool = False

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

    def read_many(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """The values by the names at the end of their variables; those that are empty are left out."""
        ones = (replace(self, name=name) for name in sorted(self.names_in(environ)))
        start = len(self._before)
        found = {one.name[start:]: one.read(environ) for one in ones}
        return {name: value for name, value in found.items() if value is not None}

    def names_in(self, environ: Mapping[str, str]) -> set[str]:
        """The variables that this setting stands for, where it is `many`: without _FILE at the end."""
        names = {name.removesuffix(FILE_SUFFIX) for name in environ}
        return {name for name in names if re.fullmatch(f"{self._before}[A-Z0-9_]+", name)}

    @property
    def _before(self) -> str:
        return self.name.removesuffix("NAME")


def setting(
    default: str | None,
    meaning: str,
    example: str,
    parse: Callable[[str], Any] = str,
    *,
    name: str = "",
    secret: bool = False,
    unset_as: str = "",
    many: bool = False,
) -> Any:
    """A field of `Config` that a setting fills; `name` if that isn't the field's in capitals."""
    said = Setting(name, default, meaning, example, parse, secret, unset_as, many)
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
        "Weaviate; unset = pgvector in PostgreSQL, which needs that extension",
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
        "key for phone numbers, private keys and secrets of webhooks at rest; losing it loses them; unset = made once and kept in LOOMA_HOME",
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
    metrics_organisations: int = setting(
        "50",
        "organisations that have metrics of their own in each process, the busiest; the others are counted together",
        "200",
        up_to_thousand,
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
    default_country: str = setting(
        "CN",
        "country (ISO 3166, two letters) of phone numbers without a country code: one number is one customer",
        "DE",
        country,
    )
    erased_stay_out: bool = setting(
        "on",
        "on: calls and customers that were erased stay out when a source brings them again; off: they come back",
        "off",
        switch,
    )
    analyzer: str = setting(
        "auto",
        "who judges transcripts: local, by its words alone; auto, a model where that is uncertain, if ANALYSIS_MODEL is set; llm, a model wherever there is something to judge; trained:NAME, as auto, but one fact by a model of your own: docs/analysis.md",
        "local",
        analyzer,
    )
    trained_models: Path | None = setting(
        None,
        "folder of the models that looma analyze train makes; unset = LOOMA_HOME/trained",
        "/srv/looma/trained",
        folder,
    )
    llm_model: str | None = setting(
        None, "the model of the one provider, by the provider's name", "deepseek-chat"
    )
    analysis_model: str | None = setting(
        None,
        "model that judges transcripts, as clients of the llm service call it; unset = LLM_MODEL",
        "fast",
        unset_as="llm_model",
    )
    analysis_certain_from: float = setting(
        "0.85",
        "confidence of the local analyser from which no model is asked",
        "0.9",
        share,
    )
    analysis_shortest: int = setting(
        "4", "characters that a customer says at least where a model is asked", "10", positive
    )
    analysis_batch: int = setting(
        "50", "transcripts that share a request to a model, at most", "20", positive
    )
    analysis_concurrency: int = setting(
        "5", "requests for analysis that a process has under way at once", "10", positive
    )
    analysis_per_minute: int = setting(
        "60", "requests for analysis that begin in a minute, over all replicas", "300", positive
    )
    analysis_timeout_seconds: float = setting(
        "30", "longest time that a request for analysis may take", "60", seconds
    )
    analysis_tries: int = setting(
        "3",
        "times that a request for analysis is tried, until its calls keep their local verdict",
        "5",
        positive,
    )
    analysis_request_tokens: int = setting(
        "16000",
        "tokens of the transcripts in a request; longer ones are judged by windows",
        "6000",
        at_least_500,
    )
    analysis_answer_tokens: int = setting(
        "4096", "tokens that an answer may have, no more than the model gives", "8192", at_least_500
    )
    analysis_wait_seconds: float = setting(
        "60",
        "time in which transcripts gather for a model; 0: they wait for the daily analysis",
        "0",
        pause,
    )
    analysis_backfill_from: int = setting(
        "0",
        "waiting transcripts from which they are judged by a batch, within a day and for less; 0: never",
        "2000",
        natural,
    )
    analysis_kept_days: int = setting(
        "30", "days for which a model's verdicts are kept for equal transcripts", "7", positive
    )
    sync_folder: Path | None = setting(
        None,
        "folder with one of each organisation, by its short name or id, whose files the enrichment service imports daily: docs/import.md",
        "/srv/looma/sync",
        Path,
    )
    sources: Path | None = setting(
        None,
        "systems that the enrichment service reads calls from, or that send them: docs/sources.md",
        "/etc/looma/sources.toml",
        Path,
    )
    source_secrets: Mapping[str, str] = setting(
        None,
        'password or signing secret that the sources file names: SOURCE_SECRET_DIALLER is that of `password = "DIALLER"`',
        "a long pass phrase",
        name="SOURCE_SECRET_NAME",
        secret=True,
        many=True,
    )
    llm_models: Path | None = setting(
        None,
        "providers and models of the llm service, with their prices and limits: docs/llm.md",
        "/etc/looma/models.toml",
        Path,
    )
    llm_base_url: str | None = setting(
        None,
        "the one provider, where there is no models file: what its OpenAI API begins with",
        "https://api.deepseek.com/v1",
        url("http", "https"),
    )
    llm_api_key: str | None = setting(
        None, "key of the one provider; unset = it asks for none", "sk-0123456789", secret=True
    )
    llm_keys: Mapping[str, str] = setting(
        None,
        'key of a provider that the models file names: LLM_KEY_QWEN is that of `key = "QWEN"`',
        "sk-0123456789",
        name="LLM_KEY_NAME",
        secret=True,
        many=True,
    )
    webhook_private_networks: tuple[Network, ...] = setting(
        "",
        "networks that webhooks may lead to though they are not public, by comma, over http and on any port too; none: https to public addresses only",
        "10.20.0.0/24",
        networks,
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
    ray_address: str | None = setting(
        None,
        "Ray cluster that long computations are spread over; unset = the cores of the machine they run on",
        "ray-head:6379",
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
        environ = os.environ if environ is None else environ
        environ = with_secret_files(environ, _secrets_in(environ))
        values: dict[str, Any] = {}
        for name, said in _FIELDS.items():
            if isinstance(said, Setting) and said.many:
                values[name] = said.read_many(environ)
            elif isinstance(said, Setting):
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


def _secrets_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The names of all settings that are secret, with an example of each."""
    return {
        name: one.example
        for one in SETTINGS
        if one.secret
        for name in (one.names_in(environ) if one.many else (one.name,))
    }


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
