"""A folder that diallers and PBXes export to: `SYNC_FOLDER/<organisation>/`.

A file is delivered once nobody has written to it for a minute, and lies in `done/` or `failed/`
afterwards. Nothing outside of an organisation's folder is read or written: no link is followed, and
every file is reached through its folder's descriptor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import BinaryIO, Final, Literal
from uuid import UUID

import structlog

from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import Preset, parse_preset
from ai_services.enrichment.reading.read_file import Batch, read_calls
from ai_services.enrichment.sync.source import Delivery, Organisation, Supply
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from shared.errors import StoreError

COLUMN_MAP: Final = "columns.toml"
_SUFFIXES: Final = frozenset(
    {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"}
    | {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".zip"}
)
_QUIET_S: Final = 60.0
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST_MAP: Final = 1 << 20
_BATCH_ROWS: Final = 5_000
_BATCH_BYTES: Final = 4 << 20
_MOST_UNPACKED: Final = 16 << 30  # more than a job has the time for
_log = structlog.get_logger("looma.sync")


class DropFolder:
    """The CallSource of the folders under `root`: each by an organisation's short name or id.

    A file that was written to within `quiet_s` seconds is left for the next time. Of a compressed one
    no more than `most_unpacked` bytes are taken. `country` is where phone numbers without a country
    code belong.
    """

    def __init__(
        self,
        root: Path,
        *,
        quiet_s: float = _QUIET_S,
        most_unpacked: int = _MOST_UNPACKED,
        country: str = DEFAULT_COUNTRY,
    ) -> None:
        self._root = root
        self._most_unpacked = most_unpacked
        self._country = country
        self._quiet_s = quiet_s

    async def look(self, organisation: Organisation) -> Supply:
        """See CallSource; InvalidInput for a column map with mistakes."""
        return await asyncio.to_thread(self._look, organisation)

    def _look(self, organisation: Organisation) -> Supply:
        sources, waiting, refused = 0, 0, 0
        found: list[_DropFile] = []
        for name in _names_of(organisation):
            place = _Place(self._root, name)
            with place.opened() as folder:
                if folder is None:
                    continue
                sources += 1
                preset, shown = _preset(folder)
                for entry in sorted(os.listdir(folder)):  # noqa: PTH208 - of a descriptor
                    match _kind(folder, entry, self._quiet_s):
                        case os.stat_result() as known:
                            found.append(
                                _DropFile(
                                    place,
                                    entry,
                                    known,
                                    preset,
                                    self._most_unpacked,
                                    self._country,
                                    shown,
                                )
                            )
                        case "waiting":
                            waiting += 1
                        case "refused":
                            refused += 1
                            _log.warning("sync_refused", folder=name, file=ascii(entry))
        found.sort(key=lambda one: (one.known.st_mtime_ns, one.file))
        return Supply(sources, found, waiting, refused)


@dataclass(frozen=True, slots=True)
class _Place:
    """An organisation's folder."""

    root: Path
    name: str

    @contextmanager
    def opened(self) -> Iterator[int | None]:
        """Its descriptor; None if there is none, or what is there is no folder of its own.

        What the system refuses inside the block is a StoreError.
        """
        try:
            root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                folder = self._open(root)
            finally:
                os.close(root)
            try:
                yield folder
            finally:
                if folder is not None:
                    os.close(folder)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(
                f"SYNC_FOLDER: {self.root / self.name} can't be worked with ({reason}). "
                "Give the enrichment service's user the right to read, write and enter it."
            ) from error

    def _open(self, root: int) -> int | None:
        try:
            return os.open(self.name, _FOLDER, dir_fd=root)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a link is no folder
                return None
            raise


@dataclass(frozen=True, slots=True)
class _DropFile(Delivery):
    """A file as it was when it was looked at."""

    place: _Place
    file: str
    known: os.stat_result
    columns: Preset
    most_unpacked: int
    country: str
    preset: str

    @property
    def key(self) -> str:
        known = self.known
        return f"{self.place.name}/{self.file}/{known.st_ino}/{known.st_size}/{known.st_mtime_ns}"

    @property
    def name(self) -> str:
        return self.file

    @property
    def suffixes(self) -> Sequence[str]:
        return PurePath(self.file).suffixes

    @property
    def size(self) -> int:
        return self.known.st_size

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """As a CallFile."""
        refused = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        with self.place.opened() as folder:
            if folder is not None:
                try:
                    return os.fdopen(os.open(self.file, _FILE, dir_fd=folder), mode)
                except OSError as error:  # this file's, not the folder's
                    refused = error
        raise refused

    def batches(self, now: datetime) -> Iterator[Batch]:
        return read_calls(
            self,
            self.columns,
            batch_rows=_BATCH_ROWS,
            batch_bytes=_BATCH_BYTES,
            max_unpacked=self.most_unpacked,
            now=now,
            country=self.country,
        )

    async def settle(self, import_id: UUID, error: str | None) -> bool:
        return await asyncio.to_thread(self._move, "done" if error is None else "failed", import_id)

    def _move(self, kind: str, import_id: UUID) -> bool:
        with self.place.opened() as folder:
            if folder is None or not _same(folder, self.file, self.known):
                return False
            with suppress(FileExistsError):
                os.mkdir(kind, 0o770, dir_fd=folder)
            target = os.open(kind, _FOLDER, dir_fd=folder)
            try:
                name = self.file
                if _known(target, name) is not None:  # of an earlier day
                    name = f"{import_id}{''.join(self.suffixes[-2:])}"
                os.rename(self.file, name, src_dir_fd=folder, dst_dir_fd=target)
            finally:
                os.close(target)
        return True


def _names_of(organisation: Organisation) -> list[str]:
    """A short name that looks like an id isn't one: it might be somebody else's."""
    names = [str(organisation.org_id)]
    try:
        UUID(organisation.slug)
    except ValueError:
        names.append(organisation.slug)
    return names


def _kind(
    folder: int, name: str, quiet_s: float
) -> os.stat_result | Literal["waiting", "refused", "none"]:
    """What there is under a name: a file to be delivered, or why there is none."""
    suffixes = [one.lower() for one in PurePath(name).suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    if name.startswith(".") or not _SUFFIXES.intersection(suffixes[-1:]):
        return "none"
    known = _known(folder, name)
    if known is None:  # taken away meanwhile
        return "none"
    if not stat.S_ISREG(known.st_mode) or not _writable(name):
        return "refused"
    return known if time.time() - known.st_mtime >= quiet_s else "waiting"


def _writable(name: str) -> bool:
    """Whether it is UTF-8: a name that isn't can be told to nobody."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _known(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _same(folder: int, name: str, before: os.stat_result) -> bool:
    now = _known(folder, name)
    return now is not None and (now.st_ino, now.st_size, now.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def _preset(folder: int) -> tuple[Preset, str]:
    """The column map of the folder's files, if there is one."""
    if _known(folder, COLUMN_MAP) is None:
        return load_preset("calls"), "calls"
    with os.fdopen(os.open(COLUMN_MAP, _FILE, dir_fd=folder), "rb") as file:
        text = file.read(_LONGEST_MAP).decode(errors="replace")
    return parse_preset(COLUMN_MAP, text), COLUMN_MAP
