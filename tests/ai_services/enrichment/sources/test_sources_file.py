"""The sources file: what is wrong is named, and no secret stands in it or comes out of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.sources.sources_file import parse_sources, read_sources
from shared.errors import ConfigError

SECRETS = {"DIALLER": "hunter2", "HOOK": "whsec_" + "A" * 44}
DIALLER = """
[dialler]
organisation = "acme"
kind = "autodialer"
url = "mysql://looma@db.example.com/outbound_saas"
password = "DIALLER"
"""


def only(text: str) -> SourceSettings:
    (found,) = parse_sources(text, SECRETS).values()
    return found


def test_a_dialler_needs_four_lines() -> None:
    found = only(DIALLER)
    assert found.address is not None
    assert (found.address.host, found.address.port, found.address.user) == (
        "db.example.com",
        3306,
        "looma",
    )
    assert (found.address.password, found.address.tls) == ("hunter2", "verify")
    assert found.layout.calls.template == "autodialer_call_record_{YYYY_MM}"
    assert found.layout.details is not None
    assert (found.time, found.preset.name, found.since) == ("calldate", "autodialer", None)


def test_secrets_are_in_no_repr() -> None:
    text = DIALLER + '[hook]\norganisation = "acme"\nkind = "push"\nsecret = "HOOK"\n'
    shown = repr(parse_sources(text, SECRETS))
    assert "hunter2" not in shown
    assert SECRETS["HOOK"] not in shown


def test_everything_can_be_said() -> None:
    found = only("""
[pbx]
organisation = "acme"
kind = "postgresql"
url = "postgresql://looma@pbx:5433/asterisk"
tls = "require"
table = "public.cdr"
key = "uniqueid"
time = "calldate"
changed = "updated_at"
deleted = "gone"
preset = "calls"
timezone = "Europe/Berlin"
since = 2024-01-01
history_months = 0
overlap_hours = 48
concurrency = 4
page_rows = 1000
timeout_s = 5
transcripts = { kind = "mongodb", url = "mongodb://looma@mongo/calls", password = "DIALLER", collection = "turns", role = "who" }
""")
    assert (found.since, found.changed, found.deleted) == (date(2024, 1, 1), "updated_at", "gone")
    assert found.spoken is not None
    assert (found.spoken.collection, found.spoken.password) == ("turns", "hunter2")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('organisatoin = "acme"', "did you mean organisation?"),
        ('password = "hunter2"', "secrets don't stand in this file"),
        ('password = "MISSING"', "SOURCE_SECRET_MISSING"),
        ('url = "mysql://looma:hunter2@db/x"', "holds a password"),
        ('url = "postgresql://looma@db/x"', "write it like mysql://"),
        ('url = "mysql://looma@db"', "write it like mysql://"),
        ('url = "mysql://looma@db:99999/x"', "write it like mysql://"),
        ('table = "calls; DROP TABLE x"', "is no name of a table"),
        ('table = "calls_{YYYY_MM}_{YYYY_MM}"', "is no name of a table"),
        ('key = "call`id"', "is no name of a column"),
        ('time = ""', "is no text"),
        ('timezone = "Asia/Atlantis"', "is none"),
        ('since = "yesterday"', "is no day"),
        ("concurrency = 0", "from 1 to 32"),
        ("page_rows = true", "from 1 to 50000"),
        ('kind = "oracle"', "write one of autodialer"),
        ('preset = "autodialler"', "did you mean autodialer?"),
        ('column_map = "nowhere.toml"', "can't be read"),
        ('tls = "maybe"', "write one of off"),
        ('transcripts = { kind = "mongodb" }', "name the collection"),
        ('transcripts = { speaker = "ghost" }', "say customer or agent"),
    ],
    ids=lambda value: value.partition(" ")[0] if "=" in value else "",
)
def test_a_mistake_is_named_with_its_fix(line: str, told: str) -> None:
    key = line.partition(" ")[0]
    kept = [one for one in DIALLER.splitlines() if not one.startswith(f"{key} ")]
    with pytest.raises(ConfigError) as raised:
        parse_sources("\n".join([*kept, line]), SECRETS)
    assert told in raised.value.message
    assert "[dialler]" in raised.value.message
    if "hunter2" not in line:
        assert "hunter2" not in raised.value.message


def test_a_short_signing_secret_is_refused() -> None:
    text = '[hook]\norganisation = "acme"\nkind = "push"\nsecret = "SHORT"\n'
    with pytest.raises(ConfigError, match="24 are the least"):
        parse_sources(text, {"SHORT": "whsec_AAAA"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SOURCES: .*sources.toml can't be read"):
        read_sources(tmp_path / "sources.toml", {})
