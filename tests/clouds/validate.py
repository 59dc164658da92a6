"""What is wrong with a deploy file: the vendor's schema, and what no schema tells.

Each function returns one sentence a problem; each sentence starts with the field.
Vendors' sources stand beside the rules; rules of this project's own say so.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import botocore.validate
import cfnlint.api
import jsonschema

from . import schemas

Problems = Iterator[str]

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
# The project's own rule: these never stand in a file as plain text.
SECRET = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY|CREDENTIALS|DATABASE_URL)$")
GRACE = "SHUTDOWN_GRACE_SECONDS"


def _schema(schema: schemas.Schema, body: Any) -> Problems:
    for error in jsonschema.Draft202012Validator(schema).iter_errors(body):
        path = re.sub(r"^\$\.?", "", error.json_path)
        yield f"{path or 'the file'}: {error.message[:300]}"


def _app(containers: list[Any]) -> Any:
    return next((one for one in containers if one.get("name") == "app"), {"name": "app"})


def _common(containers: list[Any], where: str) -> Problems:
    names = [one.get("name") for one in containers]
    if names.count("app") != 1:
        yield f'{where}: needs one container named "app", has {names}'
    for position, container in enumerate(containers):
        path = f"{where}[{position}]"
        image = str(container.get("image"))
        if container.get("name") == "app" and not DIGEST.search(image):
            yield f"{path}.image: must name the image by digest (own rule)"
        if not DIGEST.search(image) and (":" not in image or image.endswith(":latest")):
            yield f"{path}.image: must have a tag, and not latest (own rule)"
        variables = container.get("env", container.get("environment", []))
        keys = [one.get("name") for one in [*variables, *container.get("secrets", [])]]
        for key in {key for key in keys if keys.count(key) > 1}:
            yield f"{path}.env: {key} is set twice"
        for variable in variables:
            if variable.get("value") and SECRET.search(variable["name"]):
                yield f"{path}.env: {variable['name']} must come from the secret store (own rule)"


def _grace(container: Any, limit: int, where: str) -> Problems:
    variables = container.get("env", container.get("environment", []))
    value = next((one.get("value") for one in variables if one.get("name") == GRACE), None)
    if not str(value).isdigit() or not int(str(value)) < limit:
        yield f"{where}: {GRACE} must be below the {limit} s after which the platform kills"


# ------------------------------------------------------------------ Cloud Run


def cloud_run(body: Any) -> list[str]:
    """Return what is wrong with a Cloud Run service.

    https://cloud.google.com/run/docs/reference/yaml/v1
    """
    return list(_schema(schemas.cloud_run("Service"), body)) or list(_cloud_run(body))


def cloud_run_job(body: Any) -> list[str]:
    """Return what is wrong with a Cloud Run job."""
    return list(_schema(schemas.cloud_run("Job"), body)) or list(_cloud_run_job(body))


def _cloud_run(body: Any) -> Problems:
    template = body["spec"]["template"]
    spec, where = template["spec"], "spec.template.spec"
    service = body["metadata"].get("annotations", {})
    revision = template.get("metadata", {}).get("annotations", {})
    containers = spec["containers"]
    yield from _cloud_run_spec(spec, where)
    names = {one.get("name") for one in containers}
    entries = [position for position, one in enumerate(containers) if one.get("ports")]
    if [containers[position].get("name") for position in entries] != ["app"]:
        yield f"{where}.containers: the container app, and no other, must have ports"
    app = _app(containers)
    port = app["ports"][0]["containerPort"] if app.get("ports") else None
    if not spec.get("timeoutSeconds") or not 1 <= spec["timeoutSeconds"] <= 3600:
        yield f"{where}.timeoutSeconds: must be 1 to 3600"
    if not 1 <= spec.get("containerConcurrency", 80) <= 1000:
        yield f"{where}.containerConcurrency: must be 1 to 1000"
    yield from _grace(app, 10, f"{where}.containers[0].env")
    for position, container in enumerate(containers):
        for kind in ("startupProbe", "livenessProbe"):
            if kind not in container:
                if container is app or (kind == "startupProbe" and len(containers) > 1):
                    yield f"{where}.containers[{position}].{kind}: is missing (own rule)"
                continue
            probe, path = container[kind], f"{where}.containers[{position}].{kind}"
            period = probe.get("periodSeconds", 10)
            if probe.get("timeoutSeconds", 1) > period:
                yield f"{path}.timeoutSeconds: must not be above periodSeconds ({period})"
            if kind == "startupProbe" and period * probe.get("failureThreshold", 3) > 240:
                yield f"{path}.failureThreshold: with periodSeconds at most 240 s"
            get = probe.get("httpGet", {})
            if container is app and get.get("port") != port:
                yield f"{path}.httpGet.port: must be the container's port, {port}"
            if get.get("path", "/").rstrip("/").endswith("z"):
                yield f"{path}.httpGet.path: paths that end in z may be taken by the front end"
            if container is app and kind == "livenessProbe" and get.get("path") != "/health":
                yield f"{path}.httpGet.path: liveness asks no dependency (own rule)"
    scale = {key: service.get(f"run.googleapis.com/{key}") for key in ("minScale", "maxScale")}
    for key, value in scale.items():
        if not (value or "").isdigit():
            yield f"metadata.annotations.run.googleapis.com/{key}: must be a number in quotes"
    least, most = (int(value) if (value or "").isdigit() else 0 for value in scale.values())
    if least > most:
        yield "metadata.annotations.run.googleapis.com/minScale: must not be above maxScale"
    above = "spec.template.metadata.annotations"
    if len(containers) > 1:
        if revision.get("run.googleapis.com/cpu-throttling") != "false":
            key = "run.googleapis.com/cpu-throttling"
            yield f"{above}.{key}: a collector needs CPU between requests (own rule)"
        key = "run.googleapis.com/container-dependencies"
        for name in set(re.findall(r'"([\w-]+)"', revision.get(key, ""))) - names:
            yield f"{above}.{key}: there is no container {name}"
    traffic = body["spec"].get("traffic", [])
    if sum(one.get("percent", 0) for one in traffic) != 100:
        yield "spec.traffic: the percentages must add up to 100"
    for position, target in enumerate(traffic):
        if target.get("latestRevision") and target.get("percent"):
            yield f"spec.traffic[{position}].percent: an untested revision must get none (own rule)"


def _cloud_run_job(body: Any) -> Problems:
    spec = body["spec"]["template"]["spec"]["template"]["spec"]
    where = "spec.template.spec.template.spec"
    yield from _cloud_run_spec(spec, where)
    if spec.get("maxRetries") != 0:
        yield f"{where}.maxRetries: must be 0: a failed migration is not tried again (own rule)"


def _cloud_run_spec(spec: Any, where: str) -> Problems:
    yield from _common(spec["containers"], f"{where}.containers")
    if not spec.get("serviceAccountName"):
        yield f"{where}.serviceAccountName: the default account may do too much (own rule)"
    for position, container in enumerate(spec["containers"]):
        path = f"{where}.containers[{position}]"
        for variable in container.get("env", []):
            if variable["name"] in ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"):
                yield f"{path}.env: {variable['name']} is reserved by Cloud Run"
            key = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
            if key is not None and not key.isdigit():
                yield f"{path}.env: {variable['name']} needs a secret's version by number"
        limits = container.get("resources", {}).get("limits", {})
        if not limits.get("cpu") or not limits.get("memory"):
            yield f"{path}.resources.limits: cpu and memory must be set (own rule)"
            continue
        memory = _bytes(limits["memory"])
        cpu = float(limits["cpu"].rstrip("m")) / (1000 if limits["cpu"].endswith("m") else 1)
        # https://cloud.google.com/run/docs/configuring/services/memory-limits
        for above, needed in ((24, 8), (16, 6), (8, 4), (4, 2)):
            if memory > above * 2**30 and cpu < needed:
                yield f"{path}.resources.limits.cpu: memory above {above}Gi needs {needed} CPUs"
                break
        if memory < 512 * 2**20:
            yield f"{path}.resources.limits.memory: must be at least 512Mi in generation 2"


def _bytes(quantity: str) -> int:
    units = {"Mi": 2**20, "Gi": 2**30, "M": 10**6, "G": 10**9}
    number, unit = re.fullmatch(r"(\d+)(\w+)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * units[unit]


# ------------------------------------------------------------- Container Apps


def container_app(body: Any) -> list[str]:
    """Return what is wrong with an Azure Container App.

    https://learn.microsoft.com/azure/container-apps/azure-resource-manager-api-spec
    """
    return list(_schema(schemas.container_apps("ContainerApp"), body)) or list(_container_app(body))


def container_app_job(body: Any) -> list[str]:
    """Return what is wrong with an Azure Container Apps job."""
    return list(_schema(schemas.container_apps("Job"), body)) or list(_container_app_job(body))


def _container_app(body: Any) -> Problems:
    yield from _arm_common(body)
    configuration = body["properties"]["configuration"]
    template = body["properties"]["template"]
    ingress = configuration.get("ingress", {})
    port = ingress.get("targetPort")
    if configuration.get("activeRevisionsMode") != "Multiple":
        yield "properties.configuration.activeRevisionsMode: must be Multiple"
    if port is None:
        yield "properties.configuration.ingress.targetPort: is missing"
    if ingress.get("allowInsecure") is not False:
        yield "properties.configuration.ingress.allowInsecure: must be false (own rule)"
    if "traffic" in ingress:
        yield "properties.configuration.ingress.traffic: deploy.sh alone moves it (own rule)"
    suffix = template.get("revisionSuffix") or ""
    # https://learn.microsoft.com/azure/container-apps/revisions#name
    if not re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", suffix) or len(suffix) > 20:
        yield "properties.template.revisionSuffix: 1 to 20 of a-z, 0-9, single -"
    grace = template.get("terminationGracePeriodSeconds") or 0
    if not 1 <= grace <= 600:
        yield "properties.template.terminationGracePeriodSeconds: must be 1 to 600"
    containers = template["containers"]
    yield from _grace(_app(containers), grace, "properties.template.containers[0].env")
    for position, container in enumerate(containers):
        where = f"properties.template.containers[{position}].probes"
        kinds = [probe.get("type") for probe in container.get("probes", [])]
        if container["name"] == "app" and sorted(map(str, kinds)) != [
            "Liveness",
            "Readiness",
            "Startup",
        ]:
            yield f"{where}: needs one each of Startup, Liveness and Readiness, has {kinds}"
        for number, probe in enumerate(container.get("probes", [])):
            get = probe.get("httpGet", {})
            if get.get("port") != port:
                yield f"{where}[{number}].httpGet.port: must be the ingress' targetPort, {port}"
            if probe.get("type") == "Liveness" and get.get("path") != "/health":
                yield f"{where}[{number}].httpGet.path: liveness asks no dependency (own rule)"
            limits = {
                "periodSeconds": 240,
                "timeoutSeconds": 240,
                "failureThreshold": 30,
                "initialDelaySeconds": 60,
            }
            for key, most in limits.items():
                if probe.get(key, 1) > most:
                    yield f"{where}[{number}].{key}: must not be above {most}"
    scale = template.get("scale", {})
    if not 0 <= scale.get("minReplicas", 0) <= scale.get("maxReplicas", 10) <= 1000:
        yield "properties.template.scale.minReplicas: at most maxReplicas, at most 1000"


def _container_app_job(body: Any) -> Problems:
    yield from _arm_common(body)
    configuration = body["properties"]["configuration"]
    if configuration["triggerType"] != "Manual":
        yield "properties.configuration.triggerType: must be Manual"
    if configuration.get("replicaRetryLimit") != 0:
        yield "properties.configuration.replicaRetryLimit: must be 0 (own rule)"


def _arm_common(body: Any) -> Problems:
    configuration = body["properties"]["configuration"]
    containers = body["properties"]["template"]["containers"]
    yield from _common(containers, "properties.template.containers")
    identities = {one.lower() for one in body["identity"].get("userAssignedIdentities", {})}
    registries = configuration.get("registries", [])
    for position, registry in enumerate(registries):
        if registry.get("identity", "").lower() not in identities:
            yield f"properties.configuration.registries[{position}].identity: not of the app"
    host = str(_app(containers).get("image")).partition("/")[0]
    if host not in {registry.get("server") for registry in registries}:
        yield f"properties.configuration.registries: none is for {host}, where the image is"
    secrets = configuration.get("secrets", [])
    for position, secret in enumerate(secrets):
        where = f"properties.configuration.secrets[{position}]"
        if "value" in secret:
            yield f"{where}.value: must come from Key Vault (own rule)"
        url = secret.get("keyVaultUrl", "")
        if not re.fullmatch(r"https://[\w-]+\.vault\.azure\.net/secrets/[\w-]+/[0-9a-f]{32}", url):
            yield f"{where}.keyVaultUrl: must name a secret of a vault with its version (own rule)"
        if secret.get("identity", "").lower() not in identities:
            yield f"{where}.identity: is not an identity of the app"
    names = {secret.get("name") for secret in secrets}
    for position, container in enumerate(containers):
        for variable in container.get("env", []):
            if (secret := variable.get("secretRef")) not in {None, *names}:
                yield f"properties.template.containers[{position}].env: there is no secret {secret}"
    # https://learn.microsoft.com/azure/container-apps/containers#allocations
    resources = [container.get("resources", {}) for container in containers]
    cpu = sum(one.get("cpu", 0) for one in resources)
    memory = sum(float(str(one.get("memory", "0Gi")).removesuffix("Gi")) for one in resources)
    if not cpu or cpu % 0.25 or cpu > 4:
        yield "properties.template.containers[0].resources.cpu: in all a multiple of 0.25, to 4"
    if memory != 2 * cpu:
        yield f"properties.template.containers[0].resources.memory: must be {2 * cpu}Gi in all"


# ----------------------------------------------------------------- ECS Fargate


def task_definition(body: Any) -> list[str]:
    """Return what is wrong with the input of RegisterTaskDefinition, for Fargate.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
    """
    return list(_botocore(body)) or list(_task_definition(body)) or list(_cfn_lint(body))


def _botocore(body: Any) -> Problems:
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    report = botocore.validate.ParamValidator().validate(body, shape)
    for line in report.generate_report().splitlines():
        unknown = re.match(r'Unknown parameter in (\S+): "(\w+)"', line)
        missing = re.match(r'Missing required parameter in (\S+): "(\w+)"', line)
        if found := unknown or missing:
            yield f"{found[1].replace('input', '').strip('.')}.{found[2]}: {line}".lstrip(".")
        elif found := re.match(r"Invalid \w+ for parameter ([^,]+),", line):
            yield f"{found[1]}: {line}"
        else:
            yield line


def cloud_formation(template: str) -> list[str]:
    """Return what cfn-lint finds in a CloudFormation template."""
    found = cfnlint.api.lint(template, regions=["eu-west-1"])
    return [f"{'.'.join(map(str, one.path or []))}: {one.message} ({one.rule.id})" for one in found]


def _cfn_lint(body: Any) -> Problems:
    resource = {"Type": "AWS::ECS::TaskDefinition", "Properties": _pascal(body)}
    for problem in cloud_formation(json.dumps({"Resources": {"Task": resource}})):
        path, _, message = problem.removeprefix("Resources.Task.Properties").partition(": ")
        yield f"{_camel(path)}: {message}".lstrip(".")


def _pascal(value: Any, within: str = "") -> Any:
    if isinstance(value, dict):
        if within in ("options", "dockerLabels"):
            return value
        return {key[0].upper() + key[1:]: _pascal(inner, key) for key, inner in value.items()}
    return [_pascal(one) for one in value] if isinstance(value, list) else value


def _camel(path: str) -> str:
    return ".".join(part[:1].lower() + part[1:] for part in path.split("."))


def _task_definition(body: Any) -> Problems:
    containers = body["containerDefinitions"]
    yield from _common(containers, "containerDefinitions")
    names = {one.get("name"): one for one in containers}
    if "FARGATE" not in body.get("requiresCompatibilities", []):
        yield "requiresCompatibilities: must hold FARGATE"
    if body.get("networkMode") != "awsvpc":
        yield "networkMode: Fargate takes awsvpc only"
    if body.get("runtimePlatform", {}).get("cpuArchitecture") != "X86_64":
        yield "runtimePlatform.cpuArchitecture: must be X86_64, as the image is (own rule)"
    for role in ("taskRoleArn", "executionRoleArn"):
        if not re.fullmatch(r"arn:aws:iam::\d{12}:role/[\w-]+", body.get(role, "")):
            yield f"{role}: must be the ARN of a role"
    app = _app(containers)
    yield from _grace(app, app.get("stopTimeout", 30), "containerDefinitions[0].environment")
    if app.get("essential") is not True:
        yield "containerDefinitions[0].essential: the task lives as long as app does"
    if app.get("readonlyRootFilesystem") is not True:
        yield "containerDefinitions[0].readonlyRootFilesystem: must be true (own rule)"
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", app.get("user", "")):
        yield "containerDefinitions[0].user: must be a number other than 0 (own rule)"
    if "ALL" not in app.get("linuxParameters", {}).get("capabilities", {}).get("drop", []):
        yield "containerDefinitions[0].linuxParameters.capabilities.drop: must be ALL (own rule)"
    if len(app.get("portMappings", [])) != 1:
        yield "containerDefinitions[0].portMappings: the load balancer needs one"
    for position, container in enumerate(containers):
        where = f"containerDefinitions[{position}]"
        if container is not app and container.get("essential") is not False:
            yield f"{where}.essential: must be false: telemetry never stops the service (own rule)"
        if container.get("privileged"):
            yield f"{where}.privileged: Fargate takes none"
        if not 2 <= container.get("stopTimeout", 30) <= 120:
            yield f"{where}.stopTimeout: must be 2 to 120 on Fargate"
        for mapping in container.get("portMappings", []):
            if mapping.get("hostPort", mapping["containerPort"]) != mapping["containerPort"]:
                yield f"{where}.portMappings: hostPort must equal containerPort in awsvpc mode"
        log = container.get("logConfiguration", {})
        for key in ("awslogs-group", "awslogs-region", "awslogs-stream-prefix"):
            if not log.get("options", {}).get(key):
                yield f"{where}.logConfiguration.options: {key} is missing"
        for secret in container.get("secrets", []):
            arn = r"arn:aws:(ssm:[\w-]+:\d{12}:parameter/.+|secretsmanager:[\w-]+:\d{12}:secret:.+)"
            if not re.fullmatch(arn, secret["valueFrom"]):
                yield f"{where}.secrets: {secret['name']} must be the ARN of a parameter or secret"
        for dependency in container.get("dependsOn", []):
            other = names.get(dependency["containerName"])
            if other is None:
                yield f"{where}.dependsOn: there is no container {dependency['containerName']}"
            elif dependency["condition"] == "HEALTHY" and "healthCheck" not in other:
                yield f"{where}.dependsOn: {other['name']} has no healthCheck to be HEALTHY by"
            elif dependency["condition"] in ("COMPLETE", "SUCCESS") and other.get("essential"):
                yield f"{where}.dependsOn: {other['name']} is essential and may not end"
        check = container.get("healthCheck", {})
        bounds = {
            "interval": (5, 300),
            "timeout": (2, 60),
            "retries": (1, 10),
            "startPeriod": (0, 300),
        }
        for key, (least, most) in bounds.items():
            if not least <= check.get(key, least) <= most:
                yield f"{where}.healthCheck.{key}: must be {least} to {most}"
    if not app.get("healthCheck", {}).get("command"):
        yield "containerDefinitions[0].healthCheck: ECS does not take the image's (own rule)"
