"""`looma` as people and scripts use it: a process, its output, its exit code."""

import gzip
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt
import pytest

from looma_cli import exit_codes
from looma_cli.supervision.run_state import RunFiles
from shared.embedded.stores import Endpoints
from shared.services import SERVICE_NAMES
from tests.looma_cli.looma import Looma


@pytest.fixture
def looma(tmp_path: Path, stores: Endpoints, database_url: str, redis_url: str) -> Looma:
    work = tmp_path / "work"
    work.mkdir()
    return Looma(
        tmp_path / "home",
        work,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        GRAPH_URL=stores.graph_url,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Looma]:
    """No stores but its own. Not in pytest's directory: every run of pytest closes that one to
    other users, and under root PostgreSQL runs as one."""
    with TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as folder:
        yield Looma(Path(folder) / "home", tmp_path)


def test_help_lists_the_exit_codes(bare: Looma) -> None:
    page = bare("--help")
    assert "import" in page
    assert "4 done in part" in " ".join(page.split())


def test_help_loads_nothing_that_takes_long(bare: Looma) -> None:
    """A person who asks for help gets it at once: in a tenth of a second, without these."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *bare.command[1:], "--help"],
        capture_output=True,
        check=True,
    ).stderr.decode()
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "typer" in loaded
    slow = {"asyncpg", "gateway", "httpx", "jwt", "numpy", "orjson", "sanic", "torch", "uvloop"}
    assert not loaded & slow


def test_help_and_version_need_no_home(bare: Looma) -> None:
    bare("import", "--help")
    assert bare("--version").strip()
    assert not bare.home.exists()


def test_an_unknown_command_is_a_usage_error(bare: Looma) -> None:
    assert bare.run("fly").returncode == exit_codes.USAGE


def test_a_wrong_setting_is_one_line_that_names_it(bare: Looma) -> None:
    bare.env["GATEWAY_PORT"] = "many"
    line = bare.refusal("status", code=exit_codes.USAGE)
    assert line.startswith("GATEWAY_PORT: 'many' does not fit")


def test_a_home_that_cannot_be_written_is_one_line(bare: Looma) -> None:
    bare.env["LOOMA_HOME"] = "/proc/looma"
    assert "LOOMA_HOME" in bare.refusal("token", code=exit_codes.USAGE)


def test_debug_shows_where_it_broke(bare: Looma) -> None:
    bare.env["GATEWAY_PORT"] = "many"
    done = bare.run("status", "--debug")
    assert done.returncode == exit_codes.USAGE
    assert "Traceback" in done.stderr


def test_status_and_down_on_an_empty_home_change_nothing(bare: Looma) -> None:
    found = bare.json("status", code=exit_codes.FAILED)
    assert (found["up"], found["ready"], found["outbox"]) == (False, False, None)
    assert bare.run("down").stderr.strip() == "Nothing was running."
    assert not bare.home.exists()


def test_a_taken_gateway_port_is_one_line_that_names_the_setting(bare: Looma) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        bare.env["GATEWAY_PORT"] = str(port)
        for arguments in (["up"], ["up", "--detach"]):
            line = bare.refusal(*arguments, code=exit_codes.USAGE)
            assert line.startswith(f"GATEWAY_PORT: port {port} on 127.0.0.1 is taken")
            assert f" by process {os.getpid()} (" in line


def test_a_second_up_is_told_of_the_first_before_it_looks_at_anything_else(bare: Looma) -> None:
    bare.env["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:9/none"
    with RunFiles(bare.home).held():
        for arguments in (["up"], ["up", "--detach"]):
            line = bare.refusal(*arguments, code=exit_codes.ALREADY_UP)
            assert line == (
                f"Another `looma up` (process {os.getpid()}) is starting on {bare.home}. "
                "Wait for it: looma status"
            )


def test_the_same_seed_gives_the_same_file(bare: Looma) -> None:
    first = bare("demo", "--calls", "50", "--seed", "3").strip()
    assert first == "demo-calls-50-3.jsonl"
    bare("demo", "--calls", "50", "--seed", "3", "--out", "again.jsonl")
    assert (bare.cwd / first).read_bytes() == (bare.cwd / "again.jsonl").read_bytes()


def test_a_demo_that_cannot_be_written_leaves_nothing(bare: Looma) -> None:
    assert "--out" in bare.refusal("demo", "--calls", "5", "--out", "no/such/folder.jsonl")


def test_import_compute_portrait_and_trend(looma: Looma, tmp_path: Path) -> None:
    looma("demo", "--calls", "400", "--out", "calls.jsonl")
    first = looma.json("import", "calls.jsonl")
    assert (first["rows"], first["inserted"], first["rejected"]) == (400, 400, 0)
    assert 0 < first["analysed"] < 400
    again = looma.json("import", "calls.jsonl")
    assert (again["inserted"], again["unchanged"]) == (0, 400)

    computed = looma.json("compute")["computed"]
    assert [item["period_type"] for item in computed] == ["week", "month", "quarter"]
    assert computed[2]["periods"] == 4

    (org,) = looma.json("orgs", "list")
    assert (org["calls"], org["analysed"]) == (400, org["transcripts"])
    series = looma.json("trend", "total_calls", "--period-type", "quarter")["series"]
    assert sum(point["value"] for point in series) == 400
    assert looma("trend", "total_calls", "--period-type", "quarter").count("█") > 20

    user = json.loads((looma.cwd / "calls.jsonl").read_text().splitlines()[0])["user_id"]
    shown = looma.json("portrait", user, "--period-type", "quarter")
    assert shown["user_id"] == user
    assert sum(shown["intention_dist"].values()) <= shown["call_stats"]["connected_calls"]
    page = looma("portrait", user, "--period", shown["period"]["key"])
    assert looma("portrait", "show", user, "--period", shown["period"]["key"]) == page
    verified = looma.json("portrait", "verify", "--sample", "3")
    assert verified == {"periods": 3, "repaired": False, "wrong": []}
    assert "Intention" in page
    assert "█" in page

    lines = (looma.cwd / "calls.jsonl").read_text().splitlines()
    customer = next(one for line in lines if (one := json.loads(line).get("customer_id")))
    for name, begins in (("page.html", b"<!DOCTYPE html>"), ("page.pdf", b"%PDF-")):
        file = tmp_path / name
        looma("portrait", user, "--period-type", "quarter", "--report", str(file), "--lang", "en")
        assert file.read_bytes().startswith(begins)
    theirs = looma.json("portrait", customer, "--customer", "--period-type", "quarter")
    assert theirs["customer_id"] == customer
    assert customer in looma("portrait", customer, "--customer", "--period-type", "quarter")
    series = looma.json("trend", "total_calls", "--customer", customer)["series"]
    assert sum(point["value"] or 0 for point in series) >= 1

    assert looma.json("segments") == []
    condition = "total_calls >= 1 and connect_rate > 0.1"
    tried = looma.json("segments", "test", condition, "--period", shown["period"]["key"])
    assert 0 < tried["size"] <= tried["portraits"]
    named = looma("segments", "test", condition, "--period", shown["period"]["key"])
    assert tried["examples"][0]["subject"] in named
    line = looma.refusal("segments", "test", "conect_rate > 0.1")
    assert "line 1, column 1" in line
    assert "did you mean connect_rate?" in line
    assert "There is no segment" in looma.refusal("segments", "members", "nobody")


def test_rejected_rows_are_explained_beside_the_file(looma: Looma) -> None:
    looma("demo", "--calls", "300", "--bad-rows", "0.1", "--out", "calls.jsonl")
    found = looma.json("import", "calls.jsonl", "--no-analyze")
    assert found["rejected"] > 5
    assert found["inserted"] + found["rejected"] + found["duplicates"] == 300
    lines = (looma.cwd / "calls.jsonl.rejected.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == found["rejected"]
    assert all(row["line"] and row["problem"] and row["fix"] for row in rows)
    assert found["analysed"] == 0
    looma("import", "calls.jsonl", "--fail-on-rejects", code=exit_codes.PARTLY)


def test_what_was_left_out_of_rows_is_told_beside_the_file(looma: Looma) -> None:
    looma("orgs", "create", "acme")
    head = "callid,user_id,started_at,call_status,duration_ms,phone,level_name\n"
    (looma.cwd / "calls.csv").write_text(
        f"{head}a,u,2024-03-05T14:20:00Z,connected,65000,anonymous,?\n"
        "b,u,2024-03-05T14:20:00Z,ANSWERED,0:01:05,0086 138 1234 8000,B级\n"
    )
    found = looma.json("import", "calls.csv", "--no-analyze")
    assert (found["inserted"], found["rejected"]) == (2, 0)
    assert found["noted"] == {"phone": 1, "level_name": 1}
    lines = (looma.cwd / "calls.csv.notes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["line"], row["field"]) for row in rows] == [(2, "level_name"), (2, "phone")]
    told = looma.run("import", "calls.csv", "--no-analyze").stderr
    assert "phone was left empty" in " ".join(told.split())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("table.csv", b"callid,user_id,started_at,call_status,duration_ms\na,b,never,busy,0\n"),
        ("lines.jsonl", b'{"callid": "a", "user_id": "b", "started_at": "never", "call_status": "busy"}\n'),
    ],
)  # fmt: skip
def test_a_file_of_which_every_row_is_rejected_fails(looma: Looma, name: str, data: bytes) -> None:
    looma("orgs", "create", name.partition(".")[0])
    (looma.cwd / name).write_bytes(data)
    shown = looma.json("import", name, "--no-analyze", code=exit_codes.FAILED)
    assert shown["rejected"] == shown["rows"] > 0


def test_a_damaged_file_is_in_as_far_as_it_goes_and_says_so(looma: Looma) -> None:
    looma("orgs", "create", "acme")
    looma("demo", "--calls", "2000", "--out", "calls.jsonl")
    whole = gzip.compress((looma.cwd / "calls.jsonl").read_bytes())
    (looma.cwd / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    found = looma.json("import", "cut.jsonl.gz", "--no-analyze", code=exit_codes.PARTLY)
    assert found["cut"]
    assert 0 < found["inserted"] < 2000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_rejected_rows_go_here_where_the_file_lies_in_a_closed_folder(looma: Looma) -> None:
    closed = looma.cwd / "closed"
    closed.mkdir()
    looma("demo", "--calls", "100", "--bad-rows", "0.2", "--out", "closed/calls.jsonl")
    closed.chmod(0o500)
    strict = ("--no-analyze", "--fail-on-rejects")
    looma("import", "closed/calls.jsonl", *strict, code=exit_codes.PARTLY)
    assert (looma.cwd / "calls.jsonl.rejected.jsonl").exists()


def test_a_file_that_is_none_of_ours_is_refused_with_the_fix(looma: Looma) -> None:
    (looma.cwd / "note.csv").write_text("a,b\n1,2\n")
    assert "callid" in looma.refusal("import", "note.csv")
    assert "nothing.csv" in looma.refusal("import", "nothing.csv")
    assert "did you mean star" in looma.refusal("import", "note.csv", "--preset", "stars")


def test_token_prints_a_token_and_nothing_else(looma: Looma) -> None:
    looma("orgs", "create", "acme")
    token = looma("token", "--role", "agent").strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["role"], claims["aud"]) == ("agent", "looma")
    assert "agents" not in token


def test_which_organisation(looma: Looma) -> None:
    assert "There is no organisation yet" in looma.refusal("token")
    looma("orgs", "create", "acme")
    assert "looma orgs create nobody" in looma.refusal("token", "--org", "nobody")


def test_keys_and_users_are_shown_once_and_listed(looma: Looma) -> None:
    looma("orgs", "create", "acme")
    secret = looma("keys", "create", "crm", "--role", "agent", "--days", "30").strip()
    assert secret.startswith("looma_")
    (key,) = looma.json("keys", "list")
    assert (key["name"], key["role"], key["revoked_at"]) == ("crm", "agent", None)
    assert secret not in str(key)
    assert (key["owner_id"], key["role_now"]) == (None, "agent")
    looma("keys", "transfer", key["key_id"], "--role", "agent")
    looma("keys", "revoke", key["key_id"])
    assert looma.json("keys", "list")[0]["revoked_at"]
    looma("keys", "rotate")

    password = looma("users", "create", "ann@example.com", "--role", "admin").strip()
    assert len(password) >= 12
    (user,) = looma.json("users", "list")
    assert (user["email"], user["role"]) == ("ann@example.com", "admin")
    assert "already" in looma.refusal("users", "create", "ann@example.com")


async def test_the_audit_log_is_listed_and_a_forgery_found(looma: Looma, database_url: str) -> None:
    import asyncpg

    looma("orgs", "create", "acme")
    looma("token")
    actions = [entry["action"] for entry in looma.json("audit", "list")]
    assert actions == ["token.minted", "organisation.created"]
    found = looma.json("audit", "verify")
    assert found["intact"]
    looma("audit", "verify", "--anchor", found["head"])
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE audit_log SET actor = 'somebody' WHERE seq = 1")
    await connection.close()
    forged = looma.json("audit", "verify", code=exit_codes.PARTLY)
    assert (forged["intact"], forged["broken"]["seq"]) == (False, 1)
    assert looma.run("audit", "verify", "--anchor", "x").returncode == exit_codes.USAGE


async def test_dead_letters_are_shown_and_replayed(looma: Looma, database_url: str) -> None:
    import asyncpg

    looma("orgs", "create", "acme")
    assert looma.json("dead-letters", "list") == []
    connection = await asyncpg.connect(database_url)
    for number in (1, 2):
        await connection.execute(
            """INSERT INTO outbox_dead_letter
                   (id, org_id, projection, topic, key, payload, attempts, error, created_at)
               SELECT $1, org_id, 'search', 'calls', 'k', '{}', 5, 'poison', now()
               FROM organisation""",
            number,
        )
    (first, _) = looma.json("dead-letters", "list", code=exit_codes.PARTLY)
    assert (first["id"], first["error"]) == (1, "poison")
    assert "poison" in looma("dead-letters", code=exit_codes.PARTLY)
    assert looma.run("dead-letters", "replay").returncode == exit_codes.USAGE
    assert "1 are queued" in looma.run("dead-letters", "replay", "1").stderr
    assert "1 are queued" in looma.run("dead-letters", "replay", "--all").stderr
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 2
    await connection.close()


def test_a_projection_is_rebuilt_from_what_there_is(looma: Looma) -> None:
    looma("demo", "--calls", "60", "--out", "calls.jsonl")
    transcripts = looma.json("import", "calls.jsonl")["analysed"]
    done = looma.run("rebuild", "search")
    assert done.returncode == 0, done.stderr
    assert f"search holds {transcripts} entries again." in done.stderr


def test_the_packaged_route_table_is_printed_as_a_file_to_begin_with(looma: Looma) -> None:
    printed = tomllib.loads(looma("gateway", "routes"))
    assert set(printed) == {"limits", *SERVICE_NAMES}
    assert all(printed[name]["routes"] for name in SERVICE_NAMES)


@pytest.mark.slow
def test_the_embedded_stores_run_for_a_command_and_no_longer(bare: Looma) -> None:
    bare("demo", "--calls", "30", "--out", "calls.jsonl")
    try:
        assert bare.json("import", "calls.jsonl")["inserted"] == 30
        assert bare.json("compute")["computed"][2]["snapshots"] > 0
        found = bare.json("status", code=exit_codes.FAILED)
        assert not any(store["pid"] for store in found["stores"].values())

        # An interrupted one takes them along, too.
        process = subprocess.Popen(
            [*bare.command, "import", "/dev/stdin"],
            env=bare.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode != 0
        found = bare.json("status", code=exit_codes.FAILED)
        assert not any(store["pid"] for store in found["stores"].values())

        assert bare.run("reset", stdin="n\n").returncode == exit_codes.FAILED
        assert bare.home.exists()
        bare("reset", "--yes")
        assert not bare.home.exists()
    finally:
        bare.run("down")


def test_reset_leaves_what_is_not_ours(bare: Looma) -> None:
    bare.home.mkdir()
    (bare.home / "thesis.txt").write_text("years of work")
    (bare.home / "logs").mkdir()
    bare("reset", "--yes")
    assert [path.name for path in bare.home.iterdir()] == ["thesis.txt"]


def test_a_store_that_is_away_is_told_with_its_setting_and_no_secret(bare: Looma) -> None:
    bare.env["DATABASE_URL"] = "postgresql://looma:hunter2@127.0.0.1:1/looma"
    for arguments in (["up"], ["token"]):
        line = bare.refusal(*arguments)
        assert line.startswith("DATABASE_URL: ")
        assert "127.0.0.1:1" in line
        assert "hunter2" not in line
