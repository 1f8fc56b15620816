"""The one door to every language model: OpenAI-compatible, with a ledger and hard budgets."""
