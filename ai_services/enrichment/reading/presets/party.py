"""Who is at the ends of a line, as switches write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

NOBODY: Final = "pbx"  # the account of calls that no account had: an IVR, an abandoned queue
_EXTENSION: Final = re.compile(r"\d{2,6}", re.ASCII)
_NUMBER: Final = re.compile(r"\+?\d{7,20}", re.ASCII)
_FILLERS: Final = re.compile(r"[\s().\-]")
_CHANNEL: Final = re.compile(r"[A-Za-z0-9_]+/([^@\-;/]+)")
_SIP: Final = re.compile(r"(?:sips?|tel|client):([^@;]+)")


def text(row: Mapping[str, Any], name: str) -> str:
    """A cell without blanks around it; "" for none."""
    value = row.get(name)
    return "" if value is None else str(value).strip()


def extension(written: str) -> str | None:
    """A number inside of the house: 2 to 6 digits, `Ext.1001`, `"Desk" <1001>`."""
    address = written.rstrip()
    _, bracket, inside = address.removesuffix(">").rpartition("<")
    in_brackets = bracket and address.endswith(">")
    plain = (inside if in_brackets else written).strip().removeprefix("Ext.")
    return plain if _EXTENSION.fullmatch(plain) else None


def number(written: str) -> str | None:
    """A number outside of the house, without what is between its digits; None for what is none."""
    address = _SIP.match(written)
    plain = _FILLERS.sub("", address[1] if address else written)
    return plain if _NUMBER.fullmatch(plain) else None


def peer(channel: str) -> str | None:
    """The extension at the other end of an Asterisk channel: 602 of `PJSIP/602-0000a1`, and of
    `Local/602@from-queue-00001;1`; None for a trunk.
    """
    found = _CHANNEL.match(channel)
    return extension(found[1]) if found else None


def seconds(written: str) -> float | None:
    """Of `65`, `65.5`, `1:05`, `00:01:05.123`; None for what is no duration."""
    parts = written.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    if len(values) > 3 or any(value < 0 for value in values):
        return None
    total = 0.0
    for value in values:
        total = total * 60 + value
    return total


def milliseconds(written: str) -> int | str | None:
    """Of what `seconds` reads; anything else stays as it is, for the checks to tell."""
    if not written:
        return None
    length = seconds(written)
    return written if length is None else round(length * 1000)
