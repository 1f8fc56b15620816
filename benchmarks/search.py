"""Search and listing at a million calls, beside plain ranking by relevance and Elasticsearch.

Every kind of query is asked of each system in the same run, in turns: of ours through the search
port (newest first, pages of 20 with highlights), of PostgreSQL the customary way (a GIN index over
the same terms with positions, ORDER BY ts_rank, LIMIT 20) and, if TEST_ELASTICSEARCH_URL is set, of
Elasticsearch through its own adapter. The first 20,000 transcripts come in through the port, for the
rate; the rest as a restored dump would. Keys: <system>_<kind>_p50_ms and _p99_ms; list_1000 is a page
of 1,000 calls of the user with the most, as the service answers it; index_per_s are transcripts
indexed a second; index_mb and plain_index_mb the sizes of the two indexes over terms.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from ai_services.enrichment.importing import import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.projections import COLLECTION, transcript_text
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import read_calls
from ai_services.enrichment.schemas import CallPage
from ai_services.enrichment.service import CallFound, calls_of_user
from benchmarks.ingest import KEY, fresh_organisation, generated
from looma_cli.work.demo.generate import generate_calls
from shared.cursor import Page
from shared.data_access.access import StoreUrls, UnifiedDataAccess, open_data_access
from shared.data_access.ports import Document, Search
from shared.data_access.search.query import microseconds
from shared.data_access.search.terms import Word, terms, words
from shared.data_access.search.vector import Place
from shared.embedded.stores import EmbeddedStores
from shared.serving.process import collect_seldom

SEED: Final = 7
_LOAD: Final = 20_000  # documents between two lines of progress
_DEEP: Final = 50  # pages before a deep one

# Every kind asks several queries, so that no figure hangs on one word.
KINDS: Final[Mapping[str, Sequence[str]]] = {
    "common": ("您好", "谢谢", "投诉", "退款", "hello", "thank you"),
    "rare": ("12315", "cancellation fee", "工信部", "起诉"),
    "absent": ("量子计算", "zebra", "麒麟"),
    "conjunction": ("投诉 谢谢", "退款 您好", "谢谢 再见 我是", "please call thank"),
    "disjoint": ("您好 hello", "投诉 the", "谢谢 thank", "我是 please"),
    "phrase": ("我要投诉你们", "谢谢您的", "请问有什么可以帮您", "you very much"),
    "character": ("我", "投", "谢", "诉", "龘"),
}

_PLAIN: Final = """
CREATE TABLE plain_document (org_id uuid, collection text, id text COLLATE "C", text text,
                             fields jsonb, at bigint, terms tsvector)
"""
_PLAIN_SEARCH: Final = """
SELECT id, text, fields, ts_rank(terms, $1::text::tsquery, 1) AS score FROM plain_document
WHERE terms @@ $1::text::tsquery AND fields @> $2
ORDER BY score DESC, at DESC, id LIMIT 20
"""
_SIZE: Final = "SELECT pg_relation_size($1::text::regclass) / 1048576.0"

Ask = Callable[[str, Mapping[str, str]], Awaitable[Any]]


@dataclass(slots=True)
class Timings:
    """Milliseconds by (system, kind)."""

    of: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    async def take(self, system: str, kind: str, call: Awaitable[Any]) -> Any:
        started = time.perf_counter()
        answer = await call
        taken = (time.perf_counter() - started) * 1000
        self.of.setdefault((system, kind), []).append(taken)
        return answer

    def figures(self) -> dict[str, float]:
        found = {}
        for (system, kind), times in self.of.items():
            found[f"{system}_{kind}_p50_ms"] = round(statistics.median(times), 2)
            found[f"{system}_{kind}_p99_ms"] = round(sorted(times)[int(len(times) * 0.99)], 2)
        return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def documents(path: Path) -> Iterator[Document]:
    """The transcripts of a generated file, as the projection would index them."""
    with path.open("rb") as file:
        for line in file:
            call = orjson.loads(line)
            if call["turns"]:
                fields = {"user_id": call["user_id"], "customer_id": call["customer_id"]}
                text = transcript_text(call["turns"])
                yield Document(call["callid"], text, fields, call["started_at"])


def batches(path: Path) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents(path):
        batch.append(document)
        if len(batch) == _LOAD:
            yield batch
            batch = []
    if batch:
        yield batch


async def load(name: str, search: Search, org_id: UUID, path: Path, most: int) -> float:
    """Index the first `most` transcripts through the port; documents a second."""
    done, seconds = 0, 0.0
    for batch in batches(path):
        started = time.perf_counter()
        await search.index(org_id, COLLECTION, batch)
        seconds += time.perf_counter() - started
        done += len(batch)
        say(f"  {name}: {done:,} transcripts, {done / seconds:,.0f}/s")
        if done >= most:
            break
    await search.refresh()
    return done / seconds


async def load_rest(connection: asyncpg.Connection, org_id: UUID, path: Path) -> None:
    """What `load` left, as a restored dump comes in: rows first, indexed in bulk."""
    index = await connection.fetchval("SELECT pg_get_indexdef('search_document_terms'::regclass)")
    await connection.execute("DROP INDEX search_document_terms")
    await connection.execute("ALTER TABLE search_document NO FORCE ROW LEVEL SECURITY")
    say("  ours: loading the rest")
    place = Place(org_id, COLLECTION)
    rest = _rows(org_id, path, lambda d, at: place.vector(d.text, d.fields, at), _LOAD)
    await connection.copy_to_table("search_document", source=rest)
    await connection.execute("ALTER TABLE search_document FORCE ROW LEVEL SECURITY")
    say("  ours: indexing")
    await connection.execute(index)
    await connection.execute("VACUUM ANALYZE search_document")


async def load_plain(connection: asyncpg.Connection, org_id: UUID, path: Path) -> None:
    """The rival's table, loaded and indexed in bulk."""
    await connection.execute(_PLAIN)
    say("  plain ranking: loading")
    rows = _rows(org_id, path, lambda document, _: _with_positions(document.text), 0)
    await connection.copy_to_table("plain_document", source=rows)
    say("  plain ranking: indexing")
    await connection.execute("CREATE INDEX plain_terms ON plain_document USING gin (terms)")
    await connection.execute("VACUUM ANALYZE plain_document")


async def _rows(
    org_id: UUID, path: Path, vector: Callable[[Document, int], str], skipped: int
) -> AsyncIterator[bytes]:
    """Blocks for COPY of all documents but the first ones."""
    for number, batch in enumerate(batches(path)):
        if number * _LOAD >= skipped:
            yield await asyncio.to_thread(_block, org_id, batch, vector)


def _block(
    org_id: UUID, batch: Sequence[Document], vector: Callable[[Document, int], str]
) -> bytes:
    rows = []
    for document in batch:
        at = microseconds(document.at)
        fields = orjson.dumps(dict(document.fields)).decode()
        columns = (str(org_id), COLLECTION, document.id, document.text, fields, str(at),
                   vector(document, at))  # fmt: skip
        rows.append("\t".join(map(_escaped, columns)) + "\n")
    return "".join(rows).encode()


def _with_positions(text: str) -> str:
    places: dict[str, list[str]] = {}
    for place, term in enumerate(terms(text), 1):
        places.setdefault(term, []).append(str(min(place, 16383)))
    return " ".join(f"{_quoted(term)}:{','.join(at[:255])}" for term, at in places.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _quoted(term: str) -> str:
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _plain_query(wanted: Sequence[Word]) -> str:
    parts = [_quoted(term) for word in wanted for term in word.terms]
    parts += [f"{_quoted(word.prefix)}:*" for word in wanted if word.prefix is not None]
    return " & ".join(parts)


async def measure(
    timings: Timings, systems: Mapping[str, Ask], filters: Mapping[str, str], rounds: int
) -> None:
    """Every query, plain and filtered by a user, of each system in turns."""
    for kind, queries in KINDS.items():
        for number in range(rounds):
            for query in queries:
                for system, ask in systems.items():
                    # The rival takes half a second for some: enough is known after a few.
                    if system != "plain" or number < 3:
                        await timings.take(system, kind, ask(query, {}))
                        await timings.take(system, f"{kind}_of_user", ask(query, filters))
        say(f"  {kind}: measured")


async def measure_deep(
    timings: Timings, name: str, search: Search, org_id: UUID, rounds: int
) -> None:
    """The pages that follow on the first `_DEEP` ones, and pages in the midst of all."""
    for query in ("您好", "谢谢", "投诉", "我", "投诉 谢谢"):
        cursor = None
        for number in range(_DEEP + rounds):
            asked = search.search(org_id, COLLECTION, query, cursor=cursor)
            page = await (timings.take(name, "deep", asked) if number >= _DEEP else asked)
            cursor = page.next_cursor
            if cursor is None:
                break


async def measure_listing(
    timings: Timings, data: UnifiedDataAccess, org_id: UUID, user_id: str, rounds: int
) -> None:
    cursor = None
    for _ in range(rounds):
        asked = calls_of_user(
            data.relational, org_id, user_id, since=None, until=None, cursor=cursor, limit=1000
        )
        page = await timings.take("ours", "list_1000", _serialised(asked))
        cursor = page.next_cursor


async def _serialised(asked: Awaitable[Page[CallFound]]) -> CallPage:
    page = CallPage.of(await asked)
    page.model_dump_json()
    return page


async def _largest_user(data: UnifiedDataAccess, org_id: UUID) -> str:
    async with data.relational.tenant(org_id, readonly=True) as tx:
        user_id: str = await tx.fetchval(
            """SELECT user_id FROM call_record_enriched WHERE org_id = $1
               GROUP BY user_id ORDER BY count(*) DESC LIMIT 1""",
            org_id,
        )
    return user_id


async def import_calls(data: UnifiedDataAccess, path: Path) -> UUID:
    """The records themselves; their transcripts go into the search index only."""
    org_id = await fresh_organisation(data)
    calls = read_calls(path, load_preset("calls"))
    cipher = PhoneCipher(KEY, org_id)
    say("  importing the records")
    await import_batches(data.relational, org_id, cipher, calls, source=path.name, preset="calls")
    return org_id


def _spoken(folder: Path, calls: int) -> Path:
    path = folder / "spoken.jsonl"
    with path.open("wb") as file:
        for block in generate_calls(calls, SEED):
            file.write(block)
    return path


async def compared(folder: Path, calls: int, rounds: int) -> dict[str, float]:
    stores = EmbeddedStores(folder / "stores", which=frozenset({"postgres"}))
    endpoints = await stores.start()
    urls = StoreUrls(endpoints.database_url, endpoints.graph_url, None, None, endpoints.redis_url)
    say(f"  generating {calls:,} calls")
    spoken, plain = _spoken(folder, calls), generated(folder, calls, 0.0)
    try:
        async with AsyncExitStack() as stack:
            data = await stack.enter_async_context(
                open_data_access(urls, ports={"relational", "search"}, pool_size=4)
            )
            connection = await asyncpg.connect(endpoints.database_url)
            stack.push_async_callback(connection.close)
            org_id = await import_calls(data, plain)
            return await _figures(data, connection, org_id, spoken, rounds, stack)
    finally:
        await stores.stop()


async def _figures(
    data: UnifiedDataAccess,
    connection: asyncpg.Connection,
    org_id: UUID,
    spoken: Path,
    rounds: int,
    stack: AsyncExitStack,
) -> dict[str, float]:
    timings, found = Timings(), {}
    found["index_per_s"] = round(await load("ours", data.search, org_id, spoken, _LOAD))
    await load_rest(connection, org_id, spoken)
    found["index_mb"] = round(await connection.fetchval(_SIZE, "search_document_terms"))
    await load_plain(connection, org_id, spoken)
    found["plain_index_mb"] = round(await connection.fetchval(_SIZE, "plain_terms"))
    searches: dict[str, Search] = {"ours": data.search}
    if url := os.environ.get("TEST_ELASTICSEARCH_URL"):
        from shared.data_access.search.elasticsearch import ElasticsearchSearch

        searches["elasticsearch"] = elastic = ElasticsearchSearch(url)
        stack.push_async_callback(elastic.close)
        found["elasticsearch_index_per_s"] = round(
            await load("elasticsearch", elastic, org_id, spoken, sys.maxsize)
        )
        stack.push_async_callback(elastic.clear, org_id, COLLECTION)
    user_id = await _largest_user(data, org_id)
    systems = {name: _asked(search, org_id) for name, search in searches.items()}
    collect_seldom()  # as every process that serves does
    await measure(
        timings, systems | {"plain": _asked_plainly(connection)}, {"user_id": user_id}, rounds
    )
    for name, search in searches.items():
        await measure_deep(timings, name, search, org_id, rounds)
    await measure_listing(timings, data, org_id, user_id, 5 * rounds)
    return found | timings.figures()


def _asked(search: Search, org_id: UUID) -> Ask:
    return lambda query, filters: search.search(org_id, COLLECTION, query, filters=filters)


def _asked_plainly(connection: asyncpg.Connection) -> Ask:
    return lambda query, filters: connection.fetch(
        _PLAIN_SEARCH, _plain_query(words(query)), orjson.dumps(dict(filters)).decode()
    )


def run(*, quick: bool) -> dict[str, Any]:
    calls, rounds = (100_000, 10) if quick else (1_000_000, 40)
    with tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        return {"calls": calls, **asyncio.run(compared(folder, calls, rounds))}
