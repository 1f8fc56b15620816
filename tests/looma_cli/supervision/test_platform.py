"""Which processes make up the platform."""

from pathlib import Path

from looma_cli.supervision.platform import programs
from shared.config import Config
from shared.services import SERVICE_NAMES
from tests.looma_cli.supervision.test_supervisor import any_free


def test_replicas_beyond_the_first_have_names_of_their_own_and_free_ports(tmp_path: Path) -> None:
    settings = {"LOOMA_HOME": str(tmp_path), "GATEWAY_PORT": str(any_free())}
    config = Config.from_env(settings)
    (gateway,), services = programs(config, {"ORGANISATION": "one"}, {"enrichment": 3})
    assert gateway.name == "gateway"
    assert [one.name for one in services] == [*SERVICE_NAMES, "enrichment-2", "enrichment-3"]
    replicas = [one for one in services if one.service == "enrichment"]
    assert [one.module for one in replicas] == ["ai_services.enrichment"] * 3
    ports = [one.address.port for one in replicas if one.address is not None]
    assert ports == [config.port_of("enrichment"), 0, 0]
    assert all(one.settings["ORGANISATION"] == "one" for one in services)
