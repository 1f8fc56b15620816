"""The OpenAI protocol without I/O: requests, answers, server-sent events, tokens, failures."""
