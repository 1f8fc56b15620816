"""The first start: one organisation, one admin, no default password."""

import asyncio
import stat

import pytest
import structlog

from ai_services.auth.bootstrap import FirstStart, bootstrap, take_password
from ai_services.auth.sign_in.passwords import Passwords
from shared.data_access.relational.postgres import Postgres
from shared.errors import ConfigError
from tests.ai_services.auth.conftest import config_in
from tests.ai_services.auth.harness import CHEAP, Clock, serve


@pytest.fixture
async def empty(database_url):
    postgres = Postgres(database_url)
    yield postgres
    await postgres.close()


@pytest.fixture
def passwords():
    hasher = Passwords(CHEAP)
    yield hasher
    hasher.close()


async def test_the_first_start_makes_an_admin_whose_random_password_is_shown_once(
    empty, cache, tmp_path
) -> None:
    config = config_in(tmp_path, ADMIN_EMAIL="Ops@Example.com", ORGANISATION="acme")
    with structlog.testing.capture_logs() as logs:
        async with serve(config, empty, cache) as served:
            made = await served.auth.start()
            assert (made.organisation, made.email) == ("acme", "ops@example.com")
            file = tmp_path / "first-admin-password"
            assert made.password_file == file
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert file.read_text() == made.password + "\n"
            assert len(made.password) >= 20
            assert await served.auth.start() is None
            data = await served.tokens("ops@example.com", made.password)
            assert data["user"]["role"] == "admin"
            assert not file.exists()  # gone once that admin is in
    assert made.password not in str(logs)
    assert made.password not in repr(made)
    assert str(file) in str(logs)


async def test_a_password_from_the_settings_is_neither_shown_nor_kept(
    empty, cache, tmp_path
) -> None:
    config = config_in(tmp_path, ADMIN_PASSWORD="a long pass phrase")
    async with serve(config, empty, cache) as served:
        made = await served.auth.start()
        assert (made.password, made.password_file) == (None, None)
        assert not (tmp_path / "first-admin-password").exists()
        await served.tokens("admin@looma.local", "a long pass phrase")


async def test_starts_at_once_make_one_organisation_and_one_admin(
    empty, passwords, tmp_path
) -> None:
    first = FirstStart.of(config_in(tmp_path))
    results = await asyncio.gather(*(bootstrap(empty, passwords, first, Clock()) for _ in range(8)))
    [made] = [result for result in results if result is not None]
    async with empty.system() as tx:
        assert await tx.fetchval("SELECT count(*) FROM organisation") == 1
        assert await tx.fetchval("SELECT count(*) FROM app_user") == 1
        stored = await tx.fetchval("SELECT password_hash FROM app_user")
    shown = take_password(first)
    assert shown == made.password
    assert await passwords.verify(stored, shown)
    assert take_password(first) is None


async def test_a_stale_password_file_is_replaced(empty, passwords, tmp_path) -> None:
    first = FirstStart.of(config_in(tmp_path))
    first.password_file.write_text("left over from a start that never committed\n")
    first.password_file.chmod(0o644)
    made = await bootstrap(empty, passwords, first, Clock())
    assert stat.S_IMODE(first.password_file.stat().st_mode) == 0o600
    assert take_password(first) == made.password


@pytest.mark.parametrize(
    ("setting", "value"),
    [("ADMIN_EMAIL", "nobody"), ("ADMIN_PASSWORD", "short"), ("ORGANISATION", "Acme Inc")],
)
def test_a_wrong_setting_is_named_and_a_secret_one_not_shown(tmp_path, setting, value) -> None:
    from ai_services.auth.app import create_service

    with pytest.raises(ConfigError, match=f"^{setting}: .*Example: {setting}=") as caught:
        create_service(config_in(tmp_path, **{setting: value}))
    assert setting != "ADMIN_PASSWORD" or f" {value} " not in caught.value.message
