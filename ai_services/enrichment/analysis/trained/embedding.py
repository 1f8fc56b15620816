"""What a text means, as a vector: the mean of its tokens' vectors, of length 1.

The vectors of 32,000 tokens come as files with the package `wordllama` (MIT), which made them out of
those of large models; nothing is downloaded. They know English and the languages beside it; where a text has
mostly other characters they say little, and the n-grams say the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

NAME: Final = "wordllama/l2_supercat_256"
DIMENSIONS: Final = 256
_VECTORS: Final = "weights/l2_supercat_256.safetensors"
_TOKENS: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_MOST: Final = 20_000  # characters of a text that are read

Floats = NDArray[np.float32]


class Embedding(Protocol):
    def vectors(self, texts: Sequence[str]) -> Floats:
        """(texts, DIMENSIONS), each of length 1, or 0 where there is nothing to read."""
        ...


def is_installed() -> bool:
    return _folder() is not None and find_spec("tokenizers") is not None


@lru_cache(1)
def embedding() -> Embedding:
    """ConfigError where its package isn't installed. It takes 32 MB, and half a second at first."""
    folder = _folder()
    if folder is None:
        raise ConfigError(
            "This trained model reads what texts mean, by vectors of the package `wordllama`, which "
            "isn't installed: pip install 'looma-ai[enrichment]'."
        )
    return _TokenMeans(folder)


class _TokenMeans:
    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open  # noqa: PLC0415 - only where a model asks for it
        from tokenizers import Tokenizer  # noqa: PLC0415

        self._tokens = Tokenizer.from_file(str(folder / _TOKENS))
        self._tokens.no_padding()
        self._tokens.no_truncation()
        with safe_open(folder / _VECTORS, framework="np") as file:
            self._vectors: Floats = file.get_tensor("embedding.weight").astype(np.float32)

    def vectors(self, texts: Sequence[str]) -> Floats:
        found = np.zeros((len(texts), DIMENSIONS), np.float32)
        read = self._tokens.encode_batch([text[:_MOST] for text in texts], add_special_tokens=False)
        for place, tokens in enumerate(read):
            if tokens.ids:
                mean = self._vectors[tokens.ids].mean(axis=0)
                found[place] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return found


def _folder() -> Path | None:
    """Of its files; the package itself isn't imported, it would set up logging."""
    spec = find_spec("wordllama")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) if places else None
