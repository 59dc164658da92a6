"""Promise 2 for deploy files: each is right, and a wrong one is refused by the name of the field.

Schemas are closed and come from the vendors' API descriptions; `clouds.validate` adds what
no schema tells. The loopback clouds of test_deploy.py refuse files by the same rules.
"""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from clouds import validate
from conftest import Answers, Render

DIGEST = "sha256:" + "a" * 64
GROUP = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/orders"
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
VAULT = "https://orders-0123456789.vault.azure.net"
VALUES = {
    "aws": {
        "ACCOUNT": "123456789012",
        "AWS_REGION": "eu-west-1",
        "IMAGE": f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/orders@{DIGEST}",
        "PREVIOUS": "arn:aws:ecs:eu-west-1:123456789012:task-definition/orders:1",
    },
    "azure": {
        "LOCATION": "westeurope",
        "IDENTITY": f"{GROUP}/providers/{IDENTITIES}/orders-run",
        "ENVIRONMENT_ID": f"{GROUP}/providers/Microsoft.App/managedEnvironments/orders",
        "REGISTRY_HOST": "orders0123456789.azurecr.io",
        "IMAGE": f"orders0123456789.azurecr.io/orders@{DIGEST}",
        "DATABASE_URL_SECRET": f"{VAULT}/secrets/database-url/{'b' * 32}",
        "SUFFIX": "abc1234-261124120000",
        "PREVIOUS": "orders--empty",
    },
    "gcp": {
        "RUNTIME_ACCOUNT": "orders-run@acme-prod.iam.gserviceaccount.com",
        "IMAGE": f"europe-west1-docker.pkg.dev/acme-prod/orders/orders@{DIGEST}",
        "DATABASE_URL_VERSION": "3",
        "REVISION": "orders-abc1234-261124120000",
        "PREVIOUS": "orders-00001-abc",
    },
}
FILES: dict[str, Callable[[Any], list[str]]] = {
    "aws/task-definition.json": validate.task_definition,
    "azure/containerapp.json": validate.container_app,
    "azure/migrate.json": validate.container_app_job,
    "gcp/service.yaml": validate.cloud_run,
    "gcp/migrate.yaml": validate.cloud_run_job,
}
ANSWERS: list[Answers] = [
    {
        "service_slug": slug,
        "clouds": ["aws", "azure", "gcp"],
        "observability": seen,
        "database": database,
    }
    for slug, seen, database in [
        ("orders", ["metrics", "traces", "dashboards"], "postgresql"),
        ("orders", ["metrics"], "none"),
        ("the-longest-name-a-slug-may-have", ["traces"], "postgresql"),
        ("x1", [], "none"),
        ("x1", [], "postgresql"),
    ]
]


def fill(service: Path, name: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Run the service's own renderer on a deploy file."""
    return subprocess.run(
        [sys.executable, service / "deploy/render.py", service / "deploy" / name],
        env={"PATH": os.environ["PATH"], **values},
        capture_output=True,
        text=True,
    )


def filled(service: Path, name: str) -> Any:
    result = fill(service, name, **VALUES[name.partition("/")[0]])
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("answers", ANSWERS, ids=str)
def test_deploy_files_are_right(render: Render, answers: Answers, name: str) -> None:
    service = render(**answers)
    if name.endswith(("migrate.json", "migrate.yaml")) and answers["database"] == "none":
        assert not (service / "deploy" / name).exists()
        return
    assert FILES[name](filled(service, name)) == []


def test_the_stack_is_right(render: Render) -> None:
    for answers in ANSWERS:
        text = (render(**answers) / "deploy/aws/stack.yaml").read_text()
        assert validate.cloud_formation(text) == []
        # CloudFormation takes no YAML anchors; cfn-lint does not tell.
        assert not re.search(r"(^|[\s\[:,])[&*][A-Za-z]", text)


# ------------------------------------------------------------- planted mistakes

APP = ("spec", "template", "spec", "containers", 0)
TASK = ("containerDefinitions", 0)
ARM = ("properties", "template", "containers", 0)
REMOVE = object()
ECS, ACA, ACA_JOB, RUN, RUN_JOB = FILES
CONFIGURATION = ("properties", "configuration")
INGRESS = (*CONFIGURATION, "ingress")
TEMPLATE = ("properties", "template")
SPEC = ("spec", "template", "spec")
JOB = (*SPEC, "template", "spec")
KEY = "run.googleapis.com"
OUTER = ("metadata", "annotations")
NOTE = "spec", "template", "metadata", "annotations"

# file, path, the wrong value, the field that the message must name
MISTAKES: list[tuple[str, tuple[str | int, ...], Any, str]] = [
    # ECS
    (ECS, ("memory",), "4608", "memory"),
    (ECS, ("cpu",), "300", "cpu"),
    (ECS, ("networkMode",), "bridge", "networkMode"),
    (ECS, ("requiresCompatibilities",), ["EC2"], "requiresCompatibilities"),
    (ECS, ("executionRoleArn",), REMOVE, "executionRoleArn"),
    (ECS, ("taskRoleArn",), "orders-task", "taskRoleArn"),
    (
        ECS,
        ("runtimePlatform", "cpuArchitecture"),
        "ARM64",
        "cpuArchitecture",
    ),
    (ECS, ("containerDefinition",), [], "containerDefinition"),
    (ECS, (*TASK, "image"), "orders:1.0", "containerDefinitions[0].image"),
    (ECS, (*TASK, "portMapping"), [], "portMapping"),
    (
        ECS,
        (*TASK, "portMappings"),
        [{"containerPort": "8080"}],
        "containerPort",
    ),
    (
        ECS,
        (*TASK, "portMappings"),
        [{"containerPort": 8080, "hostPort": 80}],
        "portMappings",
    ),
    (ECS, (*TASK, "essential"), False, "essential"),
    (ECS, (*TASK, "user"), "root", "user"),
    (
        ECS,
        (*TASK, "readonlyRootFilesystem"),
        False,
        "readonlyRootFilesystem",
    ),
    (ECS, (*TASK, "linuxParameters"), REMOVE, "linuxParameters"),
    (ECS, (*TASK, "privileged"), True, "privileged"),
    (ECS, (*TASK, "stopTimeout"), 180, "stopTimeout"),
    (ECS, (*TASK, "stopTimeout"), 20, "SHUTDOWN_GRACE_SECONDS"),
    (ECS, (*TASK, "healthCheck"), REMOVE, "healthCheck"),
    (ECS, (*TASK, "healthCheck", "interval"), 1, "healthCheck"),
    (ECS, (*TASK, "healthCheck", "command"), REMOVE, "command"),
    (ECS, (*TASK, "dependsOn", 0, "containerName"), "otel", "dependsOn"),
    (ECS, (*TASK, "dependsOn", 0, "condition"), "HEALTHY", "dependsOn"),
    (
        ECS,
        (*TASK, "logConfiguration", "logDriver"),
        "json-file",
        "logDriver",
    ),
    (
        ECS,
        (*TASK, "logConfiguration", "options", "awslogs-group"),
        REMOVE,
        "awslogs-group",
    ),
    (ECS, (*TASK, "secrets", 0, "valueFrom"), "database-url", "secrets"),
    (
        ECS,
        (*TASK, "environment", 0),
        {"name": "DATABASE_URL", "value": "x"},
        "DATABASE_URL",
    ),
    (
        ECS,
        ("containerDefinitions", 1, "essential"),
        True,
        "containerDefinitions[1].essential",
    ),
    (
        ECS,
        ("containerDefinitions", 1, "image"),
        "collector:latest",
        "containerDefinitions[1].image",
    ),
    # Container Apps
    (ACA, ("location",), REMOVE, "location"),
    (ACA, ("Properties",), {}, "Properties"),
    (
        ACA,
        (*INGRESS, "targetport"),
        8080,
        "targetport",
    ),
    (
        ACA,
        (*INGRESS, "targetPort"),
        99999,
        "targetPort",
    ),
    (
        ACA,
        (*INGRESS, "targetPort"),
        8000,
        "port",
    ),
    (
        ACA,
        (*INGRESS, "transport"),
        "https",
        "transport",
    ),
    (
        ACA,
        (*INGRESS, "allowInsecure"),
        True,
        "allowInsecure",
    ),
    (
        ACA,
        (*INGRESS, "traffic"),
        [{"latestRevision": True, "weight": 100}],
        "traffic",
    ),
    (
        ACA,
        (*CONFIGURATION, "activeRevisionsMode"),
        "Single",
        "activeRevisionsMode",
    ),
    (
        ACA,
        (*CONFIGURATION, "registries", 0, "server"),
        "ghcr.io",
        "registries",
    ),
    (
        ACA,
        (*CONFIGURATION, "registries", 0, "identity"),
        f"{GROUP}/x",
        "registries[0].identity",
    ),
    (
        ACA,
        (*CONFIGURATION, "secrets", 0, "keyVaultUrl"),
        "https://v.vault.azure.net/secrets/database-url",
        "keyVaultUrl",
    ),
    (
        ACA,
        (*CONFIGURATION, "secrets", 0, "value"),
        "postgresql://",
        "secrets[0].value",
    ),
    (
        ACA,
        (*TEMPLATE, "revisionSuffix"),
        "Abc_1",
        "revisionSuffix",
    ),
    (
        ACA,
        (*TEMPLATE, "terminationGracePeriodSeconds"),
        900,
        "terminationGracePeriodSeconds",
    ),
    (
        ACA,
        (*TEMPLATE, "terminationGracePeriodSeconds"),
        20,
        "SHUTDOWN_GRACE_SECONDS",
    ),
    (
        ACA,
        (*TEMPLATE, "scale", "minReplicas"),
        11,
        "minReplicas",
    ),
    (
        ACA,
        (*TEMPLATE, "scale", "rules", 0, "http", "metadata", "concurrentRequests"),
        80,
        "concurrentRequests",
    ),
    (
        ACA,
        (*ARM, "image"),
        "orders0123456789.azurecr.io/orders:1",
        "containers[0].image",
    ),
    (ACA, (*ARM, "resources", "cpu"), 0.3, "cpu"),
    (ACA, (*ARM, "resources", "memory"), "2Gi", "memory"),
    (ACA, (*ARM, "env", 0, "secretRef"), "other", "env"),
    (ACA, (*ARM, "probes", 0, "httpGet", "port"), REMOVE, "port"),
    (ACA, (*ARM, "probes", 1, "httpGet", "path"), "/health/ready", "path"),
    (ACA, (*ARM, "probes", 2, "type"), "Startup", "probes"),
    (ACA, (*ARM, "probes", 0, "type"), "Ready", "type"),
    (ACA, (*ARM, "probes", 0, "failureThreshold"), 60, "failureThreshold"),
    (
        ACA_JOB,
        (*CONFIGURATION, "triggerType"),
        "Schedule",
        "triggerType",
    ),
    (
        ACA_JOB,
        (*CONFIGURATION, "replicaRetryLimit"),
        3,
        "replicaRetryLimit",
    ),
    (
        ACA_JOB,
        (*CONFIGURATION, "replicaTimeout"),
        REMOVE,
        "replicaTimeout",
    ),
    # Cloud Run
    (RUN, ("apiVersion",), "serving.knative.dev/v2", "apiVersion"),
    (RUN, ("metadata", "name"), REMOVE, "name"),
    (
        RUN,
        (*OUTER, f"{KEY}/startup-cpu-boost"),
        "true",
        "startup-cpu-boost",
    ),
    (RUN, (*OUTER, f"{KEY}/minScale"), 1, "minScale"),
    (
        RUN,
        (*OUTER, f"{KEY}/minScale"),
        "11",
        "minScale",
    ),
    (
        RUN,
        (*OUTER, f"{KEY}/maxScale"),
        "ten",
        "maxScale",
    ),
    (RUN, (*NOTE, f"{KEY}/cpu-throttle"), "true", "cpu-throttle"),
    (RUN, (*NOTE, f"{KEY}/cpu-throttling"), "true", "cpu-throttling"),
    (
        RUN,
        (*NOTE, f"{KEY}/container-dependencies"),
        '{"app": ["otel"]}',
        "container-dependencies",
    ),
    (
        RUN,
        (*SPEC, "serviceAccountName"),
        REMOVE,
        "serviceAccountName",
    ),
    (RUN, (*SPEC, "timeoutSeconds"), 7200, "timeoutSeconds"),
    (
        RUN,
        (*SPEC, "containerConcurrency"),
        2000,
        "containerConcurrency",
    ),
    (RUN, (*SPEC, "securityContext"), {}, "securityContext"),
    (RUN, ("spec", "traffic", 0, "percent"), 90, "spec.traffic"),
    (RUN, ("spec", "traffic", 1, "percent"), 10, "percent"),
    (
        RUN,
        (*APP, "image"),
        "europe-west1-docker.pkg.dev/acme-prod/orders/orders:1",
        "containers[0].image",
    ),
    (RUN, (*APP, "ports", 0, "containerPort"), 99999, "containerPort"),
    (RUN, (*APP, "ports", 0, "name"), "http", "name"),
    (RUN, (*APP, "ports"), REMOVE, "ports"),
    (RUN, (*APP, "startUpProbe"), {}, "startUpProbe"),
    (RUN, (*APP, "startupProbe", "timeoutSeconds"), 4, "timeoutSeconds"),
    (RUN, (*APP, "startupProbe", "failureThreshold"), 100, "failureThreshold"),
    (RUN, (*APP, "startupProbe", "httpGet", "port"), 8000, "port"),
    (RUN, (*APP, "livenessProbe", "httpGet", "path"), "/healthz", "path"),
    (RUN, (*APP, "resources", "limits", "memory"), "512m", "memory"),
    (RUN, (*APP, "resources", "limits", "memory"), "8Gi", "cpu"),
    (RUN, (*APP, "env", 0), {"name": "PORT", "value": "8080"}, "PORT"),
    (RUN, (*APP, "env", 0, "value"), "10", "SHUTDOWN_GRACE_SECONDS"),
    (
        RUN,
        (*APP, "env", 1, "valueFrom", "secretKeyRef", "key"),
        "latest",
        "DATABASE_URL",
    ),
    (
        RUN_JOB,
        (*JOB, "maxRetries"),
        3,
        "maxRetries",
    ),
    (RUN_JOB, (*JOB, "retries"), 3, "retries"),
]


def plant(body: Any, path: tuple[str | int, ...], value: Any) -> Any:
    body = copy.deepcopy(body)
    *way, last = path
    place = body
    for step in way:
        place = place[step]
    if value is REMOVE:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("name", "path", "value", "field"),
    MISTAKES,
    ids=[f"{name}:{'.'.join(map(str, path))}" for name, path, _, _ in MISTAKES],
)
def test_a_mistake_is_refused_by_its_field(
    render: Render, name: str, path: tuple[str | int, ...], value: Any, field: str
) -> None:
    body = filled(render(**ANSWERS[0]), name)
    problems = FILES[name](plant(body, path, value))
    assert any(field in problem.partition(": ")[0] or field in problem for problem in problems), (
        problems
    )


# ------------------------------------------------------------------ the renderer


@pytest.mark.parametrize("name", FILES)
def test_a_place_without_a_value_is_refused(render: Render, name: str) -> None:
    values = VALUES[name.partition("/")[0]]
    service = render(**ANSWERS[0])
    places = set(re.findall(r"\$\{(\w+)\}", (service / "deploy" / name).read_text()))
    assert places
    for place in places:
        for wrong in ("", 'a"b', "a b", "a\nb", "$x"):
            result = fill(service, name, **values | {place: wrong})
            assert result.returncode == 1
            assert place in result.stderr
            assert result.stdout == ""


@pytest.mark.parametrize("left", ["$IMAGE", "$(IMAGE)", "${image}", "{{ image }}", "<IMAGE>"])
def test_what_only_looks_like_a_place_is_refused(render: Render, tmp_path: Path, left: str) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(f"image: ${{IMAGE}}\nother: {left}\n")
    result = fill(render(**ANSWERS[0]), str(file), IMAGE="x")
    assert result.returncode == 1
    assert "is not a place" in result.stderr
    assert result.stdout == ""


# -------------------------------------------------------------------- the scripts


@pytest.mark.parametrize("answers", ANSWERS, ids=str)
def test_scripts_pass_shellcheck(render: Render, answers: Answers) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = sorted((render(**answers) / "deploy").rglob("*.sh"))
    assert scripts
    result = subprocess.run(
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


def test_what_is_run_is_executable(render: Render) -> None:
    for path in (render(**ANSWERS[0]) / "deploy").rglob("*"):
        if path.is_file():
            assert os.access(path, os.X_OK) == path.read_bytes().startswith(b"#!"), path


@pytest.mark.parametrize(
    "clouds",
    [
        [],
        ["aws"],
        ["azure"],
        ["gcp"],
        ["aws", "azure"],
        ["aws", "gcp"],
        ["azure", "gcp"],
        ["aws", "azure", "gcp"],
    ],
)
def test_only_the_chosen_clouds_are_there(render: Render, clouds: list[str]) -> None:
    deploy = render(clouds=clouds) / "deploy"
    assert deploy.exists() == bool(clouds)
    if clouds:
        assert sorted(path.name for path in deploy.iterdir() if path.is_dir()) == clouds
    others = {"aws", "azure", "gcp"} - set(clouds)
    text = " ".join(path.read_text() for path in deploy.rglob("*") if path.is_file())
    assert not [cloud for cloud in others if f"production-{cloud}" in text]
