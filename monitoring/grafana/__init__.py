"""Grafana's dashboards: `python -m monitoring.grafana` writes `dashboards/*.json` from the modules here."""
