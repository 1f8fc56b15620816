"""`looma down` stops everything of a home; `looma reset` deletes its data, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from looma_cli import exit_codes

if TYPE_CHECKING:
    from shared.config import Config

_STORES_STOP_S = 90.0
_EXIT_S = 10.0
_STORE_FOLDERS = ("postgres", "redis", "graph")
_OWN = (*_STORE_FOLDERS, "logs", "run", "stores.json", "stores.lock", "first-admin-password")


def down() -> None:
    """Stop everything that runs on this home, whoever started it."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    stopped = run(stop_all)
    say("Stopped: " + ", ".join(stopped) + "." if stopped else "Nothing was running.")


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete all data of this home: stores, logs, secrets. Asks first."""
    from looma_cli.runner import run, settings
    from looma_cli.terminal.console import say

    config = settings()
    if not config.home.exists():
        say(f"There is nothing in {config.home}.")
        return
    say(f"This deletes everything that Looma AI keeps in {config.home}. It can't be undone.")
    if config.database_url:
        say("The database of DATABASE_URL and the secrets that it needs are left alone.")
    if not yes and not typer.confirm("Delete it?", err=True):
        say("Nothing was deleted.")
        raise typer.Exit(exit_codes.FAILED)
    run(stop_all)
    delete(config)
    say("Deleted.")


async def stop_all(config: Config) -> list[str]:
    """End the supervisor with what it runs, orphans of a killed one, and the stores; their names."""
    import psutil

    from looma_cli.supervision.run_state import RunFiles, living, wait_until_free
    from shared.embedded.stores import EmbeddedStores
    from shared.errors import LoomaError

    if not config.home.exists():
        return []
    files, stores = RunFiles(config.home), EmbeddedStores(config.home)
    state, stopped = files.read(), list[str]()
    running = [name for name, health in (await stores.health()).items() if health.pid]
    if files.is_held() and state is not None:
        stopped.append("supervisor")
        stopped += [process.name for process in state.processes if process.pid]
        found = [process for process in living(state) if process.pid == state.pid]
        for process in found:
            process.terminate()
        # The gateway's drain, then the services', then the stores, then the process itself.
        patience = 2 * config.shutdown_seconds + _STORES_STOP_S
        if not wait_until_free(files, patience) or psutil.wait_procs(found, _EXIT_S)[1]:
            raise LoomaError(
                f"The supervisor (process {state.pid}) does not end. Its log is in "
                f"{config.home / 'logs'}; end it with: kill -9 {state.pid}, then looma down again."
            )
    elif state is not None:
        for process in living(state):
            process.kill()
            stopped.append(f"orphan {process.pid}")
    await stores.stop()
    return stopped + running


def delete(config: Config) -> None:
    """Remove what is ours and nothing else; the home itself goes if that leaves it empty."""
    import shutil

    from shared.errors import LoomaError

    names = [*_OWN] if config.database_url else [*_OWN, "secrets"]
    try:
        for name in names:
            path = config.home / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(config.home.iterdir()):
            config.home.rmdir()
    except OSError as error:
        raise LoomaError(
            f"{error.filename or config.home} can't be deleted: {error.strerror}. "
            "Delete it as the user that owns it."
        ) from error
