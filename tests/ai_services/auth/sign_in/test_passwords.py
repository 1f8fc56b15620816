"""Passwords and e-mail addresses: what is accepted, and one form for each."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.auth.emails import normalise_email, require_email
from ai_services.auth.sign_in.passwords import (
    HashCost,
    Passwords,
    random_password,
    require_password,
)
from shared.errors import InvalidInput, TooManyRequests
from tests.ai_services.auth.harness import CHEAP, PASSWORD


@pytest.fixture
def passwords():
    hasher = Passwords(CHEAP)
    yield hasher
    hasher.close()


async def test_a_hash_verifies_its_password_and_no_other(passwords) -> None:
    encoded = await passwords.hash(PASSWORD)
    assert encoded.startswith("$argon2id$")
    assert await passwords.verify(encoded, PASSWORD)
    assert not await passwords.verify(encoded, PASSWORD + " ")
    assert not await passwords.verify(None, PASSWORD)
    assert not await passwords.verify("not a hash", PASSWORD)


async def test_hashing_leaves_the_loop_free() -> None:
    hasher = Passwords(HashCost(memory_kib=65536, passes=3))
    ticks, done = 0, asyncio.create_task(hasher.hash(PASSWORD))
    while not done.done():
        await asyncio.sleep(0.005)
        ticks += 1
    hasher.close()
    assert ticks >= 3


async def test_the_queue_is_bounded_and_frees_itself_after_a_cancelled_wait() -> None:
    hasher = Passwords(HashCost(memory_kib=16384, passes=2, threads=1, waiting=2))
    waiting = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests) as refused:
        await hasher.hash(PASSWORD)
    assert refused.value.retry_after
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(5):
        while True:
            try:
                await hasher.hash(PASSWORD)
                break
            except TooManyRequests:
                await asyncio.sleep(0.01)
    hasher.close()


@given(st.text(max_size=300))
def test_an_accepted_password_stays_the_same_when_given_again(text) -> None:
    try:
        accepted = require_password(text, email="a@b.test")
    except InvalidInput:
        return
    assert require_password(accepted, email="a@b.test") == accepted
    assert 12 <= len(accepted) <= 256


def test_lone_surrogates_are_refused_and_random_passwords_accepted() -> None:
    with pytest.raises(InvalidInput, match="Unicode"):
        require_password("correct horse \ud800", email="a@b.test")
    for _ in range(50):
        require_password(random_password(), email="a@b.test")


@given(st.text(max_size=300))
def test_normalising_an_address_twice_changes_nothing(text) -> None:
    email = normalise_email(text)
    assert email is None or normalise_email(email) == email


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" Li.Na@Example.COM\n", "li.na@example.com"),
        ("admin@looma.local", "admin@looma.local"),
        ("root@localhost", "root@localhost"),
        ("a+tag@x-y.test", "a+tag@x-y.test"),
        ("", None), ("@", None), ("a@", None), ("@b", None), ("a@b@c", None), ("a b@c", None),
        ("a@-b.test", None), ("a@b..test", None), ("a\0@b.test", None), ("a@b.test\0", None),
        ("İ@b.test", None), ("x" * 65 + "@b.test", None), ("a@" + "b" * 64, None),
        ("a@" + ".".join(["b" * 60] * 5), None),
    ],
)  # fmt: skip
def test_addresses(text, email) -> None:
    assert normalise_email(text) == email
    if email is None:
        with pytest.raises(InvalidInput) as caught:
            require_email(text)
        assert caught.value.details[0].field == "email"
