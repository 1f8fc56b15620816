"""systemd/: what each unit runs, tells it, and takes away from it."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.config import SETTINGS, Config
from shared.services import GATEWAY, PROCESSES, SERVICES, Service
from shared.serving.process import EXIT_CONFIG
from shared.store_urls import store_urls
from tests.docker.secret_folder import make_secrets
from tests.sources import ROOT
from tests.systemd.units import (
    FOLDER,
    TEMPLATE,
    WHOLE,
    Unit,
    credentials,
    environment,
    files_of,
    parsed,
    unit_of,
)

SECRETS = {one.name for one in SETTINGS if one.secret}
OURS = {one.name for one in SETTINGS} | {f"{name}_FILE" for name in SECRETS}
OTHERS = {"HOME", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"}
UNITS: dict[str, Unit] = {one.name: unit_of(one) for one in PROCESSES} | {
    "platform": parsed(WHOLE.read_text())
}
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
_MOST_EXPOSED = "20"  # of 100, in systemd's own count; without any hardening it is 96

HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
}


def flaws(unit: Unit) -> Iterator[str]:
    """What keeps a unit from being run as it should."""
    told = environment(unit)
    yield from (f"there is no setting {name}" for name in told.keys() - OURS - OTHERS)
    yield from (f"{name} is written down" for name in told.keys() & SECRETS)
    files = {value for name, value in told.items() if name.endswith("_FILE")}
    given = {f"%d/{name}" for name in credentials(unit)}
    yield from (f"no credential is loaded for {path}" for path in sorted(files - given))
    yield from (f"nobody reads {path}" for path in sorted(given - files))
    yield from (
        f"{key} is {unit.get(f'Service.{key}')}, not {value}"
        for key, value in HARDENED.items()
        if unit.get(f"Service.{key}") != [value]
    )
    wanted = float(told["SHUTDOWN_SECONDS"]) + float(told["DRAIN_DELAY_SECONDS"]) + 5
    if float(unit["Service.TimeoutStopSec"][0]) < wanted:
        yield f"is killed {unit['Service.TimeoutStopSec'][0]} s after SIGTERM, and may need {wanted:g}"
    if unit.get("Service.KillMode") != ["mixed"]:
        yield "what it has started is told to stop beside it"
    if unit.get("Service.User") != ["looma"]:
        yield f"runs as {unit.get('Service.User')}"
    if unit.get("Service.Restart") != ["on-failure"] or "Unit.StartLimitIntervalSec" not in unit:
        yield "is not started again however often it fails"
    if str(EXIT_CONFIG) not in unit["Service.RestartPreventExitStatus"][0].split():
        yield "is started again with a wrong setting"
    if float(unit["Service.LimitNOFILE"][0]) < 35_000:
        yield "has too few open files for a service's streams"
    home = told.get("LOOMA_HOME", "")
    if home != f"/var/lib/{unit['Service.StateDirectory'][0]}":
        yield f"may not write to LOOMA_HOME ({home})"
    if told.get("HOME") != home:  # where drivers look for files of theirs
        yield f"may not enter HOME ({told.get('HOME')})"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_as_it_should_be(name: str) -> None:
    assert list(flaws(UNITS[name])) == []


@pytest.mark.parametrize(
    ("key", "values", "complaint"),
    [
        ("Environment", ["LOG_LEVLE=info"], "there is no setting LOG_LEVLE"),
        ("Environment", ["DATA_KEY=0123"], "DATA_KEY is written down"),
        ("LoadCredential", [], "no credential is loaded for %d/redis_url"),
        ("LoadCredential", ["graph_url:/etc/x"], "nobody reads %d/graph_url"),
        ("ProtectSystem", ["full"], "ProtectSystem is ['full'], not strict"),
        ("TimeoutStopSec", ["30"], "is killed 30 s after SIGTERM, and may need 38"),
        ("KillMode", ["control-group"], "told to stop beside it"),
        ("User", ["root"], "runs as ['root']"),
        ("Restart", ["always"], "is not started again"),
        ("RestartPreventExitStatus", ["1"], "is started again with a wrong setting"),
        ("LimitNOFILE", ["1024"], "too few open files"),
        ("StateDirectory", ["other"], "may not write to LOOMA_HOME"),
        ("Environment", ["HOME=/home/looma"], "may not enter HOME (/home/looma)"),
    ],
)
def test_what_is_wrong_with_a_unit_is_found(key: str, values: list[str], complaint: str) -> None:
    unit = copy.deepcopy(UNITS["gateway"])
    more = unit[f"Service.{key}"] if values and key in ("Environment", "LoadCredential") else []
    unit[f"Service.{key}"] = more + values
    assert any(complaint in said for said in flaws(unit)), list(flaws(unit))


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_unit_runs_its_process(process: Service) -> None:
    assert UNITS[process.name]["Service.ExecStart"] == [
        f"/opt/looma/bin/python -m {process.module}"
    ]


def test_what_is_added_is_for_a_service_that_there_is() -> None:
    added = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert added <= {f"looma-service@{one.name}.service.d" for one in SERVICES}
    files = {path for path in FOLDER.rglob("*") if path.is_file()}
    assert files == {WHOLE}.union(*(files_of(one) for one in PROCESSES))


def test_either_the_platform_runs_or_its_parts() -> None:
    for process in PROCESSES:
        assert UNITS[process.name]["Unit.Conflicts"] == [WHOLE.name]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("systemd-secrets") / "secrets"
    made = make_secrets(folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_process_takes_what_its_unit_tells_it(
    process: Service, secrets: Path, tmp_path: Path
) -> None:
    """Credentials as systemd lays them out: files of root's that an access list lets it read, 0440."""
    folder = tmp_path
    unit = UNITS[process.name]
    for name, path in credentials(unit).items():
        assert path == f"/etc/looma/secrets/{name}"
        shutil.copy(secrets / name, folder / name)
        (folder / name).chmod(0o440)
    told = {name: value.replace("%d", str(folder)) for name, value in environment(unit).items()}
    config = Config.from_env(told)
    urls = store_urls(config, process.stores)
    given = {
        "relational": urls.database,
        "graph": urls.graph,
        "vectors": urls.vector,
        "search": urls.search,
        "cache": urls.redis,
    }
    assert {store for store, url in given.items() if url} >= process.stores
    assert config.internal_token_secret is not None
    sources = [path.read_text() for path in (ROOT / process.module.replace(".", "/")).rglob("*.py")]
    assert (config.data_key is not None) == any("data_key(" in source for source in sources)
    assert (config.bind_host, config.home) == ("127.0.0.1", Path("/var/lib/looma"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units under the names that they run by, their programs where they are here."""
    folder = tmp_path_factory.mktemp("systemd")
    programs = Path(sys.executable).parent
    for path in sorted(FOLDER.rglob("*.*")):
        if path.is_dir():
            continue
        text = path.read_text().replace("/opt/looma/bin", str(programs))
        names = [path.relative_to(FOLDER)]
        if path == TEMPLATE:
            names = [Path(f"looma-service@{one.name}.service") for one in SERVICES]
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text.replace("%i", name.stem.partition("@")[2]))
    return folder


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
def test_systemd_takes_the_units(installed: Path) -> None:
    done = analyze("verify", "--man=no", *sorted(installed.glob("*.service")))
    ours = [line for line in done.stderr.splitlines() if "looma" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ProtectSystem=strict", "ProtectSystem=very"),
        ("TimeoutStopSec=45", "TimeoutStopSeconds=45"),
        ("/python -m", "/pythoon -m"),
    ],
)
def test_systemd_complains_of_a_mistake(
    right: str, wrong: str, installed: Path, tmp_path: Path
) -> None:
    """So that the test above says something."""
    text = (installed / "looma-gateway.service").read_text()
    assert right in text
    (tmp_path / "looma-gateway.service").write_text(text.replace(right, wrong))
    done = analyze("verify", "--man=no", tmp_path / "looma-gateway.service")
    assert "looma-gateway.service" in done.stderr


def exposure(unit: Path) -> subprocess.CompletedProcess[str]:
    return analyze("security", "--offline=yes", "--no-pager", f"--threshold={_MOST_EXPOSED}", unit)


@needs_systemd
def test_systemd_finds_little_exposed(installed: Path) -> None:
    for unit in sorted(installed.glob("*.service")):
        done = exposure(unit)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_what_is_exposed(installed: Path, tmp_path: Path) -> None:
    text = (installed / "looma-gateway.service").read_text()
    bare = tmp_path / "looma-gateway.service"
    for line in ("SystemCallFilter=@system-service\n", "PrivateUsers=yes\n", "PrivateTmp=yes\n"):
        assert line in text
        text = text.replace(line, "")
    bare.write_text(text)
    assert exposure(bare).returncode != 0


def test_the_gateway_reads_its_routes_anew_by_reload() -> None:
    assert UNITS[GATEWAY.name]["Service.ExecReload"] == ["/bin/kill -HUP $MAINPID"]
