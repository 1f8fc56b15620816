"""One call judged, and whether the verdict is as wanted."""

from __future__ import annotations

from ai_services.enrichment.analysis.local import Analysis, LocalAnalyzer, Turn

LOCAL = LocalAnalyzer()  # compiles the vocabulary once for all tests


def judge(*said: str) -> Analysis:
    """Turns of the customer; those that begin with '>' are the agent's."""
    return LOCAL.analyze_turns(
        [
            Turn("agent", None, text[1:].strip())
            if text.startswith(">")
            else Turn("customer", None, text)
            for text in said
        ]
    )


def unwanted(verdict: Analysis, wanted: str) -> list[str]:
    """What of "negative/neutral, complaint low, churn high/medium" the verdict misses."""
    missed = []
    for part in wanted.split(", "):
        name, _, allowed = part.rpartition(" ")
        got = {
            "": verdict.sentiment,
            "complaint": verdict.complaint_risk,
            "churn": verdict.churn_risk,
        }[name]
        if got not in allowed.split("/"):
            missed.append(f"{name} {got}, not {allowed}: {verdict.reason}")
    return missed
