"""How services ask language models: versioned prompts, a client of the llm service, typed answers."""
