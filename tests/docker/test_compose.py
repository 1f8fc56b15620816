"""docker-compose.yml, as Docker Compose resolves it and as our processes would take it."""

import re
import stat
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.config import SETTINGS, Config
from shared.services import GATEWAY, PROCESSES, SERVICES, Service
from shared.store_urls import store_urls
from tests.docker.compose import COMPOSE, ROOT, SMALL, compose, model
from tests.docker.secret_folder import MADE, environment_of, make_secrets

TEXT = COMPOSE.read_text()
MODEL = model(COMPOSE)
SECRET_NAMES = {setting.name for setting in SETTINGS if setting.secret}
PUBLISHED = {"gateway", "grafana"}
# What may be known of a container by its name, and holds no secret.
_HARMLESS = {"AUTHENTICATION_APIKEY_USERS", "GF_SECURITY_ADMIN_USER", "ADMIN_EMAIL"}


def service(name: str, of: dict[str, Any] = MODEL) -> dict[str, Any]:
    found: dict[str, Any] = of["services"][name]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    made = make_secrets(folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, SMALL)], ids=["whole", "small"])
def test_docker_compose_takes_it(files: tuple[Path, ...]) -> None:
    """Against the schema of the compose specification, which Compose brings along, and its own rules."""
    done = compose(*files, arguments=("--quiet",))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("    read_only: true\n    cap_drop", "    readonly: true\n    cap_drop", "readonly"),
        ("condition: service_healthy", "condition: healthy", "condition"),
        ("networks: [inside]", "networks: [outside]", "outside"),
        ("secrets: [redis_password]", "secrets: [password_of_redis]", "password_of_redis"),
        ("redis: {condition: service_healthy}", "reddis: {condition: service_healthy}", "reddis"),
    ],
)
def test_docker_compose_refuses_a_mistake(
    right: str, wrong: str, complaint: str, tmp_path: Path
) -> None:
    """So that the test above says something."""
    assert right in TEXT
    changed = tmp_path / "docker-compose.yml"
    changed.write_text(TEXT.replace(right, wrong, 1))
    done = compose(changed, arguments=("--quiet",))
    assert done.returncode != 0
    assert complaint in done.stderr


@pytest.mark.parametrize("path", [COMPOSE, SMALL], ids=lambda path: path.name)
def test_every_variable_has_a_default_or_says_why_it_is_needed(path: Path) -> None:
    text = re.sub(r"(^|\s)#.*", "", path.read_text()).replace("$$", "")
    uses = re.findall(r"\$(\{[^}]*\}|\w+)", text)
    assert [use for use in uses if not re.match(r"\{[A-Z0-9_]+:(-|\?.)", use)] == []


def test_a_variable_has_the_same_default_wherever_it_stands() -> None:
    found = set(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", TEXT))
    assert [name for name, count in Counter(name for name, _ in found).items() if count > 1] == []


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_process_is_given_settings_that_there_are(process: Service) -> None:
    known = {setting.name for setting in SETTINGS} | {f"{name}_FILE" for name in SECRET_NAMES}
    assert service(process.name)["environment"].keys() - known == set()


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_process_is_given_all_that_it_needs(
    process: Service, secrets: Path, tmp_path: Path
) -> None:
    """Its own code reads the environment that compose passes, with the secrets that the script makes."""
    config = Config.from_env(
        {**environment_of(service(process.name), secrets), "LOOMA_HOME": str(tmp_path)}
    )
    urls = store_urls(config, process.stores)
    assert config.internal_token_secret is not None
    sources = [path.read_text() for path in (ROOT / process.module.replace(".", "/")).rglob("*.py")]
    if any("data_key(" in source for source in sources):
        assert config.data_key is not None
    given = {
        "relational": urls.database,
        "graph": urls.graph,
        "vectors": urls.vector,
        "search": urls.search,
        "cache": urls.redis,
    }
    for store in process.stores:
        url = given[store]
        assert url, f"{process.name} uses {store}, and is not told where it is"
        reaches(process.name, urlsplit(url).hostname or "")


def reaches(name: str, other: str) -> None:
    here, there = service(name)["networks"], service(other)["networks"]
    assert here.keys() & there.keys(), f"{name} and {other} are in no network together"


def test_the_gateway_reaches_every_service_and_no_store_but_redis() -> None:
    for one in SERVICES:
        reaches("gateway", one.name)
    assert "stores" not in service("gateway")["networks"]


def test_who_watches_may_read_the_metrics() -> None:
    (subnet,) = MODEL["networks"]["watch"]["ipam"]["config"]
    assert service("gateway")["environment"]["METRICS_NETWORKS"] == subnet["subnet"]
    for one in PROCESSES:
        reaches("prometheus", one.name)


def test_only_the_gateway_and_grafana_are_published_and_only_here() -> None:
    ports = {name: one["ports"] for name, one in MODEL["services"].items() if one.get("ports")}
    assert ports.keys() == PUBLISHED
    assert {port["host_ip"] for published in ports.values() for port in published} == {"127.0.0.1"}


@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, SMALL)], ids=["whole", "small"])
def test_no_port_is_published_twice(files: tuple[Path, ...]) -> None:
    published = Counter(
        port["published"]
        for one in model(*files)["services"].values()
        for port in one.get("ports", [])
    )
    assert [port for port, count in published.items() if count > 1] == []


def test_networks_without_published_ports_lead_nowhere() -> None:
    internal = {name for name, one in MODEL["networks"].items() if one.get("internal")}
    assert internal == {"inside", "stores", "watch"}


@pytest.mark.parametrize("name", MODEL["services"])
def test_no_password_stands_in_the_file(name: str) -> None:
    told = service(name).get("environment") or {}
    for key, value in told.items():
        if (
            re.search(r"PASSWORD|SECRET|TOKEN_SECRET|_KEY|APIKEY|_AUTH", key)
            and key not in _HARMLESS
        ):
            allowed = ("/run/secrets/", "true", "false")
            assert str(value).startswith(allowed), f"{name}: {key} holds {value!r}"
    assert re.search(r"://[^/\s\"]*:[^/\s\"$]+@", TEXT) is None


@pytest.mark.parametrize("name", MODEL["services"])
def test_a_container_names_an_exact_image_and_is_bounded(name: str) -> None:
    one = service(name)
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-[\w.]+)?$", one["image"]), one["image"]
    limits = one["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory"}
    assert one["restart"] in ("unless-stopped", "on-failure")
    assert "no-new-privileges:true" in one["security_opt"]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_process_runs_without_rights(process: Service) -> None:
    one = service(process.name)
    assert one["user"] == "10001:10001"
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert "cap_add" not in one
    assert "privileged" not in one
    written = " ".join(one["tmpfs"])
    assert "/tmp:" in written
    assert "/var/lib/looma:" in written  # LOOMA_HOME


@pytest.mark.parametrize("one", SERVICES, ids=lambda one: one.name)
def test_replicas_are_set_by_a_variable(one: Service) -> None:
    changed = model(COMPOSE, **{f"{one.name.upper()}_REPLICAS": "3"})
    assert service(one.name, changed)["deploy"]["replicas"] == 3
    assert "container_name" not in service(one.name)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_process_waits_for_its_stores_and_is_given_time_to_stop(process: Service) -> None:
    one = service(process.name)
    for other, how in one["depends_on"].items():
        assert how["condition"] == "service_healthy"
        assert service(other).get("healthcheck") or other in {each.name for each in SERVICES}
    environment = one["environment"]
    stopping = float(environment["SHUTDOWN_SECONDS"]) + float(environment["DRAIN_DELAY_SECONDS"])
    assert float(one["stop_grace_period"].rstrip("s")) > stopping


def test_the_gateways_port_is_the_one_that_is_published() -> None:
    (port,) = service("gateway")["ports"]
    assert port["target"] == GATEWAY.port


def test_what_is_mounted_is_there() -> None:
    mounted = re.findall(r"\./([\w./-]+)\}?:/[^\s\"]*:ro", TEXT)
    assert mounted
    there = [path for path in mounted if (ROOT / Path(path).parts[0]).is_dir()]
    assert [path for path in there if not (ROOT / path).exists()] == []


def test_every_secret_is_made_and_used(secrets: Path) -> None:
    used = {one["source"] for each in MODEL["services"].values() for one in each.get("secrets", [])}
    assert used == MODEL["secrets"].keys() == {path.name for path in secrets.iterdir()}
    for name, one in MODEL["secrets"].items():
        assert Path(one["file"]).parts[-2:] == ("secrets", name)


def test_secrets_are_random_and_kept(secrets: Path) -> None:
    before = {path.name: path.read_text().strip() for path in secrets.iterdir()}
    assert make_secrets(secrets).stdout.count("made") == 0
    assert {path.name: path.read_text().strip() for path in secrets.iterdir()} == before
    assert min(len(value) for value in before.values()) >= 24
    assert len(set(before.values())) == len(before)
    assert before["looma_password"] in before["database_url"]


def test_nobody_else_on_the_machine_reads_secrets(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for name in MADE:
        path = secrets / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        assert path.name in MODEL["secrets"]


@pytest.mark.parametrize(
    "script", sorted((ROOT / "docker").glob("*.sh")), ids=lambda path: path.name
)
def test_a_script_is_one(script: Path) -> None:
    shell = "bash" if "bash" in script.read_text().splitlines()[0] else "sh"
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & stat.S_IXUSR


def test_what_not_everybody_needs_is_in_profiles() -> None:
    profiles = {
        name: one["profiles"] for name, one in MODEL["services"].items() if "profiles" in one
    }
    assert profiles == {
        "mysql": ["sources"],
        "mongodb": ["sources"],
        "kibana-user": ["logs"],
        "kibana": ["logs"],
        "filebeat": ["logs"],
        "otel-collector": ["traces"],
        "jaeger": ["traces"],
        "backup": ["backup"],
        "blackbox-exporter": ["certificates"],
    }


def test_backups_are_of_the_servers_own_version_and_the_node_exporter_reads_what_they_tell() -> (
    None
):
    backup, exporter = service("backup"), service("node-exporter")
    assert backup["image"] == service("postgres")["image"]
    reaches("backup", "postgres")
    folder = {one["target"]: one["source"] for one in backup["volumes"]}["/textfiles"]
    read = {one["target"]: one["source"] for one in exporter["volumes"]}
    (told,) = [word for word in exporter["command"] if "textfile" in word]
    assert read[told.partition("=")[2]] == folder
    script = (ROOT / "docker" / "backup.sh").read_text()
    assert all(f"${{{name}:-" in script for name in backup["environment"] if "BACKUP" in name)


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("postgres", "pgvector/pgvector:.*-pg16"),
        ("neo4j", r"neo4j:5\.26\..*"),
        ("weaviate", r".*/weaviate:1\.27\.8"),
        ("redis", r"redis:7\..*"),
        ("elasticsearch", r".*/elasticsearch:8\.15\.3"),
    ],
)
def test_stores_are_of_the_versions_that_the_contract_tests_know(name: str, versions: str) -> None:
    assert re.fullmatch(versions, service(name)["image"])
