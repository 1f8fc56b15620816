"""How a setting is written: a parser for each kind of value, ValueError saying what it should be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def folder(text: str) -> Path:
    """An absolute path; `~` is the home of the user."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("there is no such user's home; name the folder by its path") from error


def port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return number


def positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError("must be a whole number above 0")
    return number


def natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("must be a whole number, 0 or more")
    return number


def up_to_thousand(text: str) -> int:
    number = int(text)
    if not 0 < number <= 1000:
        raise ValueError("must be a whole number from 1 to 1000")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 10**9:
        raise ValueError("must be a number of seconds above 0")
    return number


def at_least_500(text: str) -> int:
    number = int(text)
    if number < 500:
        raise ValueError("must be a whole number from 500")
    return number


def share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError("must be a number from 0 to 1")
    return number


def microseconds(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 10_000:
        raise ValueError("must be a whole number of microseconds from 0 to 10000")
    return number


def pause(text: str) -> float:
    number = float(text)
    if not 0 <= number < 3600:
        raise ValueError("must be a number of seconds from 0 to 3600")
    return number


def choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.lower()

    return parse


def analyzer(text: str) -> str:
    """A kind of analyser, or a model of one's own: `trained:NAME`, one version of it `trained:NAME@2`."""
    if text.lower() in ("auto", "local", "llm"):
        return text.lower()
    if re.fullmatch(r"trained:[a-z0-9][a-z0-9_-]{0,39}(@[1-9][0-9]{0,5})?", text):
        return text
    raise ValueError("must be auto, local, llm or trained:NAME")


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if urlsplit(text).scheme not in schemes:
            raise ValueError(
                f"must be a URL that starts with {' or '.join(s + '://' for s in schemes)}"
            )
        return text

    return parse


def secret32(text: str) -> bytes:
    raw = text.encode()
    if len(raw) < 32:
        raise ValueError("must have at least 32 characters (try: openssl rand -hex 32)")
    return raw


def country(text: str) -> str:
    if text != "CN":  # whose default needs no look into 250 countries
        from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - 30 ms that few settings need

        if text not in SUPPORTED_REGIONS:
            raise ValueError("two capital letters that ISO 3166 has")
    return text


def switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("on or off")
    return text == "on"


def timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("must be an IANA time zone") from error
    return text


def upstreams(text: str) -> dict[str, tuple[str, ...]]:
    result: dict[str, list[str]] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        service, separator, url = item.partition("=")
        if not separator or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{item!r} is not service=http://host:port")
        result.setdefault(service, []).append(url.rstrip("/"))
    return {service: tuple(urls) for service, urls in result.items()}


def origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or parts.path or parts.query):
            raise ValueError(f"{origin!r} is not an origin: scheme://host[:port], or * for all")
    return origins


def networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
