r"""How many tokens a request can have at most, and how many a text has by an estimate.

The bound holds for every tokenizer in use: each of their tokens is at least one byte of the text
that they read (byte-level BPE as in tiktoken, Qwen, DeepSeek, Llama 3; SentencePiece with bytes to
fall back to), which is the text itself or one of its normal forms. What templates put around texts
is added with room to spare:

- each message 16 (marks of its begin and end, its role, line ends),
- a request 96 (begin of the text, a default system prompt, the begin of the answer),
- tools or a schema 600 (how to use them is told in prose), each tool 32. They count as JSON in the
  longest form that templates write: indented by four, not ASCII as \uXXXX, <>&' escaped,
- an image 50,000 whatever its size (gpt-4o-mini: at most 48,169; most others below 17,000). Sound,
  video and files count as one beside the bytes that they are sent in.

What a provider adds on its side (web search, files that it holds) nobody can bound here.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from string import ascii_letters, digits, punctuation
from typing import Any, Final

import orjson

_PER_MESSAGE: Final = 16
_PER_REQUEST: Final = 96
_PER_PROSE: Final = 600
_PER_TOOL: Final = 32
_PER_MEDIUM: Final = 50_000
_MEDIUM: Final = 800  # an image of usual size
_TOOLS: Final = ("tools", "functions", "response_format")
_NO_PROMPT: Final = frozenset({"model", "messages", "stream", "stream_options", "metadata", "user"})
_HTML: Final = re.compile(r"[<>&']")
_FORMS: Final = ("NFC", "NFKC")

# What one piece of a text takes, on the average of the tokenizers of OpenAI, Qwen and DeepSeek.
_PIECE: Final = re.compile(
    r"(?P<word>[A-Za-z]+)"
    r"|(?P<digits>[0-9]+)"
    r"|(?P<han>[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<kana>[\u3040-\u30ff\uac00-\ud7af]+)"
    r"|(?P<letters>[\u00c0-\u024f\u0370-\u1fff]+)"
    r"|(?P<space>\s+)"
    r"|(?P<marks>[!-/:-@\[-`{-~]+)"
    r"|(?P<wide>[\u2010-\u206f\u3000-\u303f\uff00-\uffef]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)


# The same of a text that is all ASCII, without a look at each piece: all but one kind made spaces.
def _only(kept: bytes) -> bytes:
    return bytes(byte if byte in kept else ord(" ") for byte in range(256))


_LETTERS: Final = _only(ascii_letters.encode())
_DIGITS: Final = _only(digits.encode())
_MARKS: Final = _only(punctuation.encode())
_PRINTED: Final = bytes(range(ord(" "), 0x7F))
_SPACES: Final = re.compile(r"[^\S ]\s*| \s+")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_LONG: Final = 7


def text_bound(text: str) -> int:
    """Bytes of UTF-8, of the longest of the forms in which a tokenizer may read it."""
    if text.isascii():
        return len(text)
    return max(
        len(text.encode(errors="replace")),
        *(
            len(unicodedata.normalize(form, text).encode(errors="replace"))
            for form in _FORMS
            if not unicodedata.is_normalized(form, text)
        ),
        0,
    )


def chat_bound(document: Mapping[str, Any]) -> int:
    """The most input tokens of a chat request, from its whole body."""
    total = _PER_REQUEST + sum(map(_message_bound, document["messages"]))
    for name in _TOOLS:
        value = document.get(name)
        if value:
            total += _PER_PROSE + _PER_TOOL * len(value)
    return total + sum(
        _json_bound(value) for name, value in document.items() if name not in _NO_PROMPT
    )


def input_bound(inputs: Sequence[str] | Sequence[Sequence[int]]) -> int:
    """The most tokens of an embeddings request; token numbers are one each."""
    return sum(
        (text_bound(one) if isinstance(one, str) else len(one)) + _PER_MESSAGE for one in inputs
    )


def estimate(text: str) -> int:
    """About how many tokens a text has, never more than its bytes.

    Compared with the tokenizers of GPT-4o, Qwen and DeepSeek: within 25 % for English, code, Chinese
    prose, JSON and lists of Chinese words. Qwen has a token for each digit,
    so that tables of numbers have twice as many; GPT-4's older one up to 60 % more for Chinese.
    Other scripts come out up to a half too high.
    """
    if text.isascii():
        return _ascii_estimate(text)
    return math.ceil(sum(map(_piece, _PIECE.finditer(text))))


def chat_estimate(document: Mapping[str, Any]) -> int:
    """About how many input tokens a chat request has, never more than its bound."""
    total = 3
    total += sum(map(_message_estimate, document["messages"]))
    return total + sum(
        estimate(orjson.dumps(document[name]).decode()) for name in _TOOLS if document.get(name)
    )


def input_estimate(inputs: Sequence[str] | Sequence[Sequence[int]]) -> int:
    """About how many tokens an embeddings request has, never more than its bound."""
    return sum(estimate(one) if isinstance(one, str) else len(one) for one in inputs)


def _ascii_estimate(text: str) -> int:
    written = text.encode()
    words = map(len, written.translate(_LETTERS).split())
    fifths = sum([5 if length <= _LONG else length for length in words])
    pairs = (*written.translate(_DIGITS).split(), *written.translate(_MARKS).split())
    total = sum([(len(one) + 1) // 2 for one in pairs]) - -fifths // 5
    if "  " in text or written.translate(None, _PRINTED):
        total += len(_SPACES.findall(text)) + len(_CONTROLS.findall(text))
    return total


def _piece(match: re.Match[str]) -> float:
    length = match.end() - match.start()
    match match.lastgroup:
        case "word":
            return 1.0 if length <= _LONG else length / 5.0
        case "digits":
            return math.ceil(length / 2.0)
        case "han":
            return 0.75 * length
        case "kana":
            return 0.9 * length
        case "letters":
            return 0.5 * length
        case "space":
            return 0.0 if length == 1 and match[0] == " " else 1.0
        case "marks":
            return math.ceil(length / 2.0)
        case "wide":
            return 0.9 * length
        case _:
            return min(2.0, len(match[0].encode(errors="replace")))


def _message_bound(message: Mapping[str, Any]) -> int:
    """Texts are told as they are; what else a message holds, tool calls above all, as JSON."""
    rest = {name: value for name, value in message.items() if name != "content"}
    # Most messages have a role and nothing else beside their content.
    role = _OF_ROLES.get(str(message.get("role"))) if len(rest) == 1 else None
    told = _json_bound(rest) if role is None else role
    return _PER_MESSAGE + _content_bound(message.get("content")) + told


def _message_estimate(message: Mapping[str, Any]) -> int:
    rest = {name: one for name, one in message.items() if name not in ("content", "role")}
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    total = 4 + (estimate(orjson.dumps(rest).decode()) if rest else 0)
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        total += estimate(text) if isinstance(text, str) else _MEDIUM
    return total


def _content_bound(content: object) -> int:
    if isinstance(content, str):
        return text_bound(content)
    if isinstance(content, list):
        return sum(map(_part_bound, content))
    return _json_bound(content)


def _part_bound(part: object) -> int:
    if not isinstance(part, dict):
        return _json_bound(part)
    kind, text = part.get("type"), part.get("text")
    if kind in ("image_url", "image"):
        return _PER_MEDIUM
    if isinstance(text, str) and kind in ("text", "input_text"):
        return text_bound(text) + _json_bound(part) - _json_bound(text)
    return _PER_MEDIUM + _json_bound(part)


def _json_bound(value: object) -> int:
    """Bytes of the longest JSON that a template makes of a value."""
    if value is None or isinstance(value, bool | int | float):
        return 8 + len(str(value))
    compact = orjson.dumps(value)
    indented = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    plain = json.dumps(value)
    expanded = text_bound(compact.decode()) - len(compact)
    return (
        len(plain)
        + 2 * (len(indented) - len(compact))
        + 5 * len(_HTML.findall(plain))
        + max(expanded, 0)
    )


_OF_ROLES: Final = {
    role: _json_bound({"role": role}) for role in ("system", "developer", "user", "assistant")
}
