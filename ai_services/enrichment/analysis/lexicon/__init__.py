"""The vocabulary of the local call analyser, and how a text is read with it."""

from ai_services.enrichment.analysis.lexicon.load import Lexicon, Term, is_japanese, load_lexicon
from ai_services.enrichment.analysis.lexicon.weigh import RISKY, Evidence, weigh

__all__ = ["RISKY", "Evidence", "Lexicon", "Term", "is_japanese", "load_lexicon", "weigh"]
