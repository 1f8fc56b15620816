"""What pyproject.toml can't say: the gateway's hot path is compiled to machine code by mypyc.

    python setup.py compile_hot_path        (what `make compile` runs)

The sources stay plain Python and run without it, at about half the speed; the gateway says which
it runs when it starts. A build without mypyc at hand (`pip install` in isolation) leaves it out.
docs/decisions/0012-compiled-hot-path.md tells why, and what compiled code must not do.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Final

from setuptools import Command, Extension, setup

ROOT: Final = Path(__file__).resolve().parent
RECORD: Final = ROOT / "gateway" / "compiled_sources.txt"  # what gateway.compiled compares with
# Every module that has a part in each request. What is used once in a while stays interpreted.
HOT_PATH: Final = tuple(
    f"gateway/{room}/{name}.py".replace("//", "/")
    for room, names in {
        "": "edge expiring_cache",
        "http": "answer body client_address compression head header_policy headers path request",
        "resilience": "breaker deadline outcome outliers retries rolling_window shedding slow_start witnesses",
        "downstream": "busy_poll connection request_reader",
        "upstream": "attempts balancer connection instance member peak_ewma pool",
        "telemetry": "metrics tracing",
        "auth": "caller identity",
        "limits": "gcra headers limit rate_limiter",
        "routing": "plan table",
        "proxy": "admission answering deliveries delivery proxy",
        "own_api": "batch_request",
    }.items()
    for name in names.split()
)


class CompileHotPath(Command):
    """Compile the hot path in place unless that is done; without a C compiler, say so and go on."""

    description = "compile the gateway's hot path in place"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        """It has none."""

    def finalize_options(self) -> None:
        """It has none."""

    def run(self) -> None:
        sources = record()
        if RECORD.is_file() and RECORD.read_text("utf-8") == sources:
            return
        print("Compiling the gateway's hot path; this takes a minute or two.")
        remove()
        log = ROOT / "build" / "compile.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as file:
            done = subprocess.run(
                [sys.executable, __file__, "build_ext", "--inplace"],
                cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        if done.returncode == 0 and any(ROOT.glob("gateway/**/*.so")):
            RECORD.write_text(sources, "utf-8")  # as they were when it began
            return
        remove()
        if shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"):
            print(f"The gateway could not be compiled: {log} tells why.", file=sys.stderr)
        else:
            print("There is no C compiler.", file=sys.stderr)
        print("The gateway runs from its sources, at about half the speed.", file=sys.stderr)


def record() -> str:
    """SHA-256 and path of each source; machine code is for one version of the interpreter.

    Constants of modules that are not compiled are written into those that are: all of them count.
    """
    paths = sorted(
        str(path.relative_to(ROOT))
        for path in (*ROOT.glob("gateway/**/*.py"), *ROOT.glob("shared/**/*.py"))
    )
    digests = (hashlib.sha256((ROOT / path).read_bytes()).hexdigest() for path in paths)
    lines = [f"{digest} {path}\n" for digest, path in zip(digests, paths, strict=True)]
    return "".join([f"{sys.implementation.cache_tag} python\n", *lines])


def remove() -> None:
    RECORD.unlink(missing_ok=True)
    for old in ROOT.glob("gateway/**/*.so"):
        old.unlink()


def extensions() -> list[Extension]:
    """The compiled modules; none where mypyc is missing."""
    if "build_ext" not in sys.argv and "bdist_wheel" not in sys.argv:
        return []
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 - there or not
    except ImportError:
        return []
    if "bdist_wheel" in sys.argv:
        RECORD.write_text(record(), "utf-8")
    found: list[Any] = mypycify(list(HOT_PATH), group_name="gateway.hot_path", debug_level="0")
    return found


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"compile_hot_path": CompileHotPath})
