"""A file of issuers that is wrong stops the gateway with a line that says what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import create_gateway
from gateway.auth.issuer_file import parse_issuers, read_issuers
from gateway.auth.issuers import mapped_role, said
from shared.errors import ConfigError
from shared.security import ROLE_SCOPES, USER_ROLES, Role
from tests.gateway.conftest import gateway_config

GOOD: dict[str, Any] = {
    "issuer": "https://login.acme.example",
    "jwks_url": "https://login.acme.example/certs",
    "algorithms": ["RS256"],
    "audience": "looma",
    "org_id": str(UUID(int=7)),
    "subject_prefix": "acme",
    "role_claim": "groups",
    "roles": {"crm-leads": "analyst"},
}


def parse(*items: Any) -> Any:
    return parse_issuers({"issuer": list(items)}, "looma", source="issuers.toml")


def test_a_good_entry_is_read() -> None:
    (one,) = parse(GOOD)
    assert (one.org_id, one.role_claim, one.begins) == (UUID(int=7), ("groups",), "nbf")
    assert (one.max_life, one.ca_file) == (3600, None)
    (nested,) = parse({**GOOD, "role_claim": ["realm_access", "roles"], "begins": "iat"})
    assert nested.role_claim == ("realm_access", "roles")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/certs",
        "http://localhost/certs",
        "http://[::1]:8080/certs",
        "https://idp.example:8443/realms/a%20b/certs?x=1",
    ],
)
def test_keys_come_by_tls_or_from_this_machine(url: str) -> None:
    assert parse({**GOOD, "jwks_url": url})[0].jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://login.acme.example/certs",
        "http://10.0.0.1/certs",
        "http://127.0.0.1.evil.example/certs",
        "http://localhost.evil.example/certs",
        "http://169.254.169.254/latest",
        "https://user:secret@login.acme.example/certs",
        "http://127.0.0.1@evil.example/certs",
        "https:///certs",
        "https://idp.example:99999/certs",
        "https://idp.example/certs#x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/certs",
        "login.acme.example/certs",
        "http://[::1/certs",
    ],
)
def test_keys_come_from_nowhere_else(url: str) -> None:
    with pytest.raises(ConfigError, match=r"jwks_url: .* must be https") as caught:
        parse({**GOOD, "jwks_url": url})
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"algorithms": ["HS256"]}, "algorithms .* shared secret"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["RS256", "HS512"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": "RS256"}, "algorithms"),
        ({"audience": ""}, "audience must be a text"),
        ({"audience": ["looma"]}, "audience must be a text"),
        ({"issuer": 5}, "issuer must be a text"),
        ({"org_id": "acme"}, "org_id: .*`looma orgs list`"),
        ({"org_id": str(UUID(int=0))}, "org_id"),
        ({"subject_prefix": "a:b"}, "subject_prefix"),
        ({"subject_prefix": "Acme"}, "subject_prefix"),
        ({"role_claim": []}, "role_claim"),
        ({"role_claim": [""]}, "role_claim"),
        ({"role_claim": 5}, "role_claim"),
        ({"roles": {}}, "roles must be a table"),
        ({"roles": {"x": "root"}}, "no such role"),
        ({"roles": {"x": "anonymous"}}, "no such role"),
        ({"roles": {"x": ["admin"]}}, "no such role"),
        ({"default_role": "agent"}, "unknown 'default_role'"),
        ({"ca_file": "/does/not/exist.pem"}, "no file"),
        ({"ca_file": "/" + "x" * 300}, "ca_file: can't read /xxx"),
        ({"begins": "exp"}, "begins must be nbf, or iat"),
        ({"max_life": 0}, "max_life"),
        ({"max_life": True}, "max_life"),
        ({"max_life": 86_401}, "max_life"),
    ],
)
def test_a_wrong_value_is_named_with_its_issuer(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"issuers.toml: issuer 2.*{problem}"):
        parse(
            {**GOOD, "issuer": "https://other.example", "subject_prefix": "o"}, {**GOOD, **changes}
        )


@pytest.mark.parametrize("name", sorted(GOOD))
def test_everything_must_be_said(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is missing"):
        parse({key: value for key, value in GOOD.items() if key != name})


def test_issuers_are_told_apart() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        parse(GOOD, {**GOOD, "subject_prefix": "other"})
    with pytest.raises(ConfigError, match="TOKEN_ISSUER"):
        parse({**GOOD, "issuer": "looma"})
    with pytest.raises(ConfigError, match="has the subject_prefix"):
        parse(GOOD, {**GOOD, "issuer": "https://other.example"})


@pytest.mark.parametrize("document", [{}, {"issuer": {}}, {"issuer": [5]}, {"issuers": []}])
def test_a_file_of_another_form_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must"):
        parse_issuers(document, "looma", source="issuers.toml")


def test_the_gateway_does_not_start_with_a_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "issuers.toml"
    with pytest.raises(ConfigError, match="GATEWAY_ISSUERS: can't read"):
        create_gateway(gateway_config(tmp_path, GATEWAY_ISSUERS=str(path)))
    path.write_text("[[issuer]\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        create_gateway(gateway_config(tmp_path, GATEWAY_ISSUERS=str(path)))
    path.write_text("")
    with pytest.raises(ConfigError, match="must hold"):
        create_gateway(gateway_config(tmp_path, GATEWAY_ISSUERS=str(path)))
    assert read_issuers(None, "looma") == ()


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    claims=st.dictionaries(st.text(max_size=3), json, max_size=4), way=st.lists(st.text(max_size=3))
)
def test_any_claim_yields_texts(claims: dict[str, Any], way: list[str]) -> None:
    assert all(isinstance(one, str) for one in said(claims, way))


@given(
    roles=st.dictionaries(st.text(max_size=2), st.sampled_from(USER_ROLES)),
    values=st.lists(st.text(max_size=2)),
)
def test_nobody_gets_a_role_that_none_of_his_values_maps_to(
    roles: dict[str, Role], values: list[str]
) -> None:
    role = mapped_role(roles, values)
    granted = [roles[value] for value in values if value in roles]
    assert role in granted if granted else role == "anonymous"
    assert all(ROLE_SCOPES[one] <= ROLE_SCOPES[role] for one in granted)
