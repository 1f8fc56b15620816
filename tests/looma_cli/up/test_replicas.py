"""`--replicas`: what it takes, and what it says of the rest."""

import pytest

from looma_cli.up.replicas import parsed, written
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], {}),
        (["enrichment=3,portrait=2"], {"enrichment": 3, "portrait": 2}),
        (["enrichment=3", " portrait = 1 "], {"enrichment": 3, "portrait": 1}),
        (["auth=64"], {"auth": 64}),
    ],
)
def test_numbers_of_replicas_are_read(given: list[str], found: dict[str, int]) -> None:
    assert parsed(given) == found
    if found:
        assert parsed([written(found)]) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["resume=2"], r"no service 'resume'\. Name one of auth, enrichment, portrait"),
        (["auth"], r"'auth' does not say how many\. Write NAME=NUMBER"),
        ([""], r"'' does not say how many"),
        (["auth=2,auth=3"], r"auth is named twice\. Name each service once"),
        (["auth=2", "auth=2"], r"auth is named twice"),
        (["gateway=4"], r"one gateway on one port\. Set GATEWAY_WORKERS=4"),
        (["auth=0"], r"auth=0 is no number of replicas\. Write one from 1 to 64"),
        (["auth=65"], r"auth=65 is no number"),
        (["auth=-1"], r"auth=-1 is no number"),
        (["auth=2.5"], r"auth=2\.5 is no number"),
        (["auth=\u0663"], r"auth=\u0663 is no number"),
        (["auth=" + "9" * 5000], r"auth=9{20} is no number"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--replicas: .*{said}") as caught:
        parsed(given)
    assert "\n" not in caught.value.message
