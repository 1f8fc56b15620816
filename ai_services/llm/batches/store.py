"""The queries of batches. Who looks after one holds it under a lease."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from ai_services.llm.batches.batch import Batch, Ended, Line, Status
from ai_services.llm.models.price import Price
from ai_services.llm.protocol.usage import Usage
from shared.data_access.ports import Row, Transaction

_COLUMNS: Final = """org_id, batch_id, input_file_id, endpoint, metadata, model, provider,
    upstream_model, price_version, price_input, price_output, price_cached, status, errors, total, completed, failed,
    output_file_id, error_file_id, upstream_id, upstream_file, created_at, expires_at, sending_at,
    in_progress_at, finalizing_at, cancelling_at, ended_at, looks"""


def _batch(row: Row) -> Batch:
    prices = ("price_input", "price_output", "price_cached")
    price = Price(row["price_version"], *(row[name] for name in prices))
    others = {name: value for name, value in row.items() if not name.startswith("price_")}
    return Batch(price=price, **others)


# Of a client.


async def insert(
    tx: Transaction, batch: Batch, lines: Sequence[Line], outgoing: bytes, placeholders: bytes
) -> None:
    """A batch that nobody was told of yet; contents are encrypted."""
    await tx.execute(
        """INSERT INTO llm_batch (org_id, batch_id, input_file_id, endpoint, metadata, model, provider,
               upstream_model, price_version, price_input, price_output, price_cached, status, total,
               created_at, expires_at, outgoing, placeholders)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)""",
        batch.org_id, batch.batch_id, batch.input_file_id, batch.endpoint, batch.metadata,
        batch.model, batch.provider, batch.upstream_model, batch.price.version, batch.price.input, batch.price.output,
        batch.price.cached, batch.status, batch.total, batch.created_at, batch.expires_at, outgoing,
        placeholders,
    )  # fmt: skip
    await tx.execute(
        """INSERT INTO llm_batch_line (org_id, batch_id, attempt_id, custom_id, worst_input,
               worst_output, input_estimate)
           SELECT $1, $2, * FROM unnest($3::uuid[], $4::text[], $5::bigint[], $6::bigint[],
                                        $7::bigint[])""",
        batch.org_id, batch.batch_id,
        [line.attempt_id for line in lines],
        [line.custom_id for line in lines],
        [line.worst.input for line in lines],
        [line.worst.output for line in lines],
        [line.input_estimate for line in lines],
    )  # fmt: skip


async def read(tx: Transaction, org_id: UUID, batch_id: UUID) -> Batch | None:
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM llm_batch WHERE org_id = $1 AND batch_id = $2",  # noqa: S608 - constants only
        org_id, batch_id,
    )  # fmt: skip
    return None if row is None else _batch(row)


async def count_open(tx: Transaction, org_id: UUID) -> int:
    return int(
        await tx.fetchval(
            "SELECT count(*) FROM llm_batch WHERE org_id = $1 AND ended_at IS NULL", org_id
        )
    )


async def cancel(tx: Transaction, org_id: UUID, batch_id: UUID) -> None:
    """Note that it is to end, and look after it at once; one that has ended stays as it is."""
    await tx.execute(
        """UPDATE llm_batch SET cancelling_at = coalesce(cancelling_at, now()), status = 'cancelling',
               next_look_at = now(), looks = 0
           WHERE org_id = $1 AND batch_id = $2 AND ended_at IS NULL AND cancelling_at IS NULL""",
        org_id, batch_id,
    )  # fmt: skip


# Of who looks after them.


async def due(tx: Transaction, at_most: int) -> list[tuple[UUID, UUID]]:
    """(org_id, batch_id) of those that somebody should look after; needs a system transaction."""
    rows = await tx.fetch(
        """SELECT org_id, batch_id FROM llm_batch
           WHERE ended_at IS NULL AND next_look_at <= clock_timestamp()
             AND held_until <= clock_timestamp()
           ORDER BY next_look_at LIMIT $1""",
        at_most,
    )
    return [(row["org_id"], row["batch_id"]) for row in rows]


async def seconds_until_due(tx: Transaction) -> float:
    """Until somebody should look after a batch again; needs a system transaction."""
    seconds = await tx.fetchval(
        """SELECT extract(epoch FROM min(greatest(next_look_at, held_until)) - clock_timestamp())
           FROM llm_batch WHERE ended_at IS NULL"""
    )
    return math.inf if seconds is None else max(0.0, float(seconds))


async def claim(tx: Transaction, org_id: UUID, batch_id: UUID, lease_s: float) -> Batch | None:
    """None: somebody else has it."""
    row = await tx.fetchrow(
        f"""UPDATE llm_batch SET held_until = clock_timestamp() + $3 * interval '1 second'
            WHERE org_id = $1 AND batch_id = $2 AND ended_at IS NULL
              AND next_look_at <= clock_timestamp() AND held_until <= clock_timestamp()
            RETURNING {_COLUMNS}""",  # noqa: S608 - constants only
        org_id, batch_id, lease_s,
    )  # fmt: skip
    return None if row is None else _batch(row)


async def look_later(tx: Transaction, batch: Batch, after_s: float) -> None:
    """Let go of what was claimed; it is next at once if its client has cancelled it meanwhile."""
    await tx.execute(
        """UPDATE llm_batch SET looks = looks + 1, held_until = clock_timestamp(),
               next_look_at = CASE WHEN cancelling_at IS NOT NULL AND NOT $4 THEN clock_timestamp()
                              ELSE clock_timestamp() + $3 * interval '1 second' END
           WHERE org_id = $1 AND batch_id = $2 AND ended_at IS NULL""",
        batch.org_id, batch.batch_id, after_s, batch.cancelling_at is not None,
    )  # fmt: skip


async def begin_sending(tx: Transaction, org_id: UUID, batch_id: UUID) -> bool:
    """From now on the provider may know of it; False if its client has cancelled it before."""
    begun = await tx.execute(
        """UPDATE llm_batch SET sending_at = coalesce(sending_at, now())
           WHERE org_id = $1 AND batch_id = $2 AND cancelling_at IS NULL AND ended_at IS NULL""",
        org_id, batch_id,
    )  # fmt: skip
    return begun == 1


async def outgoing(tx: Transaction, org_id: UUID, batch_id: UUID) -> bytes | None:
    content: bytes | None = await tx.fetchval(
        "SELECT outgoing FROM llm_batch WHERE org_id = $1 AND batch_id = $2", org_id, batch_id
    )
    return content


async def placeholders(tx: Transaction, org_id: UUID, batch_id: UUID) -> bytes | None:
    content: bytes | None = await tx.fetchval(
        "SELECT placeholders FROM llm_batch WHERE org_id = $1 AND batch_id = $2", org_id, batch_id
    )
    return content


async def sent(
    tx: Transaction, org_id: UUID, batch_id: UUID, upstream_id: str, upstream_file: str | None
) -> None:
    """It is at the provider, and what was sent needn't be kept."""
    await tx.execute(
        """UPDATE llm_batch SET upstream_id = $3, upstream_file = $4, outgoing = NULL, looks = 0
           WHERE org_id = $1 AND batch_id = $2""",
        org_id, batch_id, upstream_id, upstream_file,
    )  # fmt: skip


async def progressed(
    tx: Transaction, org_id: UUID, batch_id: UUID, status: Status, completed: int, failed: int
) -> None:
    """How far the provider is; one that is to end stays `cancelling`."""
    await tx.execute(
        """UPDATE llm_batch SET completed = $4, failed = $5,
               status = CASE WHEN cancelling_at IS NULL THEN $3::text ELSE status END,
               in_progress_at = CASE WHEN $3 <> 'validating' THEN coalesce(in_progress_at, now()) END,
               finalizing_at = CASE WHEN $3 = 'finalizing' THEN coalesce(finalizing_at, now()) END
           WHERE org_id = $1 AND batch_id = $2 AND ended_at IS NULL""",
        org_id, batch_id, status, completed, failed,
    )  # fmt: skip


async def lines(tx: Transaction, org_id: UUID, batch_id: UUID) -> list[Line]:
    rows = await tx.fetch(
        """SELECT attempt_id, custom_id, worst_input, worst_output, input_estimate
           FROM llm_batch_line WHERE org_id = $1 AND batch_id = $2""",
        org_id, batch_id,
    )  # fmt: skip
    return [
        Line(
            row["attempt_id"],
            row["custom_id"],
            Usage(row["worst_input"], row["worst_output"]),
            row["input_estimate"],
        )
        for row in rows
    ]


async def end(
    tx: Transaction,
    org_id: UUID,
    batch_id: UUID,
    status: Ended,
    *,
    completed: int = 0,
    failed: int = 0,
    output_file_id: UUID | None = None,
    error_file_id: UUID | None = None,
    errors: Sequence[Mapping[str, Any]] | None = None,
) -> bool:
    """False if it has ended before."""
    ended = await tx.execute(
        """UPDATE llm_batch SET status = $3, completed = $4, failed = $5, output_file_id = $6,
               error_file_id = $7, errors = $8, ended_at = now(), outgoing = NULL, placeholders = NULL
           WHERE org_id = $1 AND batch_id = $2 AND ended_at IS NULL""",
        org_id, batch_id, status, completed, failed, output_file_id, error_file_id,
        None if errors is None else list(errors),
    )  # fmt: skip
    if ended:
        await tx.execute(
            "DELETE FROM llm_batch_line WHERE org_id = $1 AND batch_id = $2", org_id, batch_id
        )
    return ended == 1
