"""Write the dashboards: `python -m monitoring.grafana`."""

from __future__ import annotations

from pathlib import Path

from monitoring.grafana.dashboards import dashboards


def main() -> None:
    folder = Path(__file__).with_name("dashboards")
    for stale in folder.glob("*.json"):
        stale.unlink()
    for name, text in dashboards().items():
        (folder / f"{name}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
