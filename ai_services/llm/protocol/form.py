"""Forms with a file (multipart/form-data, RFC 7578), as OpenAI's clients send them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Final

from shared.errors import MalformedRequest

_MOST_PARTS: Final = 20
_BREAK: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; `filename` '' for one that is no file."""

    filename: str
    content: bytes = field(repr=False)


def read_form(content_type: str, body: bytes) -> Mapping[str, Part]:
    """The fields by their names, of two the first; MalformedRequest for what is no form."""
    about = Message()
    about["Content-Type"] = content_type
    boundary = about.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70:  # RFC 2046 §5.1.1
        raise MalformedRequest("The Content-Type names no boundary. Send multipart/form-data.")
    mark = _BREAK + b"--" + boundary.encode(errors="replace")
    parts = (_BREAK + body).split(mark, _MOST_PARTS + 1)[1:]
    if not parts or not any(part.startswith(b"--") for part in parts):
        raise MalformedRequest("The form has no end, or too many fields. Send all of it.")
    fields: dict[str, Part] = {}
    for part in parts:
        if part.startswith(b"--"):
            break
        name, read = _part(part)
        fields.setdefault(name, read)
    return fields


def _part(raw: bytes) -> tuple[str, Part]:
    """What stands between two boundaries: headers, an empty line, the content."""
    head, found, content = raw.partition(_BREAK * 2)
    about = Message()
    for line in head.decode(errors="replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            about["Content-Disposition"] = value.strip()
    field_name = about.get_param("name", header="Content-Disposition")
    if not found or not isinstance(field_name, str):
        raise MalformedRequest("A field of the form has no name, or no content. Send both.")
    return field_name, Part(about.get_filename() or "", content)
