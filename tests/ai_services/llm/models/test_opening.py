"""Which settings make which catalogue."""

from datetime import date
from pathlib import Path

import pytest

from ai_services.llm.models.opening import open_catalogue
from ai_services.llm.models.price import UNPRICED
from shared.config import Config
from shared.errors import ConfigError

BASE = {"LLM_BASE_URL": "https://api.deepseek.com/v1/", "LLM_MODEL": "deepseek-chat"}


def opened(**settings: str):
    return open_catalogue(Config.from_env(settings))


def test_without_settings_there_are_no_models() -> None:
    assert opened().models == ()


def test_one_provider_needs_no_file() -> None:
    catalogue = opened(**BASE, LLM_API_KEY="sk-1")
    (model,) = catalogue.models
    (one,) = model.deployments
    assert (model.name, model.context, model.max_output) == ("deepseek-chat", 32768, 4096)
    assert one.provider.base_url == "https://api.deepseek.com/v1"
    assert (one.model, one.provider.key, one.provider.local) == ("deepseek-chat", "sk-1", False)
    assert catalogue.price(model, date(2020, 1, 1)) is UNPRICED
    assert UNPRICED.version == "none"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1:11434", True),
        ("[::1]:80", True),
        ("10.0.0.5", False),
        ("localhost.example.com", False),
    ],
)
def test_a_provider_on_this_machine_is_local(host: str, local: bool) -> None:
    (model,) = opened(LLM_BASE_URL=f"http://{host}/v1", LLM_MODEL="m").models
    assert model.deployments[0].provider.local is local
    assert model.deployments[0].provider.key == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LLM_API_KEY": "sk-1"}, "^LLM_BASE_URL: is not set, but LLM_API_KEY is"),
        ({"LLM_MODEL": "m"}, "^LLM_BASE_URL: is not set, but LLM_MODEL is"),
        ({"LLM_BASE_URL": "http://h"}, "^LLM_MODEL: is not set, but LLM_BASE_URL is"),
        ({**BASE, "LLM_MODELS": "m.toml"}, "^LLM_BASE_URL: LLM_MODELS is set as well"),
        ({"LLM_MODELS": "/away/m.toml"}, "^LLM_MODELS: can't read /away/m.toml"),
        ({"LLM_BASE_URL": "h:80", "LLM_MODEL": "m"}, "^LLM_BASE_URL: 'h:80' does not fit"),
    ],
)
def test_settings_that_say_too_little_or_too_much_are_named(settings, said) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        opened(**settings)
    assert "sk-1" not in caught.value.message


def test_a_file_takes_its_keys_from_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        'currency = "USD"\n'
        '[providers.a]\nbase_url = "https://a.example/v1"\nkey = "A"\n'
        '[models.m]\ndeployments = [{ provider = "a", model = "x" }]\ncontext = 10\n'
        "max_output = 5\nprices = [{ since = 2026-01-01, input = 1, output = 1 }]\n"
    )
    (model,) = opened(LLM_MODELS=str(path), LLM_KEY_A="sk-a").models
    assert model.deployments[0].provider.key == "sk-a"
    with pytest.raises(ConfigError, match="Set LLM_KEY_A or LLM_KEY_A_FILE"):
        opened(LLM_MODELS=str(path))
