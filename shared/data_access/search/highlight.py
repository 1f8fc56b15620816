"""Fragments of a text around what a query found in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from shared.data_access.search.han import simplified
from shared.data_access.search.terms import Word, normal, tokens

_CONTEXT = 40  # characters on either side of a match
_Span = tuple[int, int]


def highlights(text: str, words: Sequence[Word], *, limit: int = 3) -> list[str]:
    """At most `limit` fragments, HTML-escaped, matches in <em>…</em>, cuts shown by ….

    Fragments with more matches come first. Empty if nothing of `words` is in `text`.
    """
    text = normal(text)
    spans = _merge(sorted(_matches(text, words)))
    groups = _group(spans)
    groups.sort(key=lambda group: (-len(group), group[0]))
    return [_render(text, group) for group in groups[:limit]]


def _matches(text: str, words: Sequence[Word]) -> Iterator[_Span]:
    plain = simplified(text)
    wanted: set[str] = set()
    prefixes: list[str] = []
    for word in words:
        if word.literal is not None and word.literal in plain:
            for match in re.finditer(re.escape(word.literal), plain):
                yield match.span()
        else:
            wanted |= set(word.terms)
            if word.prefix is not None:
                prefixes.append(word.prefix)
    for token in tokens(text):
        if token.term in wanted:
            yield token.start, token.end
        for prefix in prefixes:
            if token.term.startswith(prefix):
                yield token.start, token.start + len(prefix)


def _merge(spans: Sequence[_Span]) -> list[_Span]:
    """Overlapping and touching spans as one."""
    merged: list[_Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _group(spans: Sequence[_Span]) -> list[list[_Span]]:
    """Spans that share a fragment."""
    groups: list[list[_Span]] = []
    for span in spans:
        if groups and span[0] - groups[-1][-1][1] <= _CONTEXT and len(groups[-1]) < 8:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _render(text: str, group: Sequence[_Span]) -> str:
    start = max(0, group[0][0] - _CONTEXT)
    end = min(len(text), group[-1][1] + _CONTEXT)
    parts = ["…" if start > 0 else ""]
    position = start
    for match_start, match_end in group:
        parts.append(escape(text[position:match_start]))
        parts.append(f"<em>{escape(text[match_start:match_end])}</em>")
        position = match_end
    parts.append(escape(text[position:end]))
    parts.append("…" if end < len(text) else "")
    return "".join(parts)
