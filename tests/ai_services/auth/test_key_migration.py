"""What the migration that gave API keys their owners makes of those that were there before."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from shared.audit import trail
from shared.data_access.relational.migrate import migrate, owners, read_migrations
from shared.data_access.relational.postgres import Postgres


async def test_keys_from_before_get_their_makers_as_owners(
    empty_database_url: str, tmp_path
) -> None:
    before = [replace(o, folder=tmp_path) if o.name == "auth" else o for o in owners()]
    [identity, *_] = [one for one in read_migrations() if one.owner == "auth"]
    (tmp_path / "0001_identity.sql").write_text(identity.sql)
    connection = await asyncpg.connect(empty_database_url)
    db = Postgres(empty_database_url)
    try:
        await migrate(connection, of=before)
        org, quiet = [
            await connection.fetchval(
                "INSERT INTO organisation (slug, name) VALUES ($1, 'A') RETURNING org_id", slug
            )
            for slug in ("a", "b")
        ]
        makers = {
            name: await connection.fetchval(
                """INSERT INTO app_user (org_id, email, role, password_hash, disabled)
                   VALUES ($1, $2 || '@a.test', 'admin', '', $3) RETURNING user_id""",
                org, name, name == "disabled",
            )
            for name in ("there", "disabled")
        } | {"gone": uuid4(), "token": uuid4(), "unknown": uuid4(), "nobody": None}  # fmt: skip
        # By hand: a Postgres would bring the tables up to date first.
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        for action, name in (("user.deleted", "gone"), ("token.minted", "token")):
            async with connection.transaction():
                await trail.record(
                    connection, org, at=datetime.now(UTC), actor="service:looma", action=action,
                    target=f"user:{makers[name]}", details={"name": "织"},
                )  # fmt: skip
        keys = {
            name: await connection.fetchval(
                """INSERT INTO api_key (org_id, name, role, secret_hash, prefix, created_by)
                   VALUES ($1, $2, $3, $4, '', $5) RETURNING 'key:' || key_id""",
                org, name, "service" if name == "unknown" else "admin", name.encode(), maker,
            )
            for name, maker in makers.items()
        }  # fmt: skip
        for org_id, name in ((org, "child"), (quiet, "quiet")):
            keys[name] = await connection.fetchval(
                """INSERT INTO api_key (org_id, name, role, secret_hash, prefix)
                   VALUES ($1, $2, 'agent', $3, '') RETURNING 'key:' || key_id""",
                org_id, name, name.encode(),
            )  # fmt: skip
        async with connection.transaction():
            await trail.record(
                connection, org, at=datetime.now(UTC), actor=keys["there"], action="key.created",
                target=keys["child"],
            )  # fmt: skip
        await migrate(connection)
        rows = await connection.fetch(
            "SELECT name, role, owner_id, revoked_at FROM api_key WHERE org_id = $1", org
        )
        assert {
            row["name"]: (row["role"], row["owner_id"], row["revoked_at"] is None) for row in rows
        } == {
            "there": ("admin", makers["there"], True),
            "disabled": ("admin", makers["disabled"], False),
            "gone": ("admin", makers["gone"], False),
            # An operator's token had nobody behind it who could have gone.
            "token": ("analyst", None, True),
            "unknown": ("service", None, True),
            "nobody": ("analyst", None, True),
            "child": ("agent", None, True),
        }
        rows = await connection.fetch(
            """SELECT 'key:' || key_id AS made, 'key:' || made_by_key AS maker FROM api_key
               WHERE made_by_key IS NOT NULL"""
        )
        assert [(row["made"], row["maker"]) for row in rows] == [(keys["child"], keys["there"])]
        changed = {keys[name] for name in ("disabled", "gone", "token", "nobody")}
        rows = await connection.fetch("SELECT subject FROM revocation")
        assert {row["subject"] for row in rows} == changed
        [entry, *_] = (await trail.list_entries(db, org, limit=9, cursor=None)).items
        assert (entry.seq, entry.actor, entry.action) == (4, "migration:0008", "keys.owners_set")
        assert {what: set(named) for what, named in entry.details.items()} == {
            "keys_ended": {keys["disabled"], keys["gone"]},
            "keys_given_to_organisation": {keys["token"], keys["unknown"]},
            "keys_lowered": {keys["token"], keys["nobody"]},
        }
        intact = await trail.verify(db, org)
        assert (intact.broken, intact.head.seq) == (None, 4)
        assert (await trail.verify(db, quiet)).head.seq == 0  # nothing happened to its keys
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE api_key SET owner_id = NULL")
    finally:
        await db.close()
        await connection.close()
