"""How the service is run: containers, systemd, Prometheus, Grafana (docs/operation.md)."""
