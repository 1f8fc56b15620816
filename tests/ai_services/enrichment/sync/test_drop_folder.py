"""Which files of a drop folder are delivered, and what becomes of them. Nothing outside is touched."""

from __future__ import annotations

import gzip
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ai_services.enrichment.sync.drop_folder import DropFolder
from ai_services.enrichment.sync.source import Organisation
from shared.errors import InvalidInput, StoreError
from tests.ai_services.enrichment.calls_files import as_csv, call
from tests.ai_services.enrichment.reading.tables.workbooks import xlsx

ACME = Organisation(UUID(int=7), "acme")
ROWS = as_csv([call()])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "sync"
    root.mkdir()
    return root


def put(folder: Path, name: str, content: bytes = ROWS, *, age_s: float = 3600) -> Path:
    """A file that was last written to that long ago."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    at = time.time() - age_s
    os.utime(path, (at, at))
    return path


async def names(root: Path, organisation: Organisation = ACME) -> list[str]:
    return [one.name for one in (await DropFolder(root).look(organisation)).deliveries]


async def test_files_are_delivered_oldest_first_by_short_name_or_id(root) -> None:
    put(root / "acme", "b.csv", age_s=200)
    put(root / "acme", "a.CSV.GZ", age_s=100)
    put(root / str(ACME.org_id), "c.ndjson", age_s=300)
    put(root / "globex", "theirs.csv")
    supply = await DropFolder(root).look(ACME)
    assert [one.name for one in supply.deliveries] == ["c.ndjson", "b.csv", "a.CSV.GZ"]
    assert (supply.sources, supply.waiting, supply.refused) == (2, 0, 0)
    (batch,) = supply.deliveries[1].batches(datetime.now(UTC))
    assert batch.frame["callid"].to_list() == ["c-1"]


async def test_of_a_compressed_file_no_more_is_unpacked_than_is_said(root) -> None:
    content = as_csv([call(callid=f"c-{number}") for number in range(3000)])
    put(root / "acme", "day.csv.gz", gzip.compress(content))
    source = DropFolder(root, most_unpacked=len(content) - 1)
    (delivery,) = (await source.look(ACME)).deliveries
    with pytest.raises(InvalidInput, match="unpacks to more"):
        list(delivery.batches(datetime.now(UTC)))


async def test_without_a_folder_there_is_no_source(root) -> None:
    supply = await DropFolder(root).look(ACME)
    assert (supply.sources, list(supply.deliveries)) == (0, [])


async def test_what_is_still_written_to_waits(root) -> None:
    put(root / "acme", "fresh.csv", age_s=5)
    put(root / "acme", "from-the-future.csv", age_s=-500)
    put(root / "acme", "done.csv", age_s=61)
    supply = await DropFolder(root).look(ACME)
    assert [one.name for one in supply.deliveries] == ["done.csv"]
    assert supply.waiting == 2


async def test_what_is_no_export_is_left_alone(root) -> None:
    for name in (".hidden.csv", "notes.txt", "calls.csv.part", "columns.toml.bak", "calls"):
        put(root / "acme", name)
    (root / "acme" / "old.csv").mkdir()
    supply = await DropFolder(root).look(ACME)
    assert (list(supply.deliveries), supply.refused) == ([], 1)  # a folder of such a name


async def test_nothing_that_leads_out_of_the_folder_is_followed(root, tmp_path) -> None:
    secret = put(tmp_path / "elsewhere", "secret.csv")
    put(root / "acme", "own.csv")
    (root / "acme" / "link.csv").symlink_to(secret)
    (root / "acme" / "up.csv").symlink_to("../../elsewhere/secret.csv")
    (root / "globex").symlink_to(secret.parent)
    supply = await DropFolder(root).look(ACME)
    assert [one.name for one in supply.deliveries] == ["own.csv"]
    assert supply.refused == 2
    assert await names(root, Organisation(UUID(int=8), "globex")) == []


async def test_a_file_that_becomes_a_link_is_not_read(root, tmp_path) -> None:
    secret = put(tmp_path / "elsewhere", "secret.csv")
    path = put(root / "acme", "own.csv")
    (delivery,) = (await DropFolder(root).look(ACME)).deliveries
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(InvalidInput, match="can't be opened"):
        next(delivery.batches(datetime.now(UTC)))
    assert not await delivery.settle(uuid4(), None)
    assert secret.exists()


async def test_a_folder_of_done_files_that_leads_out_is_refused(root, tmp_path) -> None:
    path = put(root / "acme", "own.csv")
    (tmp_path / "elsewhere").mkdir()
    (root / "acme" / "done").symlink_to(tmp_path / "elsewhere")
    (delivery,) = (await DropFolder(root).look(ACME)).deliveries
    with pytest.raises(StoreError, match="SYNC_FOLDER"):
        await delivery.settle(uuid4(), None)
    assert path.exists()


async def test_a_short_name_that_looks_like_an_id_opens_nobodys_folder(root) -> None:
    put(root / str(ACME.org_id), "private.csv")
    thief = Organisation(UUID(int=9), str(ACME.org_id))
    assert await names(root, thief) == []
    assert await names(root) == ["private.csv"]


async def test_files_are_moved_and_overwrite_none(root) -> None:
    folder = root / "acme"
    for error, kind in ((None, "done"), ("It is empty.", "failed")):
        first, second = uuid4(), uuid4()
        for import_id in (first, second):
            path = put(folder, "day.csv.gz")
            (delivery,) = (await DropFolder(root).look(ACME)).deliveries
            assert await delivery.settle(import_id, error)
            assert not path.exists()
        kept = {one.name for one in (folder / kind).iterdir()}
        assert kept == {"day.csv.gz", f"{second}.csv.gz"}
    assert await names(root) == []


async def test_what_changed_meanwhile_stays(root) -> None:
    path = put(root / "acme", "day.csv")
    (delivery,) = (await DropFolder(root).look(ACME)).deliveries
    put(root / "acme", "day.csv", ROWS + b"\n", age_s=100)
    assert not await delivery.settle(uuid4(), None)
    assert path.exists()
    (again,) = (await DropFolder(root).look(ACME)).deliveries
    assert again.key != delivery.key


async def test_a_column_map_beside_the_files_reads_them(root) -> None:
    renamed = {("编号" if name == "callid" else name): value for name, value in call().items()}
    put(root / "acme", "day.csv", as_csv([renamed]).decode().encode("gbk"))
    put(root / "acme", "columns.toml", 'encoding = "gbk"\n[columns]\ncallid = "编号"\n'.encode())
    (delivery,) = (await DropFolder(root).look(ACME)).deliveries
    (batch,) = delivery.batches(datetime.now(UTC))
    assert (batch.frame["callid"].to_list(), delivery.preset) == (["c-1"], "columns.toml")
    put(root / "acme", "columns.toml", b"[colums]\n")
    with pytest.raises(InvalidInput, match="colums"):
        await DropFolder(root).look(ACME)


async def test_workbooks_and_texts_in_other_encodings_are_delivered(root) -> None:
    one = call(user_id="王芳")
    rows = [list(one), list(one.values())]
    put(root / "acme", "day.xlsx", xlsx(("calls", rows)))
    put(root / "acme", "day.csv", as_csv([one]).decode().encode("gbk"))
    put(root / "acme", "day.json", json.dumps([one], indent=1).encode())
    deliveries = list((await DropFolder(root).look(ACME)).deliveries)
    assert len(deliveries) == 3
    for delivery in deliveries:
        (batch,) = delivery.batches(datetime.now(UTC))
        assert batch.frame["user_id"].to_list() == ["王芳"]


async def test_a_name_that_is_no_utf_8_is_refused(root) -> None:
    put(root / "acme", os.fsdecode(b"day\xff.csv"))
    supply = await DropFolder(root).look(ACME)
    assert (list(supply.deliveries), supply.refused) == ([], 1)


async def test_a_root_that_is_not_there_names_the_setting(tmp_path) -> None:
    with pytest.raises(StoreError, match="SYNC_FOLDER"):
        await DropFolder(tmp_path / "away").look(ACME)
