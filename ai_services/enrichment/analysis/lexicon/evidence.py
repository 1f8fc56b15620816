"""What was found in a text: evidence that weighs, and marks that tell how to take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.analysis.lexicon.load import Role, Term

RISKY: Final = 0.25  # below it a term is a bad word, not a threat that could be denied


@dataclass(slots=True)
class Evidence:
    """One thing found in a text, `text[start:end]`, and what it weighs where it stands.

    `asserted` is false for questions and suppositions. `denied` means that the risk is said not
    to be there, or taken back ("I don't want to cancel", "I'll stay"): then `complaint` and
    `churn` are the shares by which it lessens what was said before. `twisted` says that the
    words mean the contrary of what they say: irony, a wish, a rhetorical question.
    """

    term: Term
    start: int
    end: int
    sentiment: float
    complaint: float
    churn: float
    asserted: bool = True
    denied: bool = False
    asked: bool = False
    twisted: bool = False
    decided: bool = False  # the customer's own will, in so many words: "I want to", 我要
    clause: int = 0
    sentence: int = 0

    @property
    def risky(self) -> bool:
        return max(self.term.complaint, self.term.churn) >= RISKY


@dataclass(slots=True)
class Mark:
    """Words that weigh nothing here, but say whose matter it is, or whether it is over."""

    role: Role
    start: int
    end: int
    clause: int
    sentence: int
