"""Which characters and words an expression may hold at all, before Python's grammar sees them.

A whitelist of tokens: nothing else reaches `ast`, so that prefixes of texts, escapes, comments, look-alikes
of letters and brackets without end are refused here, by position.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.expressions.errors import ExpressionInvalid, Finding
from shared.expressions.limits import MAX_BYTES, MAX_DEPTH, MAX_TEXT_CHARS

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\n]+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"[^"\\\n]*"|'[^'\\\n]*')
      | (?P<operator><=|>=|==|!=|\*\*|//|[-+*/%<>()\[\],.])""",
    re.VERBOSE,
)
_WORDS: Final = frozenset({"and", "or", "not", "in", "True", "False"})
_FOREIGN: Final = {
    "is": (
        "there is no `is`",
        "write == to compare; a comparison with what isn't known never holds",
    ),
    "None": ("there is no None", "leave it out: a comparison with what isn't known never holds"),
    "if": ("there are no conditionals", "join conditions by and, or, not"),
    "else": ("there are no conditionals", "join conditions by and, or, not"),
    "lambda": ("there are no functions to define", "write the condition itself"),
    "for": ("there are no loops", "write the condition itself"),
    "AND": ("words are written small", "write and"),
    "OR": ("words are written small", "write or"),
    "NOT": ("words are written small", "write not"),
    "null": ("there is no null", "leave it out: a comparison with what isn't known never holds"),
    "true": ("true is written True", "write True"),
    "false": ("false is written False", "write False"),
}
_KEYWORDS: Final = frozenset(
    [
        "as",
        "assert",
        "async",
        "await",
        "break",
        "class",
        "continue",
        "def",
        "del",
        "elif",
        "except",
        "finally",
        "from",
        "global",
        "import",
        "nonlocal",
        "pass",
        "raise",
        "return",
        "try",
        "while",
        "with",
        "yield",
    ]
)
_STRANGE: Final = {
    "\\": ("a backslash stands for nothing here", "write the character itself"),
    "#": ("there are no comments", "describe the expression in its description"),
    "=": ("= compares nothing", "write == to compare"),
    "!": ("! is no operator", "write not, or != to compare"),
    "&": ("& is no operator", "write and"),
    "|": ("| is no operator", "write or"),
    "^": ("^ is no operator", "there is no power"),
    "~": ("~ is no operator", "write not"),
    "{": ("there are no sets and maps", "write a list: in [1, 2]"),
    "'": ("a text doesn't end", "close it on its line"),
    '"': ("a text doesn't end", "close it on its line"),
}
_CLOSING: Final = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def scanned(source: object) -> str:
    """The text of an expression that has nothing but tokens of the language; ExpressionInvalid."""
    if not isinstance(source, str):
        raise _refused("", 0, "an expression is a text", "send a text")
    if len(source) > MAX_BYTES or len(source.encode("utf-8", "replace")) > MAX_BYTES:
        raise _refused("", 0, f"it has more than {MAX_BYTES} bytes", "write several shorter ones")
    source = source.replace("\r\n", "\n")
    if not source.strip(" \t\n"):
        raise _refused("", 0, "it is empty", "write a condition, e.g. total_calls >= 5")
    open_brackets: list[_Token] = []
    before: _Token | None = None
    for token in _tokens(source):
        _check_word(source, token)
        _check_text(source, token, before)
        _check_bracket(source, token, open_brackets)
        before = token
    if open_brackets:
        raise _refused(source, open_brackets[-1].start, "a bracket isn't closed", "close it")
    return source


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise _strange(source, at)
        kind = str(match.lastgroup)
        if kind == "number" and re.match(r"[\w.]", source[match.end() : match.end() + 1]):
            problem = "a number runs into a letter or a second point"
            raise _refused(source, match.end(), problem, "write e.g. 0.25, 1e6 or 1000")
        if kind != "space":
            yield _Token(kind, match[0], at, match.end())
        at = match.end()


def _check_word(source: str, token: _Token) -> None:
    if token.text == "**":
        raise _refused(source, token.start, "there is no power", "write a product")
    if token.kind != "name" or token.text in _WORDS:
        return
    if token.text in _FOREIGN:
        raise _refused(source, token.start, *_FOREIGN[token.text])
    if token.text in _KEYWORDS:
        problem = f"{token.text} is no word of expressions"
        raise _refused(source, token.start, problem, "write a condition over fields")


def _check_text(source: str, token: _Token, before: _Token | None) -> None:
    if token.kind != "text":
        return
    if before is not None and before.end == token.start and before.kind in ("name", "text"):
        fault = ("a text has a letter before it", "leave the letter out")
        if before.kind == "text" or before.text in _WORDS:
            fault = (
                "two things stand together",
                "put a comma, an operator or a space between them",
            )
        raise _refused(source, before.start, *fault)
    if before is not None and before.kind == "text":
        raise _refused(
            source, token.start, "two texts follow each other", "put a comma between them"
        )
    if len(token.text) - 2 > MAX_TEXT_CHARS:
        problem = f"a text has more than {MAX_TEXT_CHARS} characters"
        raise _refused(source, token.start, problem, "shorten it")
    for place, character in enumerate(token.text):
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            problem = f"a text holds U+{ord(character):04X}, which nobody sees"
            raise _refused(source, token.start + place, problem, "leave it out")


def _check_bracket(source: str, token: _Token, open_brackets: list[_Token]) -> None:
    if token.kind != "operator":
        return
    if token.text in "([":
        open_brackets.append(token)
        if len(open_brackets) > MAX_DEPTH:
            problem = f"brackets are nested more than {MAX_DEPTH} deep"
            raise _refused(source, token.start, problem, "write several shorter expressions")
    elif token.text in _CLOSING and (
        not open_brackets or open_brackets.pop().text != _CLOSING[token.text]
    ):
        raise _refused(source, token.start, f"{token.text} closes nothing", "leave it out")


def _strange(source: str, at: int) -> ExpressionInvalid:
    character = source[at]
    if character.isascii() and character.isprintable():
        default = (f"{character} has no meaning here", "leave it out")
        return _refused(source, at, *_STRANGE.get(character, default))
    problem = f"U+{ord(character):04X} stands outside of a text"
    return _refused(source, at, problem, "names and operators are ASCII: type it anew")


def place(source: str, at: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at index `at`."""
    line_start = source.rfind("\n", 0, at) + 1
    return source.count("\n", 0, at) + 1, at - line_start + 1


def _refused(source: str, at: int, problem: str, hint: str) -> ExpressionInvalid:
    return ExpressionInvalid([Finding(*place(source, at), problem, hint)])
