"""What was said, from a collection of MongoDB: a document for each turn, or one for each call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from ai_services.enrichment.sources.databases.database import Connection
from ai_services.enrichment.sources.routing import Shard
from ai_services.enrichment.sources.transcripts.spoken import SpokenColumns, turns_of
from shared.errors import UpstreamError, UpstreamUnavailable

_AT_ONCE: Final = 1_000  # keys in one query
_PATIENCE_MS: Final = 10_000
_DENIED: Final = frozenset({13, 18, 8000})  # Unauthorized, AuthenticationFailed, Atlas's


class MongoTranscripts:
    """A Transcripts: found by callid, a page at a time, in the order in which they were stored."""

    def __init__(self, name: str, client: AsyncMongoClient[Any], database: str, collection: str,
                 how: SpokenColumns, timeout_s: float) -> None:  # fmt: skip
        self._name = name
        self._collection = client[database][collection]
        self._how = how
        self._timeout_ms = int(timeout_s * 1000)

    async def of(
        self, connection: Connection, shard: Shard, callids: Sequence[str]
    ) -> Mapping[str, str]:
        del connection, shard
        how = self._how
        fields = dict.fromkeys(how.names, 1) | {"_id": 0}
        found: defaultdict[str, list[list[str | None]]] = defaultdict(list)
        try:
            for start in range(0, len(callids), _AT_ONCE):
                wanted = {how.key: {"$in": list(callids[start : start + _AT_ONCE])}}
                cursor = self._collection.find(wanted, fields, max_time_ms=self._timeout_ms)
                async for document in cursor.sort([(how.key, 1), (how.order or "_id", 1)]):
                    row = [_text(document.get(name)) for name in how.names]
                    found[str(row[0])].append(row[1:])
        except PyMongoError as error:
            raise _told(self._name, error) from error
        turns = {callid: turns_of(rows, how) for callid, rows in found.items()}
        return {callid: one for callid, one in turns.items() if one is not None}


@asynccontextmanager
async def mongo_transcripts(
    name: str,
    url: str,
    password: str | None,
    collection: str,
    how: SpokenColumns,
    timeout_s: float,
) -> AsyncIterator[MongoTranscripts]:
    """`url` ends with the database. It only ever reads: give its user the role `read`."""
    database = urlsplit(url).path.strip("/")
    own: dict[str, Any] = {} if password is None else {"password": password}
    try:
        client: AsyncMongoClient[Any] = AsyncMongoClient(
            url, serverSelectionTimeoutMS=_PATIENCE_MS, connectTimeoutMS=_PATIENCE_MS,
            socketTimeoutMS=int(timeout_s * 1000), appname="looma", **own,
        )  # fmt: skip
    except (ConfigurationError, ValueError) as error:
        raise UpstreamError(f"Source {name}: transcripts.url does not fit ({error}).") from None
    try:
        yield MongoTranscripts(name, client, database, collection, how, timeout_s)
    finally:
        await client.close()


def _text(value: object) -> str | None:
    """As a column would hold it; a list of turns as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=str).decode()
    return str(value)


def _told(name: str, error: PyMongoError) -> UpstreamError:
    where = f"Source {name}: MongoDB"
    if isinstance(error, OperationFailure) and error.code in _DENIED:
        return UpstreamError(
            f"{where} refuses this user or password: check `transcripts.url`, and the secret that "
            "`transcripts.password` names."
        )
    words = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    if isinstance(error, OperationFailure) and error.code != 50:  # 50: MaxTimeMSExpired
        return UpstreamError(f"{where} refused ({error.code}: {words}).")
    return UpstreamUnavailable(f"{where} is away ({words}).")
