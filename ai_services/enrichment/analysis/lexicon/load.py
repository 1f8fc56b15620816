"""Reads the vocabulary files that lie beside this module.

A language file is a TOML document whose tables are arrays of groups, one table per kind
(`evidence`, `negator`, `contrast` …); a group has its weights and its comma-separated terms.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any, Final, Literal, cast, get_args

from ai_services.enrichment.analysis.lexicon.trie import expression
from shared.errors import ConfigError

Kind = Literal[
    "amplifier",
    "asking",
    "barrier",
    "concession",
    "condition",
    "consequence",
    "contrast",
    "evidence",
    "inability",
    "intensifier",
    "negator",
    "plain",
    "polite",
    "question",
    "request",
    "retraction",
    "threat",
    "undo",
]
Language = Literal["en", "zh", "marks"]

_KINDS: Final = frozenset(get_args(Kind))
_WEIGHTY: Final = frozenset({"evidence", "retraction", "threat"})
_LEADING: Final = frozenset({"barrier", "consequence"})
_NEGATING: Final = frozenset({"inability", "negator"})
_WEIGHTS: Final = frozenset({"sentiment", "complaint", "churn", "factor", "reach"})
_LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh", "marks")
_ALTERNATIVES: Final = re.compile(r"\(([^()|]*\|[^()]*)\)")

# Runs of stops, then single commas; a point or comma inside a number is neither.
_PUNCTUATION: Final = r"[!?！？]+|[.。…;；]+(?![0-9a-z])|[,，、:：](?![0-9])|[\n\r\u2028\u2029]"

_FULL_WIDTH: Final = {0xFF01 + i: 0x21 + i for i in range(94) if chr(0x21 + i).isalnum()}
_APOSTROPHES: Final = {ord("’"): ord("'"), ord("‘"): ord("'"), ord("ʼ"): ord("'")}
_KANA: Final = re.compile("[\u3041-\u3096\u30a1-\u30fa]")


@dataclass(frozen=True, slots=True)
class Term:
    """One entry. `sentiment` is -3..3, `complaint` and `churn` are 0..1, `factor` multiplies.

    `reach` is how far a negator looks ahead: words in English, characters in Chinese.
    `asserts` says that the term itself speaks of the speaker's will ("I'll cancel"), whatever
    supposition stands before it.
    """

    text: str
    kind: Kind
    language: Language
    sentiment: float = 0.0
    complaint: float = 0.0
    churn: float = 0.0
    factor: float = 1.0
    reach: int = 0
    asserts: bool = False


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The vocabulary, compiled. Built once and shared: it never changes."""

    terms: Mapping[str, Term]
    ascii_pattern: re.Pattern[str]
    full_pattern: re.Pattern[str]
    familiar: re.Pattern[str]
    _fold: Mapping[int, int] = field(repr=False)
    _foldable: re.Pattern[str] = field(repr=False)

    def normalise(self, text: str) -> str:
        """Lower case, simplified, half-width; each character stays at its offset."""
        if text.isascii():
            return text.lower()
        lowered = text.lower()
        if len(lowered) != len(text):  # a few capitals, such as İ, become two characters
            lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
        if self._foldable.search(lowered):
            return lowered.translate(self._fold)
        return lowered

    def tokens(self, text: str) -> Iterator[re.Match[str]]:
        """Terms and punctuation of a normalised text, left to right, without overlaps."""
        pattern = self.ascii_pattern if text.isascii() else self.full_pattern
        return pattern.finditer(text)

    def is_familiar(self, text: str) -> bool:
        """Whether a normalised text holds anything of a language that this lexicon knows."""
        return self.familiar.search(text) is not None


def is_japanese(text: str) -> bool:
    """Chinese characters mean other things among kana; a stray の is only decoration."""
    return len(_KANA.findall(text)) * 5 > len(text)


def load_lexicon() -> Lexicon:
    """Raises ConfigError when a packaged file is malformed or lists a term twice.

    Takes some hundred milliseconds: call it once per process, before serving.
    """
    documents = {language: _document(language) for language in _LANGUAGES}
    terms: dict[str, Term] = {}
    for language, document in documents.items():
        for term in _terms(language, document):
            if term.text in terms:
                raise ConfigError(f"{language}.toml: {term.text!r} is listed twice; keep one")
            terms[term.text] = term
    for term in _overlaps(terms.values()):
        terms.setdefault(term.text, term)
    latin = (text for text in terms if text.isascii())
    fold = _fold_table()
    familiar = (rf"(?<![a-z]){re.escape(w)}(?![a-z])" for w in _split(documents["en"]["familiar"]))
    return Lexicon(
        terms=terms,
        ascii_pattern=re.compile(f"{expression(latin)}|{_PUNCTUATION}"),
        full_pattern=re.compile(f"{expression(terms)}|{_PUNCTUATION}"),
        familiar=re.compile("|".join(["[\u4e00-\u9fff]", *familiar])),
        _fold=fold,
        _foldable=re.compile(f"[{re.escape(''.join(map(chr, fold)))}]"),
    )


def _document(language: Language) -> dict[str, Any]:
    return tomllib.loads(_read(f"{language}.toml"))


def _read(name: str) -> str:
    return (
        files("ai_services.enrichment.analysis.lexicon").joinpath(name).read_text(encoding="utf-8")
    )


def _terms(language: Language, document: Mapping[str, Any]) -> Iterator[Term]:
    decided = tuple(
        text for group in document.get("consequence", ()) for text in _expanded(group["terms"])
    )
    for kind, groups in document.items():
        if kind == "familiar":
            continue
        if kind not in _KINDS:
            raise ConfigError(
                f"{language}.toml: unknown table {kind!r}; use one of {sorted(_KINDS)}"
            )
        for group in groups:
            weights = {key: value for key, value in group.items() if key != "terms"}
            if unknown := weights.keys() - _WEIGHTS:
                raise ConfigError(f"{language}.toml: {kind} has unknown keys {sorted(unknown)}")
            for text in _expanded(group["terms"]):
                asserts = kind == "threat" or text.startswith(decided)
                yield Term(text, cast("Kind", kind), language, asserts=asserts, **weights)


def _overlaps(terms: Collection[Term]) -> list[Term]:
    """Phrases in which a modifier runs into evidence, "i want to" into "want to cancel".

    The reader goes from left to right: without a term of its own the modifier would swallow
    the beginning of such a phrase. A negator may only lend what is a negator itself: 完全没有
    runs into 没有用, but 不想取消 is 不想 before 取消 and not 不 before 想取消.
    """
    evidence = [term for term in terms if term.kind in _WEIGHTY]
    negators = {term.text for term in terms if term.kind in _NEGATING}
    phrases = []
    for modifier in (term for term in terms if term.kind in _LEADING | _NEGATING):
        for ending in _endings(modifier.text):
            if modifier.kind in _NEGATING and ending.rstrip() not in negators:
                continue
            phrases += [
                replace(
                    term,
                    text=modifier.text + term.text[len(ending.rstrip()) :],
                    asserts=term.asserts or modifier.kind == "consequence",
                )
                for term in evidence
                if term.text.startswith(ending) and term.text != ending
            ]
    return phrases


def _endings(text: str) -> Iterator[str]:
    """Proper endings, whole words with a following space in English, characters in Chinese."""
    if text.isascii():
        words = text.split(" ")
        return (" ".join(words[i:]) + " " for i in range(1, len(words)))
    return (text[i:] for i in range(1, len(text)))


def _split(terms: str) -> list[str]:
    return [term.strip() for term in terms.replace("\n", " ").split(",") if term.strip()]


def _expanded(terms: str) -> Iterator[str]:
    for term in _split(terms):
        parts = _ALTERNATIVES.split(term)  # odd positions hold the alternatives
        choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
        yield from ("".join(choice) for choice in itertools.product(*choices))


def _fold_table() -> dict[int, int]:
    pairs = [
        pair
        for line in _read("traditional.txt").splitlines()
        if not line.startswith("#")
        for pair in line.split()
    ]
    simplified = {ord(pair[0]): ord(pair[1]) for pair in pairs}
    return {**simplified, **_FULL_WIDTH, **_APOSTROPHES}
