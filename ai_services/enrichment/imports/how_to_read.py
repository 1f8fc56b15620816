"""How a file is to be read, as whoever sends it says; kept with its job."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Self

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import (
    Preset,
    in_timezone,
    parse_preset,
)
from ai_services.enrichment.reading.read_file import Batch, read_calls
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from shared.errors import InvalidInput

# Content type → the suffix that says the same of a file.
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "text/csv": ".csv",
    "application/x-ndjson": ".ndjson",
    "application/json": ".json",
    "application/gzip": "",
    "application/vnd.apache.parquet": ".parquet",
    "application/octet-stream": "",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.ms-excel": "",  # of browsers on Windows, for CSV as well
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/zip": "",
    "text/tab-separated-values": ".tsv",
}
_MAP: Final = "column_map"
# Of a job: a batch is a transaction, and its reading keeps the process from others for a moment.
_BATCH_ROWS: Final = 5_000
_BATCH_BYTES: Final = 4 << 20
_MOST_UNPACKED: Final = 4 << 30
_MOST_UNPACKED_TO_CHECK: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class HowToRead:
    """`preset` is the name of one that is built in; a column map, as TOML, takes its place."""

    preset: str = "calls"
    column_map: str | None = None
    encoding: str | None = None
    strict_columns: bool = False
    sheet: str | None = None
    timezone: str | None = None

    @classmethod
    def asked(
        cls,
        *,
        preset: str,
        column_map: str | None,
        encoding: str | None,
        strict_columns: bool,
        sheet: str | None,
        charset: str,
        timezone: str | None = None,
    ) -> Self:
        """As a request has it: the map in base64, the charset where no encoding is said. That of
        UTF-8 says nothing: clients write it whatever they send.

        InvalidInput names each mistake of a map.
        """
        text = None if column_map is None else _decoded(column_map)
        how = cls(preset, text, encoding or _told(charset), strict_columns, sheet, timezone)
        how.columns()
        return how

    @classmethod
    def of_args(cls, args: Mapping[str, Any]) -> Self:
        return cls(**args)

    def to_args(self) -> dict[str, Any]:
        args = asdict(self)
        if self.timezone is None:  # a process of the release before doesn't know it
            del args["timezone"]
        return args

    @property
    def shown(self) -> str:
        """What the list of imports calls it."""
        return self.preset if self.column_map is None else _MAP

    def columns(self) -> Preset:
        known = (
            load_preset(self.preset)
            if self.column_map is None
            else parse_preset(_MAP, self.column_map)
        )
        return in_timezone(known, self.timezone)

    def check(self, file: CallFile) -> None:
        """Read its beginning. FileRefused for what is no file of calls, or lacks a column."""
        next(self._read(file, None, _MOST_UNPACKED_TO_CHECK))

    def batches(self, file: CallFile, now: datetime, *, country: str) -> Iterator[Batch]:
        """The same ones for the same `now`. InvalidInput for a file that is refused on the way.

        `country` is where phone numbers without a country code belong.
        """
        return self._read(file, now, _MOST_UNPACKED, country)

    def _read(
        self, file: CallFile, now: datetime | None, most: int, country: str = DEFAULT_COUNTRY
    ) -> Iterator[Batch]:
        return read_calls(
            file,
            self.columns(),
            batch_rows=_BATCH_ROWS,
            batch_bytes=_BATCH_BYTES,
            strict_columns=self.strict_columns,
            encoding=self.encoding,
            sheet=self.sheet,
            max_unpacked=most,
            now=now,
            country=country,
        )


def _told(charset: str) -> str | None:
    return None if charset.replace("-", "").casefold() in ("", "utf8") else charset


def _decoded(column_map: str) -> str:
    """From base64, of either alphabet, padded or not."""
    plain = column_map.replace("-", "+").replace("_", "/").replace(" ", "+").rstrip("=")
    try:
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        return raw.decode()
    except (binascii.Error, UnicodeDecodeError):
        fix = "send the TOML file in base64, as `base64 -w0 columns.toml` writes it"
        raise InvalidInput.of(_MAP, "is no UTF-8 text in base64", fix) from None
