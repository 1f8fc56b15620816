"""The catalogue that the settings name: a file, the short form for one provider, or none."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ai_services.llm.models.catalogue import Catalogue, Deployment, Model, Provider
from ai_services.llm.models.file import read_models_file
from ai_services.llm.models.price import UNPRICED
from shared.config import Config
from shared.errors import ConfigError

_CONTEXT = 32_768
_MAX_OUTPUT = 4096


def open_catalogue(config: Config) -> Catalogue:
    """From LLM_MODELS, or from LLM_BASE_URL, LLM_API_KEY and LLM_MODEL; empty without any of them.

    ConfigError that says what is wrong and what to do.
    """
    short = {
        "LLM_BASE_URL": config.llm_base_url,
        "LLM_API_KEY": config.llm_api_key,
        "LLM_MODEL": config.llm_model,
    }
    given = [name for name, value in short.items() if value is not None]
    if config.llm_models is not None:
        if given:
            raise ConfigError(
                f"{given[0]}: LLM_MODELS is set as well. Leave one out: the file names all "
                "providers, or there is no file."
            )
        return read_models_file(config.llm_models, config.llm_keys)
    if not given:
        return Catalogue()
    if config.llm_base_url is None or config.llm_model is None:
        lacking = "LLM_BASE_URL" if config.llm_base_url is None else "LLM_MODEL"
        raise ConfigError(
            f"{lacking}: is not set, but {given[0]} is. One provider needs LLM_BASE_URL and "
            "LLM_MODEL. Example: LLM_BASE_URL=https://api.deepseek.com/v1 LLM_MODEL=deepseek-chat"
        )
    return _one_provider(config.llm_base_url.rstrip("/"), config.llm_api_key, config.llm_model)


def _one_provider(base_url: str, key: str | None, name: str) -> Catalogue:
    """Of its model nothing is known but the name: bounds that most have, and no price."""
    provider = Provider("default", base_url, key or "", local=_is_here(base_url))
    model = Model(name, "chat", (Deployment(provider, name),), _CONTEXT, _MAX_OUTPUT, (UNPRICED,))
    return Catalogue((model,))


def _is_here(url: str) -> bool:
    """Whether a URL's host is this machine, by what is written there."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
