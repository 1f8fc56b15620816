"""Exports of PBXes, diallers and contact centres come in as the calls that they tell of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from ai_services.enrichment.importing import import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import DIALLERS, load_preset
from ai_services.enrichment.reading.presets.party import (
    extension,
    milliseconds,
    number,
    peer,
    seconds,
)
from ai_services.enrichment.reading.read_file import Batch, read_calls
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.calls_files import NOW
from tests.ai_services.enrichment.reading.presets.samples import SAMPLES
from tests.ai_services.enrichment.test_importing import KEY, organisation, rows


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(database_url, pool_size=2)
    yield postgres
    await postgres.close()


def test_every_dialler_has_a_sample() -> None:
    assert set(SAMPLES) == set(DIALLERS)


@pytest.mark.parametrize("preset", DIALLERS)
async def test_a_sample_comes_in_as_its_calls(db: Postgres, tmp_path: Path, preset: str) -> None:
    sample = SAMPLES[preset]
    path = tmp_path / sample.name
    path.write_text(sample.text, encoding="utf-8")
    org_id = await organisation(db)
    seen: list[Batch] = []
    await import_batches(
        db,
        org_id,
        PhoneCipher(KEY, org_id),
        read_calls(path, load_preset(preset), now=NOW),
        source=sample.name,
        preset=preset,
        on_progress=lambda _counts, batch: seen.append(batch),
    )
    [batch] = seen
    assert tuple(reject.line for reject in batch.rejects) == sample.rejected, batch.rejects
    assert not [note for note in batch.warnings if "nknown column" in note]
    stored = {row["callid"]: row for row in await rows(db, org_id)}
    assert set(stored) == set(sample.calls)
    for callid, said in sample.calls.items():
        expected = {**said, "started_at": datetime.fromisoformat(said["started_at"])}
        found = {name: stored[callid][name] for name in expected}
        assert found == expected
        silent = {"task_id", "hangup_by"} - set(expected)
        assert {name: stored[callid][name] for name in silent} == dict.fromkeys(silent)


@pytest.mark.parametrize(
    ("channel", "found"),
    [
        ("PJSIP/602-0000a1", "602"),
        ("SIP/2001-00000d3f", "2001"),
        ("Local/602@from-queue-00000001;1", "602"),
        ("PJSIP/trunk-0000a2", None),
        ("IAX2/13800001111-5", None),
        ("", None),
    ],
)
def test_the_extension_of_a_channel(channel: str, found: str | None) -> None:
    assert peer(channel) == found


def test_ends_of_a_line() -> None:
    assert extension('"Desk A" <2001>') == "2001"
    assert extension("Ext.10013") == "10013"
    assert extension("13812348000") is None
    assert number("+86 138-1234 8000") == "+8613812348000"
    assert number("sip:+15105550100@example.com") == "+15105550100"
    assert number("anonymous") is None
    assert number("1001") is None


def test_lengths() -> None:
    assert seconds("01:00:05") == 3605
    assert milliseconds("00:01:05.123") == 65_123
    assert milliseconds("65") == 65_000
    assert milliseconds("") is None
    assert milliseconds("a while") == "a while"
    assert milliseconds("-5") == "-5"
