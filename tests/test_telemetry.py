"""Promise 5, as far as files tell it: what is recorded, kept, shown and alerted on fits."""

import json
import re
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import matrix
import pytest
import yaml
from conftest import ROOT, Render, run, succeeds

OBSERVABILITY = [
    subset for subset in matrix.values("observability") if matrix.allowed({"observability": subset})
]
IMAGES = yaml.safe_load((ROOT / "extensions/versions.yml").read_text())["images"]

each_subset = pytest.mark.parametrize("observability", OBSERVABILITY, ids="+".join)
each_database = pytest.mark.parametrize("database", matrix.values("database"))
with_metrics = pytest.mark.parametrize(
    "observability", [subset for subset in OBSERVABILITY if "metrics" in subset], ids="+".join
)


def compose(service: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((service / "docker-compose.yml").read_text())
    return document


def promtool(folder: Path, *arguments: str) -> None:
    """Run promtool of this machine, else of the image that the services run."""
    if shutil.which("promtool"):
        run("promtool", *arguments, cwd=folder)
        return
    image = f"{IMAGES['prometheus']['name']}:{IMAGES['prometheus']['tag']}"
    if shutil.which("docker") is None or not succeeds("docker", "version"):
        pytest.skip("neither promtool nor a Docker engine is here")
    run(
        "docker", "run", "--rm", "--entrypoint=promtool", "--workdir=/service",
        f"--volume={folder}:/service:ro", image, *arguments,
    )  # fmt: skip


@each_database
@each_subset
def test_compose_runs_what_was_chosen(
    render: Render, observability: list[str], database: str
) -> None:
    services = set(compose(render(observability=observability, database=database))["services"])

    expected = {"api"}
    if database == "postgresql":
        expected |= {"migrate", "db"}
    if observability:
        expected |= {"otel-collector"}
    if "metrics" in observability:
        expected |= {"prometheus"}
    if "traces" in observability:
        expected |= {"jaeger"}
    if "dashboards" in observability:
        expected |= {"grafana"}
    assert services == expected


@each_subset
def test_whatever_is_addressed_is_there(render: Render, observability: list[str]) -> None:
    """Each host in a file of the stack is a service of Compose."""
    service = render(observability=observability)
    services = set(compose(service)["services"])
    files = [
        service / "docker-compose.yml",
        *(
            path
            for name in ("otel", "prometheus", "grafana")
            for path in (service / name).rglob("*.y*ml")
        ),
    ]
    address = re.compile(r"\b([a-z][a-z-]+):(?:9464|4317|4318|9090|16686)\b")
    hosts = {host for path in files for host in address.findall(path.read_text())}

    assert hosts <= services
    assert bool(hosts) == bool(observability)


@each_subset
def test_what_compose_mounts_is_there(render: Render, observability: list[str]) -> None:
    service = render(observability=observability)
    document = compose(service)
    sources = [
        volume.split(":")[0]
        for definition in document["services"].values()
        for volume in definition.get("volumes", [])
    ]

    assert all((service / path).exists() for path in sources if path.startswith("."))
    assert {name for name in sources if not name.startswith(".")} == set(document["volumes"])


@each_subset
def test_ports_are_published_to_this_machine_alone_and_can_be_moved(
    render: Render, observability: list[str]
) -> None:
    service = render(observability=observability)
    settings = (service / ".env.example").read_text()
    for definition in compose(service)["services"].values():
        for port in definition.get("ports", []):
            found = re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-(\d+)\}:\d+", port)
            assert found, port
            assert f"{found[1]}={found[2]}\n" in settings


@pytest.mark.parametrize(
    "observability", [subset for subset in OBSERVABILITY if subset], ids="+".join
)
def test_the_collector_uses_each_part_it_defines(render: Render, observability: list[str]) -> None:
    path = render(observability=observability) / "otel/otel-config.yaml"
    config = yaml.safe_load(path.read_text())
    pipelines = config["service"]["pipelines"]

    assert set(pipelines) == set(observability) - {"dashboards"}
    for kind in ("receivers", "processors", "exporters"):
        used = {part for pipeline in pipelines.values() for part in pipeline[kind]}
        assert used == set(config[kind])
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    # The first one refuses data before memory runs out.
    assert all(pipeline["processors"][0] == "memory_limiter" for pipeline in pipelines.values())
    listeners = re.findall(r"endpoint: (\S+):(?:4317|4318|9464|13133)\n", path.read_text())
    assert {host for host in listeners if host != "jaeger"} == {"0.0.0.0"}


@each_database
@with_metrics
def test_prometheus_takes_its_files(
    render: Render, observability: list[str], database: str
) -> None:
    """`check config` reads the rules too; `test rules` fires each alert."""
    folder = render(observability=observability, database=database) / "prometheus"

    promtool(folder, "check", "config", "prometheus.yml")
    promtool(folder, "test", "rules", "alerts_test.yml")


@each_database
def test_each_alert_is_tested_to_fire(render: Render, database: str) -> None:
    folder = render(database=database) / "prometheus"
    rules = yaml.safe_load((folder / "alerts.yml").read_text())
    tests = yaml.safe_load((folder / "alerts_test.yml").read_text())
    alerts = {
        rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    fired = {
        case["alertname"]
        for test in tests["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }

    assert fired == alerts


def test_a_rule_that_does_not_fire_fails_the_test(render: Render, tmp_path: Path) -> None:
    """The check above can fail."""
    folder = tmp_path / "prometheus"
    shutil.copytree(render() / "prometheus", folder)
    rules = (folder / "alerts.yml").read_text()
    (folder / "alerts.yml").write_text(rules.replace("14.4 * 0.001", "144 * 0.001"))

    with pytest.raises(AssertionError, match="ErrorBudgetBurnsFast"):
        promtool(folder, "test", "rules", "alerts_test.yml")


@pytest.fixture(params=matrix.values("database"))
def grafana(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(database=request.param) / "grafana"


def panels(grafana: Path) -> list[dict[str, Any]]:
    dashboard = json.loads((grafana / "dashboards/service.json").read_text())
    found: list[dict[str, Any]] = dashboard["panels"]
    return found


def test_panels_have_ids_of_their_own_and_do_not_overlap(grafana: Path) -> None:
    ids = Counter(panel["id"] for panel in panels(grafana))
    cells = Counter(
        (x, y)
        for position in (panel["gridPos"] for panel in panels(grafana))
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    )

    assert set(ids.values()) == {1}
    assert set(cells.values()) == {1}
    assert max(x for x, _ in cells) == 23


def test_panels_ask_data_sources_that_are_provisioned(grafana: Path) -> None:
    sources = yaml.safe_load((grafana / "provisioning/datasources/datasources.yml").read_text())
    known = {source["uid"]: source for source in sources["datasources"]}
    exemplars = known["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]

    asked = {
        target["datasource"]["uid"]
        for panel in panels(grafana)
        for target in panel.get("targets", [])
    }
    assert asked == {"prometheus"}
    assert {destination["datasourceUid"] for destination in exemplars} <= set(known)


@each_database
@each_subset
def test_the_service_depends_on_what_it_imports(
    render: Render, observability: list[str], database: str
) -> None:
    service = render(observability=observability, database=database)
    project = tomllib.loads((service / "pyproject.toml").read_text())["project"]
    source = "".join(path.read_text() for path in (service / "src").rglob("*.py"))
    declared = {
        match[0]
        for requirement in project["dependencies"]
        if (match := re.match(r"opentelemetry-[a-z-]+", requirement))
    }

    imported = {
        "opentelemetry-sdk": "from opentelemetry.sdk",
        "opentelemetry-exporter-otlp-proto-http": "otlp_proto_http",
        "opentelemetry-instrumentation-sqlalchemy": "SQLAlchemyInstrumentor",
        "opentelemetry-instrumentation-system-metrics": "SystemMetricsInstrumentor",
    }
    assert declared == {package for package, word in imported.items() if word in source}
    assert list(project.get("optional-dependencies", {})) == (["grpc"] if observability else [])


@each_database
@each_subset
def test_the_lock_fits(render: Render, observability: list[str], database: str) -> None:
    run("poetry", "check", "--lock", cwd=render(observability=observability, database=database))


@pytest.mark.parametrize("clouds", matrix.values("clouds"), ids="+".join)
def test_the_image_speaks_grpc_where_a_cloud_speaks_nothing_else(
    render: Render, clouds: list[str]
) -> None:
    dockerfile = (render(clouds=clouds) / "Dockerfile").read_text()

    assert ("--extras grpc" in dockerfile) == ("azure" in clouds)
