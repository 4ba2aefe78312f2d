"""The files of `operation/` fit the service: its metrics, its command line, its addresses and its times."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.testing
import yaml
from typer.main import get_command

from intently.cli import app
from intently.serve.api import ENDPOINTS
from intently.serve.metrics import Metrics
from intently.serve.service import GAUGES
from intently.serve.settings import ServeSettings
from operation.dashboard import PATH, dashboard

ROOT = Path(__file__).parents[2]
FILES = ROOT / "operation"
SUFFIXES = re.compile(r"_(bucket|count|sum|total|info)$")


def read(name):
    return list(yaml.safe_load_all((FILES / name).read_text(encoding="utf-8")))


def own_metrics():
    return {family.name for family in Metrics().registry.collect()} | set(GAUGES)


def named_in(expression):
    return {SUFFIXES.sub("", name) for name in re.findall(r"intently_[a-z_]+", expression)}


def expressions_of(board):
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def options_of_serve():
    [serve] = [command for name, command in get_command(app).commands.items() if name == "serve"]
    return {option for parameter in serve.params for option in parameter.opts}


def test_the_dashboard_is_of_the_metrics_as_they_are():
    assert json.loads(PATH.read_text(encoding="utf-8")) == dashboard(), "run: python operation/dashboard.py"
    shown = set().union(*(named_in(each) for each in expressions_of(dashboard())))
    assert shown == own_metrics()


def test_panels_do_not_overlap():
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in dashboard()["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places)) and max(x for x, _ in places) < 24


def test_alerts_watch_metrics_that_exist():
    [alerts] = read("alerts.yaml")
    routes = {f"{each.method} {each.path}" for each in ENDPOINTS}
    page = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    for rule in (rule for group in alerts["groups"] for rule in group["rules"]):
        assert named_in(rule["expr"]) <= own_metrics(), rule["alert"]
        assert set(re.findall(r'route="([^"]+)"', rule["expr"])) <= routes
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert f"`{rule['alert']}`" in page, f"docs/operation.md does not explain {rule['alert']}"


def test_whoever_starts_the_service_uses_options_that_it_has():
    [compose] = read("compose.yaml")
    [pods] = [each for each in read("kubernetes.yaml") if each["kind"] == "StatefulSet"]
    docker = json.loads(re.search(r"^CMD (\[.*\])$", (FILES / "Dockerfile").read_text(), re.M)[1])
    unit = shlex.split(re.search(r"^ExecStart=(.*)$", (FILES / "intently.service").read_text(), re.M)[1])[1:]
    starts = [
        compose["services"]["intently"]["command"],
        pods["spec"]["template"]["spec"]["containers"][0]["args"],
        docker,
        unit,
    ]
    for words in starts:
        assert words[0] == "serve"
        used = {word for word in words if word.startswith("--")}
        assert used <= options_of_serve() and "--keys" in used
    told = typer.testing.CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert "INTENTLY_LOG" in told and "INTENTLY_CACHE" in told


def test_everybody_waits_for_the_service_to_drain():
    settings = ServeSettings()
    needed = settings.drain_delay_s + settings.drain_timeout_s
    [compose] = read("compose.yaml")
    [pods] = [each for each in read("kubernetes.yaml") if each["kind"] == "StatefulSet"]
    unit = (FILES / "intently.service").read_text()
    assert int(compose["services"]["intently"]["stop_grace_period"].removesuffix("s")) > needed
    assert pods["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)[1]) > needed


def test_probes_ask_addresses_that_exist():
    [pods] = [each for each in read("kubernetes.yaml") if each["kind"] == "StatefulSet"]
    [container] = pods["spec"]["template"]["spec"]["containers"]
    paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    paths |= set(re.findall(r"127\.0\.0\.1:8080(/\w+)", (FILES / "Dockerfile").read_text()))
    [prometheus] = read("prometheus.yaml")
    paths |= {job["metrics_path"] for job in prometheus["scrape_configs"]}
    assert paths <= {endpoint.path for endpoint in ENDPOINTS}


def test_files_that_files_name_exist():
    [compose] = read("compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and source != "./data":
                assert (FILES / source).is_file(), source
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", (FILES / "Dockerfile").read_text(), re.M):
        assert all((ROOT / each).exists() for each in source.split())


def test_secrets_are_in_no_file():
    for path in FILES.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert not re.search(r"(?i)(password|secret)\s*[:=]\s*[a-z0-9]{6,}\s*$", path.read_text(), re.M), path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
def test_systemd_understands_the_unit(tmp_path):
    program = tmp_path / "intently"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "intently.service"
    text = (FILES / "intently.service").read_text()
    unit.write_text(text.replace("/opt/intently/bin/intently", str(program)))
    told = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0 and not told.stderr, told.stderr
