"""What a models file may say, and what is said about one that is wrong."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ai_services.llm.models.catalogue import Catalogue, Limits, Purpose, Rate
from ai_services.llm.models.file import parse_models, read_models_file
from shared.errors import ConfigError
from tests.sources import ROOT

GOOD = """
currency = "CNY"
[providers.qwen]
base_url = "https://dashscope.aliyuncs.com/compatible-mode/v1/"
key = "QWEN"
requests_per_minute = 600
connect_s = 2.5
[providers.local]
base_url = "http://127.0.0.1:8000/v1"
local = true
[models.fast]
deployments = [
  { provider = "qwen", model = "qwen-flash", weight = 3 },
  { provider = "local", model = "Qwen3-8B" },
]
context = 131072
max_output = 8192
prices = [
  { since = 2026-06-01, input = 0.1, output = 1, cached = 0.025 },
  { since = 2026-01-01, input = 0.15, output = 1.5 },
]
fallbacks = ["big"]
fallback_on = ["context", "unavailable"]
[models.big]
deployments = [{ provider = "qwen", model = "qwen-max" }]
context = 262144
max_output = 32768
prices = [{ since = 2026-01-01, input = 2.4, output = 9.6 }]
reasoning = true
[models."bge-m3:latest"]
kind = "embeddings"
deployments = [{ provider = "local", model = "bge-m3" }]
context = 8192
prices = [{ since = 2026-01-01, input = 0 }]
[purposes.summary]
cache_s = 3600
tokens_per_minute = 100_000
[limits]
organisation = { requests_per_minute = 1000 }
"""


def parsed(text: str) -> Catalogue:
    document = tomllib.loads(text, parse_float=Decimal)
    return parse_models(document, {"QWEN": "sk-hidden"}, source="models.toml")


def test_a_good_file_is_a_catalogue() -> None:
    catalogue = parsed(GOOD)
    fast, big, vectors = catalogue.models
    assert (fast.name, fast.kind, fast.context, fast.max_output) == ("fast", "chat", 131072, 8192)
    assert [(one.provider.name, one.model, one.weight) for one in fast.deployments] == [
        ("qwen", "qwen-flash", 3),
        ("local", "Qwen3-8B", 1),
    ]
    qwen = fast.deployments[0].provider
    assert qwen.base_url == "https://dashscope.aliyuncs.com/compatible-mode/v1"
    assert (qwen.key, qwen.connect_s, qwen.requests_per_minute) == ("sk-hidden", 2.5, 600)
    assert "sk-hidden" not in repr(catalogue)
    assert fast.deployments[1].provider.local
    assert (fast.fallbacks, fast.fallback_on) == (("big",), {"context", "unavailable"})
    assert big.reasoning
    assert big.fallback_on == frozenset()
    assert (vectors.kind, vectors.max_output) == ("embeddings", 0)
    assert catalogue.purposes == {"summary": Purpose("summary", 3600.0, Rate(None, 100_000))}
    assert catalogue.limits == Limits(Rate(1000))
    assert catalogue.currency == "CNY"


def test_prices_are_exact_and_in_their_order() -> None:
    first, second = parsed(GOOD).model("fast").prices
    assert (first.since, first.version) == (date(2026, 1, 1), "2026-01-01")
    assert (second.input, second.cached) == (Decimal("0.1"), Decimal("0.025"))
    assert first.cached == first.input  # nobody has said that it is cheaper


def test_a_model_without_fallbacks_has_no_reason_to_fall_back() -> None:
    changed = GOOD.replace('fallbacks = ["big"]\nfallback_on = ["context", "unavailable"]', "")
    assert parsed(changed).model("fast").fallback_on == frozenset()
    defaults = GOOD.replace('fallback_on = ["context", "unavailable"]', "")
    assert parsed(defaults).model("fast").fallback_on == {"unavailable"}


BIG = "prices = [{ since = 2026-01-01, input = 2.4, output = 9.6 }]"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('currency = "CNY"', "", "models.toml: currency is missing. It must be three capital"),
        ('"CNY"', '"¥"', "models.toml: currency must be three capital letters"),
        ("[limits]", "[limit]", "models.toml: unknown 'limit'. Known are currency, limits"),
        ("[providers.local]", "[providers.Local]", "models.toml: [providers.'Local'] must be a"),
        ('key = "QWEN"', 'key = "KIMI"', "[providers.qwen]: key names the setting LLM_KEY_KIMI"),
        ('key = "QWEN"', 'key = "sk-ab12"', "[providers.qwen]: key must be capital letters"),
        ('"http://127.0.0.1:8000/v1"', '"127.0.0.1:8000"', "base_url must be a URL such as"),
        ("http://127", "http://me:pw@127", "base_url: it must hold neither a query nor a pass"),
        ("connect_s = 2.5", "connect_s = 0", "connect_s must be a number of seconds from 0.001"),
        ("connect_s = 2.5", 'connect_s = "2"', "connect_s must be a number of seconds"),
        ("connect_s = 2.5", "conect_s = 2", "[providers.qwen]: unknown 'conect_s'"),
        ("_minute = 600", "_minute = 0", "requests_per_minute must be a whole number from 1"),
        ('"qwen", model = "qwen-max"', '"qwn", model = "m"', "'qwn' is not a provider. Known are"),
        ('model = "Qwen3-8B"', 'modell = "Q"', "deployments: 1: unknown 'modell'"),
        ("weight = 3", "weight = 0", "deployments.0.weight must be a whole number from 1 to 1000"),
        ("context = 262144\n", "", '[models."big"]: context is missing. It must be a whole number'),
        ("max_output = 32768\n", "", "max_output must be a whole number from 1 to the context"),
        ("max_output = 32768", "max_output = 300000", "from 1 to the context, 262144"),
        ("context = 8192\n", "context = 8192\nmax_output = 1\n", "only answers of chat have an"),
        (BIG, "", '[models."big"]: prices is missing. It must be a list such as'),
        (BIG, "prices = []", "prices must be a list such as [{ since = 2026-01-31"),
        ("since = 2026-06-01", "since = 2026-01-01", "two of them begin on 2026-01-01. Remove one"),
        ("since = 2026-06-01", 'since = "2026-06-01"', "prices.0.since must be the day from which"),
        ("since = 2026-06-01", "since = 2026-06-01T01:00:00", "prices.0.since must be the day"),
        ("input = 0.15", "input = -1", "prices.1.input must be an amount per million tokens"),
        ("input = 0.15", 'input = "0.15"', "prices.1.input must be an amount"),
        ("input = 0.15", "input = inf", "prices.1.input must be an amount"),
        ("input = 0.15", "input = nan", "prices.1.input must be an amount"),
        ("input = 0.15", "input = 0.000000001", "with 8 places at most"),
        ("input = 0.15", "input = true", "prices.1.input must be an amount"),
        (", output = 1.5", "", "prices: each needs the price of its output"),
        ('fallbacks = ["big"]', 'fallbacks = ["huge"]', "fallbacks: 'huge' is not a model. Known"),
        ('fallbacks = ["big"]', 'fallbacks = ["fast"]', "lead back to it: fast → fast. Remove"),
        ("reasoning = true", 'fallbacks = ["fast"]', "lead back to it: fast → big → fast."),
        ('["big"]', '["bge-m3:latest"]', "'bge-m3:latest' is of the kind embeddings, not chat"),
        ('fallbacks = ["big"]', "", "fallback_on needs models to fall back to. Add fallbacks."),
        (
            "connect_s = 2.5",
            "batch_discount = 0.5",
            "batch_discount is of batches. Add batch = true",
        ),
        ("connect_s = 2.5", "batch = true\nbatch_discount = 1", "the share of the price"),
        ('["context", "un', '["content", "un', "fallback_on must be a list of unavailable"),
        ('kind = "embeddings"', 'kind = "images"', "kind must be one of chat, embeddings"),
        ('[models."bge-m3:latest"]', '[models." "]', "models"),
        ("cache_s = 3600", "cache_s = -1", "[purposes.summary]: cache_s must be a number of sec"),
        ("organisation = {", "organization = {", "[limits]: unknown 'organization'"),
    ],
)
def test_a_wrong_one_is_named_with_entry_field_problem_and_fix(old, new, said) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parsed(GOOD.replace(old, new, 1))
    assert said in caught.value.message
    assert caught.value.message.startswith("models.toml: ")
    assert "sk-hidden" not in caught.value.message


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(GOOD)
    assert read_models_file(path, {"QWEN": "k"}).model("big").prices[0].input == Decimal("2.4")
    path.write_text("currency = ")
    with pytest.raises(ConfigError, match=r"LLM_MODELS: .*models.toml is not TOML"):
        read_models_file(path, {})
    with pytest.raises(ConfigError, match=r"LLM_MODELS: can't read .*away"):
        read_models_file(tmp_path / "away", {})


def test_the_example_of_the_documents_is_a_good_file() -> None:
    page = (ROOT / "docs/llm.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert [model.name for model in parsed(example).models] == ["fast", "big"]
