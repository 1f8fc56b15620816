"""Labelled texts that anybody can tell apart."""

from __future__ import annotations

import csv
from pathlib import Path

from ai_services.enrichment.analysis.training.labelled import Labelled

TOPICS = {
    "refund": ["I want my money back", "please refund the payment", "我要退款，把钱退给我"],
    "delivery": ["where is my parcel", "the delivery is late", "快递还没到，什么时候送"],
    "card": ["my card was declined", "the card doesn't work", "银行卡刷不了，被拒绝了"],
}


def labelled(each: int = 4, labels: int = 3) -> Labelled:
    pairs = [
        (f"{text} {number}", topic)
        for topic, texts in list(TOPICS.items())[:labels]
        for text in texts
        for number in range(each)
    ]
    return Labelled.of([text for text, _ in pairs], [topic for _, topic in pairs], "rows.csv")


def write_csv(path: Path, rows: Labelled, text: str = "text", label: str = "label") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((text, label))
        writer.writerows(zip(rows.texts, rows.labels, strict=True))
    return path
