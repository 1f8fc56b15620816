"""Rows as COPY takes them: phone numbers encrypted, times in UTC."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ai_services.enrichment import store
from ai_services.enrichment.legs.identify import identified
from ai_services.enrichment.legs.rows import is_of_legs
from ai_services.enrichment.legs.store import STAGED_COLUMNS as LEG_COLUMNS
from ai_services.enrichment.phone import PhoneCipher


def stage(frame: pl.DataFrame, cipher: PhoneCipher) -> bytes:
    """CSV for COPY with the columns of `store.STAGING_COLUMNS`, or of legs, each once.

    Phone numbers leave encrypted. A call without a customer is that of whoever has its number.
    """
    if frame.is_empty():
        return b""
    if is_of_legs(frame):
        return to_csv(legs_of(frame, cipher), LEG_COLUMNS)
    return to_csv(_protected(frame, cipher), store.STAGING_COLUMNS)


def legs_of(frame: pl.DataFrame, cipher: PhoneCipher) -> pl.DataFrame:
    """Rows of LEG_SCHEMA as legs, each once, with the columns that are kept of one."""
    legs = identified(_protected(frame, cipher))
    return legs.unique(["callid", "leg_id"], keep="last", maintain_order=True).select(LEG_COLUMNS)


def to_csv(rows: pl.DataFrame, columns: Sequence[str]) -> bytes:
    text: str = rows.select(columns).write_csv(
        include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6f+00:00"
    )
    return text.encode()


def hex_bytes(value: bytes | None) -> str | None:
    """As PostgreSQL reads bytea."""
    return None if value is None else f"\\x{value.hex()}"


def _protected(frame: pl.DataFrame, cipher: PhoneCipher) -> pl.DataFrame:
    phones = frame["phone"].to_list() if frame["phone"].null_count() < frame.height else []
    if not phones:
        empty = pl.lit(None, pl.String)
        return frame.with_columns(empty.alias("phone_cipher"), empty.alias("phone_masked"))
    pairs = [cipher.protect(phone) if phone is not None else None for phone in phones]
    ciphers = [hex_bytes(pair[0]) if pair else None for pair in pairs]
    masks = [pair[1] if pair else None for pair in pairs]
    customers = [
        cipher.identity(phone) if customer is None and phone is not None else customer
        for customer, phone in zip(frame["customer_id"].to_list(), phones, strict=True)
    ]
    return frame.with_columns(
        pl.Series("customer_id", customers, pl.String),
        pl.Series("phone_cipher", ciphers, pl.String),
        pl.Series("phone_masked", masks, pl.String),
    )
