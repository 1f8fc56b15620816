"""Settings: defaults, errors that name the setting, secrets that stay secret."""

from pathlib import Path

import pytest

from shared.config import SETTINGS, Config, env_example
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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "DATABASE_POOL_SIZE",
            "0",
            (
                "DATABASE_POOL_SIZE: '0' does not fit: must be a whole number above 0. "
                "Example: DATABASE_POOL_SIZE=20"
            ),
        ),
        (
            "AUTH_PORT",
            "0",
            "AUTH_PORT: '0' does not fit: a port is a number from 1 to 65535. Example: AUTH_PORT=8211",
        ),
        (
            "REDIS_URL",
            "cache:6379",
            (
                "REDIS_URL: the value given does not fit: must be a URL that starts with redis:// or "
                "rediss:// or unix://. Example: REDIS_URL=redis://:secret@cache:6379/0"
            ),
        ),
        (
            "LOOMA_HOME",
            "~nobody-of-this-name/looma",
            (
                "LOOMA_HOME: '~nobody-of-this-name/looma' does not fit: there is no such user's home; "
                "name the folder by its path. Example: LOOMA_HOME=/var/lib/looma"
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: value})
    assert str(caught.value) == message


def test_a_value_of_spaces_is_none() -> None:
    assert Config.from_env({"DATABASE_URL": " ", "BIND_HOST": " "}) == Config.from_env({})


def test_a_process_is_reached_where_it_listens_unless_told_otherwise() -> None:
    assert Config.from_env({"BIND_HOST": "10.0.0.5"}).advertise_host == "10.0.0.5"
    told = Config.from_env({"BIND_HOST": "0.0.0.0", "ADVERTISE_HOST": "portrait-1"})
    assert (told.bind_host, told.advertise_host) == ("0.0.0.0", "portrait-1")


def test_files_are_paths_and_the_home_is_absolute() -> None:
    config = Config.from_env({"LOOMA_HOME": "~/looma", "GATEWAY_ROUTES": "routes.toml"})
    assert config.home == Path.home() / "looma"
    assert config.gateway_routes == Path("routes.toml")


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


def test_keys_of_providers_are_told_by_their_names(tmp_path: Path) -> None:
    kept = tmp_path / "key"
    kept.write_text("sk-kept\n")
    kept.chmod(0o400)
    config = Config.from_env(
        {"LLM_KEY_QWEN": "sk-given", "LLM_KEY_DOU_BAO_FILE": str(kept), "LLM_KEY_NONE": " "}
    )
    assert config.llm_keys == {"QWEN": "sk-given", "DOU_BAO": "sk-kept"}
    assert "sk-" not in repr(config)
    assert Config.from_env({"LLM_KEY_": "x", "LLM_KEY_qwen": "x"}).llm_keys == {}


def test_a_key_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^LLM_KEY_QWEN: given twice"):
        Config.from_env({"LLM_KEY_QWEN": "sk-given", "LLM_KEY_QWEN_FILE": str(tmp_path)})


def test_every_setting_has_a_field_and_a_meaning() -> None:
    fields = set(Config.__dataclass_fields__)
    many = {"LLM_KEY_NAME": "llm_keys", "SOURCE_SECRET_NAME": "source_secrets"}
    renamed = {"LOOMA_HOME": "home", **many} | {one.port_setting: "ports" for one in PROCESSES}
    for setting in SETTINGS:
        assert renamed.get(setting.name, setting.name.lower()) in fields
        assert setting.meaning
        assert setting.example
    assert env_example().count("\n# ") >= len(SETTINGS)


def test_the_examples_parse() -> None:
    examples = {s.name: s.example for s in SETTINGS if "hex digits" not in s.example}
    config = Config.from_env(examples)
    assert config.gateway_port == 8206
    assert config.graph_url == "bolt://neo4j:secret@graph:7687/neo4j"


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
