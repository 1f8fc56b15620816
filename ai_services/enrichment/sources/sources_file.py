"""The sources file: the systems that stay connected, each with how it is reached and read.

    [dialler]                             # a name of your own
    organisation = "acme"                 # whose calls these are, by short name
    kind = "autodialer"                   # or asterisk, mysql, postgresql, push
    url = "mysql://looma@10.0.0.5/outbound_saas"
    password = "DIALLER"                  # the setting SOURCE_SECRET_DIALLER

No secret stands in it: it names settings. docs/sources.md describes every key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ai_services.enrichment.legs.rows import GROUP
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.sources.databases.identifier import is_identifier
from ai_services.enrichment.sources.routing import MONTH, Layout, TableName
from ai_services.enrichment.sources.settings import Address, Kind, SourceSettings, Spoken
from ai_services.enrichment.sources.transcripts.spoken import SpokenColumns
from shared.errors import ConfigError, InvalidInput
from shared.signed_message import secret_of

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_SECRET: Final = re.compile(r"[A-Z0-9_]+")
_PORTS: Final = {"mysql": 3306, "postgresql": 5432, "mongodb": 27017}
_TLS: Final = ("off", "require", "verify")
# What a source of this kind is unless it says otherwise.
_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "autodialer": {
        "kind": "mysql",
        "table": f"autodialer_call_record_{MONTH}",
        "time": "calldate",
        "preset": "autodialer",
        "transcripts": {"kind": "table", "table": f"autodialer_call_record_detail_{MONTH}"},
    },
    "mysql": {"kind": "mysql"},
    "postgresql": {"kind": "postgresql"},
    "asterisk": {
        "kind": "mysql",
        "table": "cdr",
        "time": "calldate",
        "key": ["uniqueid", "sequence"],
        "preset": "asterisk",
    },
    "push": {"kind": "push", "preset": "calls"},
}
_KEYS: Final = (
    "organisation", "kind", "url", "password", "tls", "ca", "secret", "table", "key", "time",
    "changed", "deleted", "preset", "column_map", "timezone", "since", "history_months",
    "overlap_hours", "concurrency", "page_rows", "timeout_s", "transcripts",
)  # fmt: skip
_SPOKEN_KEYS: Final = (
    "kind", "table", "url", "password", "collection", "key", "text", "role", "at_ms", "order",
    "speaker", "speakers",
)  # fmt: skip


def read_sources(path: Path, secrets: Mapping[str, str]) -> dict[str, SourceSettings]:
    """The sources by name. ConfigError that names the file, the key and what would fit."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"SOURCES: {path} can't be read ({error}).") from error
    return parse_sources(text, secrets, path.parent)


def parse_sources(
    text: str, secrets: Mapping[str, str], folder: Path = Path()
) -> dict[str, SourceSettings]:
    """`folder` is what the paths of column maps and certificates begin at."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"SOURCES: the file is no TOML: {error}.") from error
    found: dict[str, SourceSettings] = {}
    for name, table in raw.items():
        if not _NAME.fullmatch(name) or not isinstance(table, dict):
            raise ConfigError(
                f"SOURCES: {name[:50]!r} is no source. Write [name] of a-z, 0-9, _ and -, at most 40, "
                "with its keys below it."
            )
        found[name] = _Reader(name, table, secrets, folder).source()
    return found


class _Reader:
    """One table of the file; each mistake is a ConfigError that says where it stands."""

    def __init__(
        self, name: str, table: Mapping[str, Any], secrets: Mapping[str, str], folder: Path
    ) -> None:
        self._name = name
        self._secrets = secrets
        self._folder = folder
        self._known(table, _KEYS, "")
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise self._wrong("kind", f"is {kind!r}", f"write one of {', '.join(_KINDS)}")
        self._table = {**_KINDS[kind], **table, "kind": _KINDS[kind]["kind"]}
        if table.get("column_map"):
            self._table.pop("preset", None)

    def source(self) -> SourceSettings:
        kind: Kind = self._table["kind"]
        organisation = self._text("organisation")
        if organisation is None:
            raise self._wrong(
                "organisation", "is missing", "write the short name of whose calls these are"
            )
        pulled = kind != "push"
        since = self._table.get("since")
        if isinstance(since, str):
            try:
                since = date.fromisoformat(since)
            except ValueError:
                since = ""
        if since is not None and type(since) is not date:
            raise self._wrong("since", "is no day", 'write it like since = "2024-12-01"')
        time = self._column("time")
        if pulled and time is None:
            raise self._wrong("time", "is missing", "name the column of a call's start")
        if kind == "push" and self._text("secret") is None:
            raise self._wrong(
                "secret", "is missing", "name the setting SOURCE_SECRET_… of its signatures"
            )
        found = SourceSettings(
            name=self._name,
            organisation=organisation,
            kind=kind,
            preset=self._preset(),
            address=self._address() if pulled else None,
            layout=self._layout() if pulled else Layout(TableName("")),
            key=self._key(),
            time=time or "",
            changed=self._column("changed"),
            deleted=self._column("deleted"),
            spoken=self._spoken() if pulled else None,
            timezone=self._zone(),
            since=since,
            overlap_hours=self._number("overlap_hours", 24, 0, 24 * 92),
            concurrency=self._number("concurrency", 2, 1, 32),
            page_rows=self._number("page_rows", 5_000, 1, 50_000),
            timeout_s=self._number("timeout_s", 60, 1, 3_600),
            secret=self._signing("secret"),
        )
        self._check_legs(found)
        return found

    def _check_legs(self, found: SourceSettings) -> None:
        """What a row means by itself can't be said of one that is a part of a call."""
        if not found.of_legs:
            return
        if found.deleted is not None:
            fix = "leave it out; rows that go are found by looma sync verify"
            raise self._wrong("deleted", "can't be said of rows that are legs", fix)
        if found.spoken is not None and GROUP not in found.preset.sources:
            fix = 'say kind = "none", or group rows by another column than that of callid'
            raise self._wrong("transcripts", "would be those of each row of a call", fix)

    def _wrong(self, key: str, problem: str, fix: str) -> ConfigError:
        return ConfigError(f"SOURCES: [{self._name}] {key} {problem}: {fix}.")

    def _known(self, table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}"
                raise self._wrong(f"{where}{key}", "is not known", hint)

    def _text(self, key: str, table: Mapping[str, Any] | None = None) -> str | None:
        value = (self._table if table is None else table).get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, "is no text", f'write it as {key} = "…"')
        return value.strip()

    def _number(self, key: str, default: int, least: int, most: int) -> int:
        value = self._table.get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(key, f"is {value!r}", f"write a whole number from {least} to {most}")
        return value

    def _column(self, key: str, table: Mapping[str, Any] | None = None) -> str | None:
        name = self._text(key, table)
        if name is not None and not is_identifier(name):
            raise self._wrong(
                key, f"{name[:60]!r} is no name of a column", "use letters, digits, _ and $"
            )
        return name

    def _key(self) -> tuple[str, ...]:
        """One column that is unique, or several that are so together."""
        names = self._table.get("key")
        if not isinstance(names, list):
            names = [] if names is None else [names]
        columns = [self._column("key", {"key": name}) for name in names]
        return tuple(name for name in columns if name is not None)

    def _secret(self, key: str, table: Mapping[str, Any] | None = None) -> str | None:
        """The value of the setting that is named, never the name of a secret's text."""
        name = self._text(key, table)
        if name is None:
            return None
        if not _SECRET.fullmatch(name):
            fix = "name a setting: DIALLER for SOURCE_SECRET_DIALLER; secrets don't stand in this file"
            raise self._wrong(key, "is no name of a setting", fix)
        if name not in self._secrets:
            raise self._wrong(
                key, f"names SOURCE_SECRET_{name}", "set it in the service's environment"
            )
        return self._secrets[name]

    def _signing(self, key: str) -> str | None:
        """Several while one takes the place of another, with blanks between them."""
        shown = self._secret(key)
        try:
            for one in (shown or "").split():
                secret_of(one)
        except ValueError as error:
            fix = "write whsec_ and the base64 of 32 random bytes: openssl rand -base64 32"
            raise self._wrong(key, f"is no signing secret ({error})", fix) from None
        return shown

    def _zone(self) -> str | None:
        zone = self._text("timezone")
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise self._wrong(
                    "timezone", f"{zone!r} is none", "write one like Asia/Shanghai"
                ) from None
        return zone

    def _preset(self) -> Preset:
        path = self._text("column_map")
        try:
            return load_preset(
                str(self._folder / path) if path else self._text("preset") or "calls"
            )
        except InvalidInput as error:
            key = "column_map" if path else "preset"
            raise ConfigError(f"SOURCES: [{self._name}] {key}: {error.message}") from error

    def _address(self) -> Address:
        url = self._text("url") or ""
        scheme = self._table["kind"]
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[scheme]
        except ValueError:
            parts, port = urlsplit(""), 0
        database = parts.path.strip("/")
        if parts.password is not None:
            raise self._wrong(
                "url", "holds a password", "take it out, and name its setting as password"
            )
        if parts.scheme != scheme or not (parts.hostname and parts.username and database):
            raise self._wrong("url", "does not fit", f"write it like {scheme}://user@host/database")
        tls = self._text("tls") or "verify"
        if tls not in _TLS:
            raise self._wrong("tls", f"is {tls!r}", f"write one of {', '.join(_TLS)}")
        ca = self._text("ca")
        return Address(
            parts.hostname, port, unquote(parts.username), unquote(database),
            self._secret("password"), tls, str(self._folder / ca) if ca else None,
        )  # fmt: skip

    def _layout(self) -> Layout:
        spoken = self._table.get("transcripts") or {}
        details = self._text("table", spoken) if spoken.get("kind", "table") == "table" else None
        history = self._number("history_months", 3, 0, 1_200)
        return Layout(
            self._template("table", self._text("table")),
            self._template("transcripts.table", details) if details else None,
            history,
        )

    def _template(self, key: str, name: str | None) -> TableName:
        if name is None:
            raise self._wrong(
                key, "is missing", f'name the table, or "calls_{MONTH}" for one a month'
            )
        plain = name.replace(MONTH, "2024_12", 1)
        schemas = 1 if self._table["kind"] == "postgresql" else 0
        if not all(map(is_identifier, plain.split("."))) or plain.count(".") > schemas:
            raise self._wrong(
                key, f"{name[:60]!r} is no name of a table", "use letters, digits, _ and $"
            )
        return TableName(name)

    def _spoken(self) -> Spoken | None:
        table = self._table.get("transcripts")
        if table is None:
            return None
        if not isinstance(table, dict):
            raise self._wrong("transcripts", "is no table", f"write [{self._name}.transcripts]")
        self._known(table, _SPOKEN_KEYS, "transcripts.")
        kind = table.get("kind", "table")
        if kind == "none":
            return None
        if kind not in ("table", "mongodb"):
            raise self._wrong("transcripts.kind", f"is {kind!r}", "write table, mongodb or none")
        speaker = table.get("speaker", "customer")
        speakers = table.get("speakers", {})
        if not isinstance(speakers, dict) or not {speaker, *speakers.values()} <= {
            "customer",
            "agent",
        }:
            raise self._wrong(
                "transcripts.speakers", "does not fit", "say customer or agent of each"
            )
        columns = SpokenColumns(
            key=self._column("key", table) or "callid",
            text=self._column("text", table) or "text",
            role=self._column("role", table),
            at_ms=self._column("at_ms", table),
            order=self._column("order", table),
            speaker=speaker,
            speakers=speakers,
        )
        if kind == "table":
            return Spoken(columns, table=self._text("table", table))
        collection = self._text("collection", table)
        if collection is None:
            raise self._wrong("transcripts.collection", "is missing", "name the collection")
        return Spoken(
            columns,
            collection=collection,
            url=self._mongo(table),
            password=self._secret("password", table),
        )

    def _mongo(self, table: Mapping[str, Any]) -> str:
        url = self._text("url", table) or ""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.path.strip("/"):
            raise self._wrong(
                "transcripts.url", "does not fit", "write mongodb://user@host/database"
            )
        if parts.password is not None:
            fix = "take it out, and name its setting as transcripts.password"
            raise self._wrong("transcripts.url", "holds a password", fix)
        return url
