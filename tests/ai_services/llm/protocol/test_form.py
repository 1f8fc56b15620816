"""Forms with a file, as clients send them and as attackers do."""

from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.protocol.form import read_form
from shared.errors import MalformedRequest


@given(st.binary(max_size=200), st.text(st.characters(codec="ascii", categories=["L", "N"])))
def test_what_a_client_puts_into_a_form_is_read(content: bytes, name: str) -> None:
    sent = httpx.Request(
        "POST", "http://x", data={"purpose": "batch"}, files={"file": (f"{name}.jsonl", content)}
    )
    fields = read_form(sent.headers["content-type"], sent.read())
    assert (fields["file"].content, fields["file"].filename) == (content, f"{name}.jsonl")
    assert (fields["purpose"].content, fields["purpose"].filename) == (b"batch", "")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b"no form"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx'),
        ("multipart/form-data; boundary=b", b"--b\r\nx\r\n" * 1000),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read_form(content_type, body)


@given(st.text(), st.binary())
def test_anything_else_is_a_form_or_refused(content_type: str, body: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        read_form(content_type, body)


@given(st.text(), st.binary(max_size=50))
def test_names_of_files_can_be_kept_whatever_they_are(disposition: str, content: bytes) -> None:
    head = f"Content-Disposition: form-data; name=file; {disposition}".encode(errors="replace")
    body = b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n--b--\r\n"
    with contextlib.suppress(MalformedRequest):
        for part in read_form("multipart/form-data; boundary=b", body).values():
            part.filename.encode()
