"""docker/backup.sh and docker/restore.sh on a real PostgreSQL: a backup is whole, or there is none."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ai_services.enrichment.analysis.local import LocalAnalyzer
from ai_services.enrichment.analysis.pending import analyse_pending
from ai_services.enrichment.importing import import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import read_calls
from ai_services.portrait.computing.computation import compute
from looma_cli.work.demo_calls import write_calls
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.portrait.calls import Organisation, new_organisation, opened
from tests.databases import SpareDatabases
from tests.docker.compose import ROOT

pytestmark = pytest.mark.skipif(
    shutil.which("pg_dump") is None or shutil.which("pg_restore") is None,
    reason="no pg_dump here: apt-get install postgresql-client",
)


@pytest.fixture(scope="module")
async def database(local_spare_databases: SpareDatabases) -> AsyncIterator[str]:
    """A migrated database on a server that the machine's pg_dump can read."""
    async with local_spare_databases.fresh() as url:
        db = Postgres(url)
        await db.ping()
        await db.close()
        yield url


@pytest.fixture
def other(local_postgres_url: str) -> str:
    """An empty one beside it."""
    return local_postgres_url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("dumps", "metrics"):
        (tmp_path / name).mkdir()
    return tmp_path


def libpq(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    given = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port or 5432),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    return {"PATH": os.environ["PATH"]} | {key: text for key, text in given.items() if text}


def environment(url: str, folder: Path) -> dict[str, str]:
    return libpq(url) | {
        "BACKUP_FOLDER": str(folder / "dumps"),
        "BACKUP_TEXTFILE_FOLDER": str(folder / "metrics"),
    }


def run(
    name: str, told: dict[str, str], *arguments: str, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """A script; `before` is what its shell does first."""
    script = f'{before}exec sh "$0" "$@"'
    return subprocess.run(
        ["sh", "-c", script, ROOT / "docker" / name, *arguments],
        env=told, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def dumps(folder: Path) -> list[Path]:
    """What looks like a backup."""
    return sorted((folder / "dumps").glob("looma-*"))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def metrics(folder: Path) -> dict[str, float]:
    text = (folder / "metrics" / "looma_backup.prom").read_text()
    return {family.name: family.samples[0].value for family in text_string_to_metric_families(text)}


async def test_a_backup_is_named_read_back_counted_and_for_its_owner_only(
    database: str, folder: Path
) -> None:
    before = int(time.time())
    done = run("backup.sh", environment(database, folder))
    assert done.returncode == 0, done.stderr
    (dump,) = dumps(folder)
    assert done.stdout.strip() == str(dump)
    assert dump.stat().st_mode & 0o777 == 0o600
    assert metrics(folder)["looma_backup_last_success_timestamp_seconds"] >= before
    assert metrics(folder)["looma_backup_size_bytes"] == dump.stat().st_size
    # The node exporter is another user, and reads whatever ends in .prom.
    assert (folder / "metrics" / "looma_backup.prom").stat().st_mode & 0o777 == 0o644
    assert left(folder) == [dump.name, "looma_backup.prom"]


async def test_old_backups_go_once_a_newer_one_is_whole(database: str, folder: Path) -> None:
    names = {"looma-1.dump": 20, "looma-2.dump": 3, ".looma-3.1.part": 3, "notes.txt": 99}
    for name, days in names.items():
        path = folder / "dumps" / name
        path.touch()
        os.utime(path, (time.time() - days * 86_400,) * 2)
    told = environment(database, folder) | {"BACKUP_KEEP_DAYS": "7"}
    assert run("backup.sh", told | {"PGPORT": "1"}).returncode != 0
    assert left(folder) == sorted(names)
    done = run("backup.sh", told)
    assert done.returncode == 0, done.stderr
    kept = {path.name for path in (folder / "dumps").iterdir()} - {Path(done.stdout.strip()).name}
    assert kept == {"looma-2.dump", "notes.txt"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"PGPORT": "1"}, "could not dump"),
        ({"PGDATABASE": "looma_nowhere"}, "could not dump looma_nowhere"),
        ({"PGDATABASE": "template1"}, "template1 has no organisations"),
        ({"BACKUP_FOLDER": ""}, "BACKUP_FOLDER names no folder.*Example:"),
        ({"BACKUP_FOLDER": "/nowhere"}, "BACKUP_FOLDER: /nowhere is no folder"),
        ({"BACKUP_FOLDER": "/sys"}, "BACKUP_FOLDER: /sys is no folder that user .* can write"),
        ({"BACKUP_TEXTFILE_FOLDER": "/sys"}, "BACKUP_TEXTFILE_FOLDER: /sys"),
        ({"BACKUP_KEEP_DAYS": "0"}, "BACKUP_KEEP_DAYS is a number of days.*not '0'"),
        ({"BACKUP_KEEP_DAYS": "week"}, "BACKUP_KEEP_DAYS is a number of days.*not 'week'"),
        ({"PGPASSWORD_FILE": "/nowhere"}, "/nowhere"),
    ],
    ids=lambda one: next(iter(one.items()))[1] if isinstance(one, dict) else "",
)
async def test_a_backup_that_fails_says_why_and_leaves_nothing(
    told: dict[str, str], said: str, database: str, folder: Path
) -> None:
    assert run("backup.sh", environment(database, folder)).returncode == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = run("backup.sh", environment(database, folder) | told)
    assert done.returncode != 0
    assert done.stdout == ""
    assert re.search(said, done.stderr), done.stderr
    # The dump of before is there, and so is its time in the metric: it is that which grows old.
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


async def test_a_disk_that_is_full_leaves_nothing(database: str, folder: Path) -> None:
    """As the limit on the size of a file has it, which the kernel keeps: the write fails half-way."""
    told = environment(database, folder)
    assert run("backup.sh", told).returncode == 0
    size = dumps(folder)[0].stat().st_size
    before = left(folder)
    done = run("backup.sh", told, before=f"ulimit -f {size // 512 // 2}; trap '' XFSZ; ")
    assert done.returncode != 0
    assert "could not dump" in done.stderr
    assert left(folder) == before


async def test_a_dump_that_lost_its_end_is_no_backup(
    database: str, folder: Path, tmp_path: Path
) -> None:
    """Its table of contents is whole, and so is what `pg_restore --list` says of it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    cutting = programs / "pg_dump"
    real = shutil.which("pg_dump")
    cutting.write_text(
        "#!/bin/sh\n"
        f'{real} "$@"\n'
        "for word; do case $word in --file=*) file=${word#--file=};; esac; done\n"
        'truncate -s "$(($(wc -c < "$file") - 200))" "$file"\n'
    )
    cutting.chmod(0o755)
    told = environment(database, folder)
    done = run("backup.sh", told | {"PATH": f"{programs}:{told['PATH']}"})
    assert done.returncode != 0
    assert "the dump is not whole" in done.stderr
    assert dumps(folder) == []
    assert left(folder) == ["pg_dump"]


async def filled(url: str) -> None:
    """So much that a dump of it takes a moment."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE filler AS SELECT md5(n::text) AS text FROM generate_series(1, 400000) AS n"
    )
    await connection.close()


def sent_half_way(sent: signal.Signals, told: dict[str, str], folder: Path) -> tuple[int, bytes]:
    """Send a signal to a backup under way once something is written; its status and last words."""
    process = subprocess.Popen(
        ["sh", ROOT / "docker/backup.sh"], env=told, start_new_session=True, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 20
    while not any(one.stat().st_size for one in (folder / "dumps").iterdir()):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    if sent == signal.SIGKILL:  # to all of it, as a machine that stops
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)  # to the script alone, as whoever stops a service may
    _, said = process.communicate(timeout=20)
    return process.returncode, said


async def test_one_that_is_interrupted_half_way_looks_like_no_backup(
    other: str, folder: Path
) -> None:
    await filled(other)
    told = environment(other, folder)
    status, said = sent_half_way(signal.SIGTERM, told, folder)
    assert (status, b"backup: interrupted\n" in said) == (1, True)
    assert left(folder) == []
    assert sent_half_way(signal.SIGKILL, told, folder)[0] == -signal.SIGKILL
    assert dumps(folder) == []
    (part,) = left(folder)
    assert part.endswith(".part")


# -- restoring -----------------------------------------------------------------------------------


async def filled_with_demo_calls(db: Postgres, file: Path) -> Organisation:
    write_calls(file, 400, seed=7)
    organisation = await new_organisation(db)
    batches = read_calls(file, load_preset("calls"))
    cipher = PhoneCipher(b"k" * 32, organisation.org_id)
    await import_batches(db, organisation.org_id, cipher, batches, source=file.name, preset="calls")
    assert await analyse_pending(db, organisation.org_id, LocalAnalyzer()) > 0
    await compute(db, organisation.org_id)
    return organisation


async def audited(url: str) -> list[tuple[object, ...]]:
    """Every table with the number of its rows, and every index, policy and constraint."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        counts = [
            (name, await connection.fetchval(f'SELECT count(*) FROM "{name}"'))
            for (name,) in tables
        ]
        kept = await connection.fetch(
            """SELECT 'index', indexdef, '' FROM pg_indexes WHERE schemaname = 'public'
               UNION ALL SELECT 'policy', tablename || '.' || policyname, roles::text || coalesce(qual, '')
                         FROM pg_policies
               UNION ALL SELECT 'constraint', conrelid::regclass::text || '.' || conname,
                                pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
               UNION ALL SELECT 'rights', relname, relacl::text || relforcerowsecurity::text
                         FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
               ORDER BY 1, 2, 3"""
        )
        return [*counts, *map(tuple, kept)]
    finally:
        await connection.close()


@pytest.mark.slow
async def test_what_is_restored_has_the_same_figures_and_goes_on(
    database: str, other: str, folder: Path
) -> None:
    async with opened(database) as db:
        organisation = await filled_with_demo_calls(db, folder / "calls.jsonl")
        figures, sums = await organisation.stored(), await organisation.sums()
    assert len(figures) > 100
    made = run("backup.sh", environment(database, folder))
    assert made.returncode == 0, made.stderr

    done = run("restore.sh", libpq(other), made.stdout.strip())
    assert done.returncode == 0, done.stderr
    assert await audited(other) == await audited(database)
    async with opened(other) as db:
        restored = Organisation(db, organisation.org_id, organisation.timezone)
        assert await restored.stored() == figures
        assert await restored.sums() == sums
        # A recomputation from the restored calls finds nothing to change.
        computed = await compute(db, organisation.org_id)
        assert sum(one.snapshots for one in computed) == len(figures)
        assert [one.changed + one.removed for one in computed] == [0, 0, 0]

    again = run("restore.sh", libpq(other), made.stdout.strip())
    assert again.returncode != 0
    assert "tables already: restore into a new database" in again.stderr


async def test_a_dump_that_is_damaged_restores_nothing(
    database: str, other: str, folder: Path
) -> None:
    made = run("backup.sh", environment(database, folder))
    whole = Path(made.stdout.strip()).read_bytes()
    (folder / "cut.dump").write_bytes(whole[:-200])
    done = run("restore.sh", libpq(other), str(folder / "cut.dump"))
    assert done.returncode != 0
    assert "nothing was restored" in done.stderr
    assert await audited(other) == []


@pytest.mark.parametrize(
    ("arguments", "told", "said"),
    [
        ((), {}, "name one dump. Example:"),
        (("/nowhere.dump",), {}, "/nowhere.dump can't be read"),
        (("/bin/sh",), {"PGDATABASE": ""}, "PGDATABASE names no database. Example:"),
    ],
)
async def test_a_restore_that_cannot_be_says_what_it_needs(
    arguments: tuple[str, ...], told: dict[str, str], said: str
) -> None:
    done = run("restore.sh", {"PATH": os.environ["PATH"], "PGDATABASE": "x"} | told, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
