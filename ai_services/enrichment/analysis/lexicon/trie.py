"""Many fixed terms as one regular expression that reads a text in linear time.

Terms share their prefixes, so at each position the engine follows one path of the trie and
never goes back further than the length of the longest term.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import itemgetter
from typing import TypeAlias

Trie: TypeAlias = dict[str, "Trie"]

_FEW = 24  # branches that are tried one by one
_END = ""  # marks a node where a term ends
_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_NOT_AFTER_ALNUM = "(?<![a-z0-9])"
_NOT_BEFORE_ALNUM = "(?![a-z0-9])"


def expression(terms: Iterable[str]) -> str:
    """Source of an expression that matches the longest of `terms` at a position.

    Terms are lower case. Where a term begins or ends with a Latin letter or digit it matches
    whole words only; next to Chinese characters there is no such thing as a word boundary.
    """
    words: Trie = {}
    others: Trie = {}
    for term in terms:
        _insert(words if term[0] in _ALNUM else others, term)
    branches = [_branches(others)] if others else []
    if words:
        branches.append(f"{_NOT_AFTER_ALNUM}(?:{_branches(words)})")
    return "|".join(branches)


def _insert(trie: Trie, term: str) -> None:
    node = trie
    for character in term:
        node = node.setdefault(character, {})
    node[_END] = {}


def _branches(node: Trie) -> str:
    return _search(sorted((item for item in node.items() if item[0] != _END), key=itemgetter(0)))


def _search(children: list[tuple[str, Trie]]) -> str:
    """Binary search by look-ahead.

    The engine tries the branches of an alternation one by one, and after 不 there are hundreds.
    """
    if len(children) <= _FEW:
        return "|".join(_path(character, child) for character, child in children)
    middle = len(children) // 2
    low, high = children[:middle], children[middle:]
    span = f"[{re.escape(low[0][0])}-{re.escape(low[-1][0])}]"
    return f"(?={span})(?:{_search(low)})|{_search(high)}"


def _path(character: str, node: Trie) -> str:
    """Expression of one child: a straight run of characters, then whatever branches off."""
    run = [character]
    while len(node) == 1 and _END not in node:
        character, node = next(iter(node.items()))
        run.append(character)
    return re.escape("".join(run)) + _rest(character, node)


def _rest(last: str, node: Trie) -> str:
    boundary = _NOT_BEFORE_ALNUM if last in _ALNUM else ""
    if _END not in node:
        return f"(?:{_branches(node)})"
    if len(node) == 1:
        return boundary
    return f"(?:{_branches(node)}|{boundary})"  # the longer term first: the first match wins
