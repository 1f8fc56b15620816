"""What watches the platform: Prometheus' configuration, and Grafana's dashboards made from code."""
