"""Settings: defaults, errors that name the setting, secrets that stay secret."""

from pathlib import Path

import pytest

from shared.config import SETTINGS, Config, env_example, parse_settings
from shared.errors import ConfigError
from shared.secrets import data_key, internal_token_secret, secret
from shared.services import PROCESSES, SERVICES


def test_an_empty_environment_gives_the_defaults() -> None:
    config = Config.from_env({})
    assert (config.gateway_port, config.bind_host) == (8206, "127.0.0.1")
    assert config.database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "eighty"),
        ("GATEWAY_PORT", "70000"),
        ("DATABASE_URL", "mysql://u:secretpw@h/d"),
        ("INTERNAL_TOKEN_SECRET", "short-secretpw"),
        ("DEFAULT_TIMEZONE", "Mars/Olympus"),
        ("GATEWAY_UPSTREAMS", "portrait:8215"),
        ("GATEWAY_BUSY_POLL_US", "-1"),
        ("GATEWAY_BUSY_POLL_US", "10001"),
        ("GATEWAY_BUSY_POLL_US", "0.4"),
        ("SHUTDOWN_SECONDS", "-1"),
        ("SHUTDOWN_SECONDS", "nan"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_malformed_setting_is_named_with_an_example(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: .*Example: {name}=") as caught:
        Config.from_env({name: value})
    assert "secretpw" not in str(caught.value)


def test_secrets_are_not_in_the_repr() -> None:
    config = Config.from_env(
        {
            "DATABASE_URL": "postgresql://u:hunter2@h/d",
            "ADMIN_PASSWORD": "hunter2",
            "DATA_KEY": "hunter2" * 10,
        }
    )
    assert "hunter2" not in repr(config)


def test_each_process_has_a_port_that_a_setting_names() -> None:
    config = Config.from_env({one.port_setting: str(40_000 + one.port) for one in PROCESSES})
    assert all(config.port_of(one.name) == 40_000 + one.port for one in PROCESSES)
    assert all(Config.from_env({}).port_of(one.name) == one.port for one in SERVICES)
    with pytest.raises(KeyError):
        config.port_of("nobody")


def test_static_upstreams_are_grouped_by_service() -> None:
    config = Config.from_env({"GATEWAY_UPSTREAMS": "a=http://x:1, a=http://y:2/,b=http://z:3"})
    assert config.gateway_upstreams == {"a": ("http://x:1", "http://y:2"), "b": ("http://z:3",)}


def test_every_setting_has_a_field_and_a_meaning() -> None:
    fields = set(Config.__dataclass_fields__)
    renamed = {"LOOMA_HOME": "home"} | {one.port_setting: "ports" for one in PROCESSES}
    for setting in SETTINGS:
        assert renamed.get(setting.name, setting.name.lower()) in fields
        assert setting.meaning
        assert setting.example
    assert env_example().count("\n# ") >= len(SETTINGS)


def test_the_examples_parse() -> None:
    examples = {s.name: s.example for s in SETTINGS if "hex digits" not in s.example}
    assert parse_settings(examples)["GATEWAY_PORT"] == 8206


def test_a_secret_is_made_once_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    home = tmp_path / "数据 home"
    first = secret(home, "data-key")
    assert secret(home, "data-key") == first
    assert len(first) == 64
    assert (home / "secrets" / "data-key").stat().st_mode & 0o777 == 0o600
    assert (home / "secrets").stat().st_mode & 0o777 == 0o700
    config = Config.from_env({"LOOMA_HOME": str(home)})
    assert data_key(config) == first
    assert internal_token_secret(config) != first


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="LOOMA_HOME"):
        secret(tmp_path / "file" / "home", "data-key")
