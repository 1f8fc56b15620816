"""Secrets as files: taken where only we read them, refused where they are no secrets."""

import re
from pathlib import Path

import pytest

from shared.config import SETTINGS, Config
from shared.errors import ConfigError
from shared.services import SERVICES

PASSWORD = "correct-horse-battery"
SECRETS = [setting.name for setting in SETTINGS if setting.secret]


def write(path: Path, text: str | bytes, mode: int = 0o400) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_a_file_gives_the_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "url", f"postgresql://looma:{PASSWORD}@db/looma\n")
    config = Config.from_env({"DATABASE_URL_FILE": str(path)})
    assert config.database_url == f"postgresql://looma:{PASSWORD}@db/looma"


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_can_be_a_file(name: str, tmp_path: Path) -> None:
    """All are read: the one that is missing is named."""
    with pytest.raises(ConfigError, match=rf"^{name}_FILE: {tmp_path}/away can't be read"):
        Config.from_env({f"{name}_FILE": str(tmp_path / "away")})


def test_what_is_no_secret_is_not_read_from_a_file() -> None:
    name = SERVICES[0].port_setting
    assert Config.from_env({f"{name}_FILE": "/nowhere"}).port_of(SERVICES[0].name)


@pytest.mark.parametrize("mode", [0o404, 0o444, 0o644, 0o402, 0o666])
def test_a_file_that_all_may_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    path = write(tmp_path / "password", PASSWORD, mode)
    with pytest.raises(ConfigError, match=rf"ADMIN_PASSWORD_FILE: .*{mode:03o}.*chmod 400 {path}"):
        Config.from_env({"ADMIN_PASSWORD_FILE": str(path)})


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_owner_and_group_may_read_it(mode: int, tmp_path: Path) -> None:
    path = write(tmp_path / "password", PASSWORD, mode)
    assert Config.from_env({"ADMIN_PASSWORD_FILE": str(path)}).admin_password == PASSWORD


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        ("a" * 20_000, "has more than 16384 bytes"),
        ("change-me", "placeholder"),
        ("ChangeMe\n", "placeholder"),
        ("please-change-me-to-32-characters-or-more", "placeholder"),
        ("<your password>", "placeholder"),
        ("secret", "placeholder"),
        ("xxxx", "placeholder"),
    ],
)
def test_what_is_no_secret_is_refused(content: str | bytes, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "admin", content)
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"ADMIN_PASSWORD_FILE": str(path)})
    assert re.match(rf"ADMIN_PASSWORD_FILE: {path} .*{problem}.*Example: ", str(caught.value))
    assert "please" not in str(caught.value)  # nothing of what it holds


@pytest.mark.parametrize(
    "setting", [one for one in SETTINGS if one.secret], ids=lambda one: one.name
)
def test_the_example_of_a_setting_is_a_placeholder(setting: object, tmp_path: Path) -> None:
    name, example = setting.name, setting.example  # type: ignore[attr-defined]
    path = write(tmp_path / "example", example)
    with pytest.raises(ConfigError, match=f"{name}_FILE: .*placeholder"):
        Config.from_env({f"{name}_FILE": str(path)})


@pytest.mark.parametrize("password", ["change-me", "changeme", "secret", "%3Cpassword%3E"])
def test_a_placeholder_within_a_url_is_refused(password: str, tmp_path: Path) -> None:
    path = write(tmp_path / "url", f"redis://:{password}@redis:6379/0")
    with pytest.raises(ConfigError, match=r"REDIS_URL_FILE: .*placeholder"):
        Config.from_env({"REDIS_URL_FILE": str(path)})


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "password", PASSWORD)
    with pytest.raises(ConfigError, match="ADMIN_PASSWORD: given twice"):
        Config.from_env({"ADMIN_PASSWORD": PASSWORD, "ADMIN_PASSWORD_FILE": str(path)})


def test_a_value_that_does_not_fit_is_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "url", f"mysql://u:{PASSWORD}@h/d")
    with pytest.raises(ConfigError, match="DATABASE_URL: the value given") as caught:
        Config.from_env({"DATABASE_URL_FILE": str(path)})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("path", ["/", "a\0b", "/proc/self/nothing/there"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"DATA_KEY_FILE: .* can't be read"):
        Config.from_env({"DATA_KEY_FILE": path})
