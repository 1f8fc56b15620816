"""From a source's settings to what reads it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ai_services.enrichment.sources.databases.database import Database
from ai_services.enrichment.sources.databases.mysql import MySql
from ai_services.enrichment.sources.databases.postgresql import PostgreSql
from ai_services.enrichment.sources.settings import Address, SourceSettings
from ai_services.enrichment.sources.transcripts.lookup import (
    NoTranscripts,
    TableTranscripts,
    Transcripts,
)
from ai_services.enrichment.sources.transcripts.mongo import mongo_transcripts
from shared.errors import ConfigError


def open_database(settings: SourceSettings) -> Database:
    """Opens no connection yet. ConfigError for a certificate that can't be read."""
    at = settings.address
    assert at is not None, "a source that is read has an address"
    if settings.kind == "mysql":
        return MySql(
            settings.name, at.host, at.port, at.user, at.database, at.password or "",
            settings.timeout_s, _tls(settings.name, at),
        )  # fmt: skip
    return PostgreSql(
        settings.name, at.host, at.port, at.user, at.database, at.password,
        settings.timeout_s, _tls(settings.name, at),
    )  # fmt: skip


@asynccontextmanager
async def open_transcripts(settings: SourceSettings) -> AsyncIterator[Transcripts]:
    spoken = settings.spoken
    if spoken is None:
        yield NoTranscripts()
    elif spoken.url is None or spoken.collection is None:
        yield TableTranscripts(spoken.columns)
    else:
        async with mongo_transcripts(
            settings.name, spoken.url, spoken.password, spoken.collection, spoken.columns,
            settings.timeout_s,
        ) as found:  # fmt: skip
            yield found


def _tls(name: str, at: Address) -> ssl.SSLContext | None:
    if at.tls == "off":
        return None
    try:
        context = ssl.create_default_context(cafile=at.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"SOURCES: [{name}] ca {at.ca}: it can't be read ({error}).") from error
    if at.tls == "require":  # against who listens in, not against who stands in between
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
