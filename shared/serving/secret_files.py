"""Secrets as files: `NAME_FILE` names the file that holds the setting `NAME`.

That is how container platforms hand secrets over. What would be no secret stops the process: a
file that others may read, an empty one, a placeholder that nobody replaced.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.errors import ConfigError

FILE_SUFFIX: Final = "_FILE"
_LONGEST: Final = 16 << 10  # bytes; a URL or a key has a few hundred
_PLACEHOLDER: Final = re.compile(
    r"<.*>|.*(change|replace)[-_ ]?(me|this).*|placeholder|secret|password|todo|x+|\*+",
    re.IGNORECASE,
)


def with_secret_files(environ: Mapping[str, str], examples: Mapping[str, str]) -> dict[str, str]:
    """`environ`, and in it the secrets that files give; `examples` is an example of each secret.

    Raises ConfigError that names the setting and the file, never what is in it.
    """
    given = {
        name: path for name in examples if (path := environ.get(name + FILE_SUFFIX, "").strip())
    }
    twice = sorted(name for name in given if environ.get(name, "").strip())
    if twice:
        raise ConfigError(
            f"{twice[0]}: given twice, as {twice[0]} and as {twice[0]}{FILE_SUFFIX}. Leave one out."
        )
    read = {name: _read(name, Path(path), examples[name]) for name, path in given.items()}
    return {**environ, **read}


def _read(name: str, path: Path, example: str) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise _refused(
            name, path, f"can't be read: {reason}", "Name a file that this user may read"
        ) from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise _refused(name, path, f"is open to all users (mode {mode:03o})", f"chmod 400 {path}")
    if len(raw) > _LONGEST:
        raise _refused(name, path, f"has more than {_LONGEST} bytes", "It holds the secret alone")
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as error:
        raise _refused(name, path, "is not UTF-8", "It holds the secret as text") from error
    if not text:
        raise _refused(name, path, "is empty", "Write the secret into it")
    if _is_placeholder(text, example):
        raise _refused(
            name, path, "still holds a placeholder", "Write a secret of your own into it"
        )
    return text


def _is_placeholder(text: str, example: str) -> bool:
    if text == example or _PLACEHOLDER.fullmatch(text):
        return True
    try:
        password = urlsplit(text).password
    except ValueError:
        return False
    return password is not None and _PLACEHOLDER.fullmatch(unquote(password)) is not None


def _refused(name: str, path: Path, problem: str, fix: str) -> ConfigError:
    return ConfigError(
        f"{name}{FILE_SUFFIX}: {path} {problem}. {fix}. "
        f"Example: {name}{FILE_SUFFIX}=/run/secrets/{name.lower()}"
    )
