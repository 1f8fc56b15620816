"""The chain of analysers: kept verdicts, what is trivial, words, and language models for the rest."""
