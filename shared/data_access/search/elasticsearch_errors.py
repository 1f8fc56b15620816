"""Which kind of store error each error of Elasticsearch, or of its client, is.

By the type that an answer names, else by its HTTP status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import elastic_transport
import elasticsearch

from shared.data_access.errors import Kind, Translator
from shared.errors import StoreConflict, StoreError, StoreUnavailable

DRIVER_ERRORS: Final[tuple[type[BaseException], ...]] = (
    elastic_transport.TransportError,
    elastic_transport.ApiError,
)
_BY_TYPE: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "already_closed_exception": StoreUnavailable,  # a shard that moves
        "circuit_breaking_exception": StoreUnavailable,  # short of memory
        "cluster_block_exception": StoreUnavailable,  # a full disk blocks writing; a start, reading
        "coordination_state_rejected_exception": StoreUnavailable,
        "es_rejected_execution_exception": StoreUnavailable,
        "failed_to_commit_cluster_state_exception": StoreUnavailable,
        "illegal_index_shard_state_exception": StoreUnavailable,  # a shard that starts
        "index_closed_exception": StoreUnavailable,  # by the operator
        "index_primary_shard_not_allocated_exception": StoreUnavailable,
        "index_shard_closed_exception": StoreUnavailable,
        "index_shard_not_recovering_exception": StoreUnavailable,
        "index_shard_not_started_exception": StoreUnavailable,
        "i_o_exception": StoreUnavailable,
        "master_not_discovered_exception": StoreUnavailable,
        "no_node_available_exception": StoreUnavailable,
        "no_shard_available_action_exception": StoreUnavailable,
        "node_closed_exception": StoreUnavailable,
        "node_disconnected_exception": StoreUnavailable,
        "node_not_connected_exception": StoreUnavailable,
        "not_master_exception": StoreUnavailable,
        "primary_missing_action_exception": StoreUnavailable,
        "process_cluster_event_timeout_exception": StoreUnavailable,
        "receive_timeout_transport_exception": StoreUnavailable,
        "resource_already_exists_exception": StoreConflict,
        "retry_on_primary_exception": StoreUnavailable,
        "retry_on_replica_exception": StoreUnavailable,
        "security_exception": StoreUnavailable,  # our credentials: the operator's to repair
        "snapshot_in_progress_exception": StoreUnavailable,
        "status_exception": StoreError,
        "timeout_exception": StoreUnavailable,
        "translog_exception": StoreUnavailable,  # its disk
        "unavailable_shards_exception": StoreUnavailable,
        "version_conflict_engine_exception": StoreConflict,
    }
)
# What the shards of an index answer in its first moments, before they are started.
_STARTING: Final = frozenset(
    {"no_shard_available_action_exception", "search_phase_execution_exception"}
)
_PAUSES_S: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
_ANSWER = TypeVar("_ANSWER")
_BY_STATUS: Final[Mapping[int, Kind]] = MappingProxyType(
    {
        401: StoreUnavailable,  # our credentials: the operator's to repair
        403: StoreUnavailable,
        408: StoreUnavailable,
        409: StoreConflict,
        429: StoreUnavailable,
        502: StoreUnavailable,
        503: StoreUnavailable,
        504: StoreUnavailable,
        507: StoreUnavailable,
    }
)


def kind_of(status: int, error: str) -> Kind:
    """Of an answer, or of one item of a bulk request's."""
    return _BY_TYPE.get(error) or _BY_STATUS.get(status, StoreError)


def classify(error: BaseException) -> Kind:
    if isinstance(error, elastic_transport.SerializationError):
        return StoreError
    if isinstance(error, elastic_transport.TransportError):
        return StoreUnavailable
    if isinstance(error, elasticsearch.ApiError):
        return kind_of(error.meta.status, error.error)
    return StoreError


def describe(error: BaseException) -> str:
    """Status and type of an answer; its reason quotes documents."""
    if isinstance(error, elasticsearch.ApiError):
        return f"{error.meta.status} {error.error}"
    return str(error)


def is_answer(error: BaseException) -> bool:
    """Whether a running server said this; a proxy before it says 502, 503 or 504."""
    return isinstance(error, elasticsearch.ApiError) and error.meta.status < 502


async def once_started(ask: Callable[..., Awaitable[_ANSWER]], **request: Any) -> _ANSWER:
    """What `ask` answers; waits a second or so for the shards of an index that is just made."""
    for pause in _PAUSES_S:
        try:
            return await ask(**request)
        except elasticsearch.ApiError as error:
            if error.meta.status != 503 or error.error not in _STARTING:
                raise
        await asyncio.sleep(pause)
    return await ask(**request)


ELASTICSEARCH: Final = Translator(
    "search index", DRIVER_ERRORS, classify, describe=describe, system="elasticsearch"
)
