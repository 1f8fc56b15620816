"""`looma customers` and `looma calls` as people use them."""

from __future__ import annotations

from pathlib import Path

from looma_cli import exit_codes
from tests.ai_services.enrichment.records import TURNS, record, write_jsonl
from tests.looma_cli.looma import Looma


def test_customers_are_merged_split_erased_and_stay_out(looma: Looma, tmp_path: Path) -> None:
    calls = [
        *(record(f"call-{n:04}", customer_id="hers") for n in range(1100)),
        record("call-alias", customer_id="alias", turns=TURNS),
        record("call-x", customer_id="x"),
    ]
    path = str(write_jsonl(tmp_path / "calls.jsonl", calls))
    looma("import", path, "--no-analyze")
    merged = looma.json("customers", "merge", "alias", "hers")
    assert (merged["customer_id"], merged["into"], merged["calls"]) == ("alias", "hers", 1)
    told = looma.json("customers", "history", "hers")
    assert (told["survivor"], told["aliases"]) == ("hers", ["alias"])
    assert "alias" in looma("customers", "history", "hers")
    assert merged["merge_id"] in looma("customers", "split", "alias", merged["merge_id"])
    looma("customers", "merge", "alias", "hers")
    asked = looma.run("customers", "erase", "hers", stdin="n\n")
    assert (asked.returncode, "Nothing was erased" in asked.stderr) == (exit_codes.FAILED, True)
    receipt = looma.json("customers", "erase", "hers", "--yes")
    assert (receipt["state"], receipt["calls"], receipt["customers"]) == ("done", 1101, 2)
    again = looma.json("import", path, "--no-analyze")
    assert (again["inserted"], again["unchanged"]) == (0, 1102)
    assert any("1101 calls stayed out" in one for one in again["warnings"])
    single = looma.json("calls", "erase", "call-x", "--yes")
    assert (single["kind"], single["calls"]) == ("call", 1)
    assert "There is no such call" in looma.refusal("calls", "erase", "nobodys", "--yes")
    actions = [entry["action"] for entry in looma.json("audit", "list")]
    assert actions[:2] == ["call.erased", "customer.erased"]
    assert looma.json("audit", "verify")["intact"]
