"""Reads the vocabulary files that lie beside this module.

A language file is a TOML document whose tables are arrays of groups, one table per kind
(`evidence`, `negator`, `contrast` …); a group has its weights and its comma-separated terms.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from operator import attrgetter
from threading import Lock
from typing import Any, Final, Literal, cast, get_args

from ai_services.enrichment.analysis.lexicon.slips import Speller
from ai_services.enrichment.analysis.lexicon.tokens import Tokens
from shared.data_access.search.han import simplification
from shared.errors import ConfigError

Kind = Literal[
    "absence",
    "almost",
    "amplifier",
    "asking",
    "barrier",
    "concession",
    "condition",
    "consequence",
    "contrast",
    "counterfactual",
    "evidence",
    "inability",
    "intensifier",
    "listing",
    "negator",
    "plain",
    "polite",
    "question",
    "request",
    "retraction",
    "scorn",
    "threat",
    "undo",
    "wish",
    "worth",
]
# What a term tells about its surroundings, whatever it weighs itself (bearings.py).
Role = Literal[
    "blame",
    "elsewhere",
    "event",
    "gush",
    "handled",
    "harmless",
    "message",
    "others",
    "past",
    "settled",
    "smile",
    "unsettled",
    "woe",
    "you",
]
Language = Literal["en", "zh", "marks"]

_KINDS: Final = frozenset(get_args(Kind))
_ROLES: Final = frozenset(get_args(Role))
_WEIGHTY: Final = frozenset({"evidence", "retraction", "threat"})
_LEADING: Final = frozenset({"barrier", "consequence"})
_NEGATING: Final = frozenset({"inability", "negator"})
_WEIGHTS: Final = frozenset({"sentiment", "complaint", "churn", "factor", "reach"})
_OTHER_TABLES: Final = frozenset({"familiar", "ordinary", "role"})
_FILES: Final[Mapping[Language, tuple[str, ...]]] = {
    "en": ("en.toml", "en_phrases.toml"),
    "zh": ("zh.toml", "zh_phrases.toml"),
    "marks": ("marks.toml",),
}
_ALTERNATIVES: Final = re.compile(r"\(([^()|]*\|[^()]*)\)")

# Runs of stops, then single commas; a point or comma inside a number is neither.
_PUNCTUATION: Final = r"[!?！？]+|[.。…;；]+(?![0-9a-z])|[,，、:：](?![0-9])|[\n\r\u2028\u2029]"

_FULL_WIDTH: Final = {0xFF01 + i: 0x21 + i for i in range(94) if chr(0x21 + i).isalnum()}
_BLANKS: Final = {
    0xA0: 0x20,
    0x3000: 0x20,
    0x2002: 0x20,
    0x2003: 0x20,
    0x2009: 0x20,
    0x202F: 0x20,
    0x09: 0x20,
}
_LAST: Final = "\U0010ffff"  # sorts behind every character of a term
_HYPHENS: Final = {0x2010: 0x2D, 0x2011: 0x2D}
_APOSTROPHES: Final = {ord("’"): ord("'"), ord("‘"): ord("'"), ord("ʼ"): ord("'")}
_WORD: Final = re.compile("[a-z]+")
_RISKY_WORD: Final = 7  # letters; shorter words of phrases are too common to be corrected
_LOADING: Final = Lock()
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
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """The vocabulary, compiled. Built once and shared: it never changes."""

    terms: Mapping[str, Term]
    familiar: re.Pattern[str]
    weighty: frozenset[str]  # the terms and single words that weigh something
    _tokens: Tokens = field(repr=False)
    _speller: Speller = field(repr=False)
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
        return self._tokens.of(text)

    def slips(self, text: str) -> dict[str, str]:
        """The misspelt English words of a normalised text → the words that were meant."""
        return self._speller.slips(text)

    def is_familiar(self, text: str) -> bool:
        """Whether a normalised text holds anything of a language that this lexicon knows."""
        return self.familiar.search(text) is not None


def is_japanese(text: str) -> bool:
    """Chinese characters mean other things among kana; a stray の is only decoration."""
    return len(_KANA.findall(text)) * 5 > len(text)


def load_lexicon() -> Lexicon:
    """Raises ConfigError when a packaged file is malformed or lists a term twice.

    Takes a second, once per process: threads that need it meanwhile wait.
    """
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Lexicon:
    documents = {language: _document(language) for language in _FILES}
    terms: dict[str, Term] = {}
    for language, document in documents.items():
        for term in _terms(language, document):
            if term.text in terms:
                raise ConfigError(f"{language}.toml: {term.text!r} is listed twice; keep one")
            terms[term.text] = term
    for language, document in documents.items():
        _assign_roles(terms, language, document)
    for term in _overlaps(terms.values()):
        terms.setdefault(term.text, term)
    fold = _fold_table()
    familiar = (rf"(?<![a-z]){re.escape(w)}(?![a-z])" for w in _split(documents["en"]["familiar"]))
    weighty = frozenset(
        term.text for term in terms.values() if term.kind in _WEIGHTY and " " not in term.text
    )
    return Lexicon(
        terms=terms,
        weighty=weighty,
        _tokens=Tokens(terms, _PUNCTUATION),
        _speller=_speller(terms.values(), weighty, documents["en"]),
        familiar=re.compile("|".join(["[\u4e00-\u9fff]", *familiar])),
        _fold=fold,
        _foldable=re.compile(f"[{re.escape(''.join(map(chr, fold)))}]"),
    )


def _speller(
    terms: Iterable[Term], weighty: Collection[str], english: Mapping[str, Any]
) -> Speller:
    known = set(_split(english["familiar"])) | set(_split(english["ordinary"]))
    slipping = {word for word in weighty if word.isascii() and word.isalpha()}
    for term in terms:
        if term.language == "en":
            words = _WORD.findall(term.text)
            known.update(words)
            if term.kind in _WEIGHTY and max(term.complaint, term.churn) > 0.4:
                slipping.update(word for word in words if len(word) > _RISKY_WORD)
    return Speller(slipping, known)


def _document(language: Language) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name in _FILES[language]:
        for table, content in tomllib.loads(_read(name)).items():
            document[table] = document[table] + content if table in document else content
    return document


def _read(name: str) -> str:
    return (
        files("ai_services.enrichment.analysis.lexicon").joinpath(name).read_text(encoding="utf-8")
    )


def _terms(language: Language, document: Mapping[str, Any]) -> Iterator[Term]:
    decided = tuple(
        text for group in document.get("consequence", ()) for text in _expanded(group["terms"])
    )
    for kind, groups in document.items():
        if kind in _OTHER_TABLES:
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


def _assign_roles(terms: dict[str, Term], language: Language, document: Mapping[str, Any]) -> None:
    """Gives terms that weigh something a role beside, and makes the others harmless terms."""
    for group in document.get("role", ()):
        role = group["role"]
        if role not in _ROLES:
            raise ConfigError(
                f"{language}.toml: unknown role {role!r}; use one of {sorted(_ROLES)}"
            )
        for text in _expanded(group["terms"]):
            term = terms.get(text) or Term(text, "plain", language)
            terms[text] = replace(term, roles=(*term.roles, role))


def _overlaps(terms: Collection[Term]) -> list[Term]:
    """Phrases in which a modifier runs into evidence, "i want to" into "want to cancel".

    The reader goes from left to right: without a term of its own the modifier would swallow
    the beginning of such a phrase. A negator may only lend what is a negator itself: 完全没有
    runs into 没有用, but 不想取消 is 不想 before 取消 and not 不 before 想取消.
    """
    evidence = sorted((term for term in terms if term.kind in _WEIGHTY), key=attrgetter("text"))
    texts = [term.text for term in evidence]
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
                for term in evidence[
                    bisect_right(texts, ending) : bisect_left(texts, ending + _LAST)
                ]
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
    return {**simplification(), **_FULL_WIDTH, **_APOSTROPHES, **_BLANKS, **_HYPHENS}
