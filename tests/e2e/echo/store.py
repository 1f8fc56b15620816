from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from shared.data_access.ports import Relational


async def say(db: Relational, org_id: UUID, word: str) -> None:
    async with db.tenant(org_id) as tx:
        await tx.execute("INSERT INTO echo_said VALUES ($1, $2)", org_id, word)
        await tx.emit(org_id, "echoes", word, {"word": word})


async def hear(db: Relational, org_id: UUID, words: Sequence[str]) -> None:
    async with db.tenant(org_id) as tx:
        await tx.execute(
            """INSERT INTO echo_heard AS h SELECT $1, word, 1 FROM unnest($2::text[]) AS word
               ON CONFLICT (org_id, word) DO UPDATE SET times = h.times + 1""",
            org_id,
            list(words),
        )


async def hear_again(db: Relational, org_id: UUID) -> int:
    async with db.tenant(org_id) as tx:
        await tx.execute("DELETE FROM echo_heard WHERE org_id = $1", org_id)
        words = [row["word"] for row in await tx.fetch("SELECT word FROM echo_said")]
    await hear(db, org_id, words)
    return len(words)


async def times(db: Relational, org_id: UUID, word: str) -> int:
    async with db.tenant(org_id, readonly=True) as tx:
        heard = await tx.fetchval("SELECT times FROM echo_heard WHERE word = $1", word)
    return heard or 0
