"""Google Cloud on loopback: Cloud Run (Admin API v1), IAM, Secret Manager, and the token services.

It enforces what a deployment's safety rests on: roles on resources, the trust in
GitHub's tokens, that a revision has its image and its secrets, who gets traffic.
"""

import copy
import json
import re
import tempfile
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

from . import images, validate
from .github import REPOSITORY_ID
from .internet import Internet, Request, Response, as_json, now

PROJECT, NUMBER = "acme-prod", "123456789"
OWNER = "token-of-the-owner"
HELLO = "us-docker.pkg.dev/cloudrun/container/hello"
DONE = {"@type": "type.googleapis.com/google.protobuf.Empty"}

# The part of each role that matters here.
# https://cloud.google.com/iam/docs/roles-permissions
ROLES = {
    "roles/run.developer": r"run\.(services|revisions|jobs|executions|operations)\.(?!\w*Iam)\w+",
    "roles/run.invoker": r"run\.(routes|jobs)\.(invoke|run)",
    "roles/artifactregistry.writer": r"artifactregistry\.repositories\.(up|down)loadArtifacts",
    "roles/secretmanager.viewer": r"secretmanager\.(secrets|versions)\.(get|list)",
    "roles/secretmanager.secretAccessor": r"secretmanager\.versions\.access",
    "roles/iam.serviceAccountUser": r"iam\.serviceAccounts\.(actAs|get)",
    "roles/iam.workloadIdentityUser": r"iam\.serviceAccounts\.getAccessToken",
    "roles/monitoring.metricWriter": r"monitoring\.timeSeries\.create",
    "roles/cloudtrace.agent": r"cloudtrace\.traces\.patch",
}


class RefusedError(Exception):
    """The API answers with an error."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.response = as_json(
            {"error": {"code": code, "status": status, "message": message}}, code
        )


class Google:
    """One project in one region.

    Args:
        registry: holds what was pushed to Artifact Registry.
    """

    def __init__(self, registry: images.Registry) -> None:
        self.registry = registry
        self.services: dict[str, Any] = {}
        self.revisions: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self.executions: dict[str, Any] = {}
        self.resources: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.tokens = {OWNER: "owner"}
        self.secrets_read: list[str] = []

    def connect(self, internet: Internet) -> None:
        """Answer for Google's hosts."""
        internet.site("*-docker.pkg.dev", self.registry.site(self._may_use_registry))
        internet.site("*-run.googleapis.com", self._guarded(self._run))
        internet.site("run.googleapis.com", self._guarded(self._run))
        internet.site("sts.googleapis.com", self._guarded(self._exchange))
        internet.site("iamcredentials.googleapis.com", self._guarded(self._impersonate))
        internet.site("*.googleapis.com", self._guarded(self._rest))
        internet.site("*.a.run.app", self._serve)

    def _guarded(self, site: Any) -> Any:
        def answer(request: Request) -> Response:
            try:
                response: Response = site(request)
                return response
            except RefusedError as refused:
                return refused.response

        return answer

    # ------------------------------------------------------------- identities

    def _who(self, request: Request) -> str:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise RefusedError(401, "UNAUTHENTICATED", "the token is not known")
        return self.tokens[token]

    def _may(self, who: str, permission: str, *resources: str) -> bool:
        if who == "owner":
            return True
        for resource in (f"projects/{PROJECT}", *resources):
            for binding in self.policies.get(resource, {}).get("bindings", []):
                if {who, "allUsers"} & set(binding["members"]) and re.fullmatch(
                    ROLES[binding["role"]], permission
                ):
                    return True
        return False

    def _need(self, who: str, permission: str, *resources: str) -> None:
        if not self._may(who, permission, *resources):
            raise RefusedError(
                403, "PERMISSION_DENIED", f"Permission '{permission}' denied for {who}"
            )

    def _may_use_registry(self, password: str, request: Request) -> bool:
        who = self.tokens.get(password, "")
        if request.path == "/v2/" or not who:
            return bool(who)
        project, repository = request.path.split("/")[2:4]
        region = request.host.removesuffix("-docker.pkg.dev")
        write = request.method not in ("GET", "HEAD")
        return self._may(
            who,
            f"artifactregistry.repositories.{'up' if write else 'down'}loadArtifacts",
            f"projects/{project}/locations/{region}/repositories/{repository}",
        )

    def _exchange(self, request: Request) -> Response:
        """Security Token Service: a GitHub token for a federated one."""
        fields = request.form() if b"=" in request.body[:40] else request.json()
        audience = fields["audience"].removeprefix("//iam.googleapis.com/")
        provider = self.resources.get(audience.replace(NUMBER, PROJECT)) or self.resources.get(
            audience
        )
        if not provider:
            raise RefusedError(400, "INVALID_ARGUMENT", f"there is no provider {audience}")
        claims = decode(fields["subject_token"])
        wanted = re.search(r"repository_id=='(\d+)'", provider["attributeCondition"])
        if not wanted or claims["repository_id"] != wanted[1] or "environment" not in claims:
            raise RefusedError(
                403,
                "PERMISSION_DENIED",
                "The given credential is rejected by the attribute condition.",
            )
        assert provider["attributeMapping"] == {
            "google.subject": 'assertion.repository_id+":"+assertion.environment'
        }
        subject = f"{claims['repository_id']}:{claims['environment']}"
        pool = audience.rpartition("/providers/")[0]
        token = f"federated-{subject}"
        self.tokens[token] = f"principal://iam.googleapis.com/{pool}/subject/{subject}"
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return as_json(
            {
                "access_token": token,
                "issued_token_type": kind,
                "token_type": "Bearer",
                "expires_in": 3600,
            }
        )

    def _impersonate(self, request: Request) -> Response:
        account = request.path.split("/")[-1].removesuffix(":generateAccessToken")
        self._need(self._who(request), "iam.serviceAccounts.getAccessToken", self._account(account))
        self.tokens[f"token-of-{account}"] = f"serviceAccount:{account}"
        return as_json({"accessToken": f"token-of-{account}", "expireTime": "2099-01-01T00:00:00Z"})

    def _account(self, email: str) -> str:
        return f"projects/{PROJECT}/serviceAccounts/{email}"

    # ----------------------------------------------------- IAM, secrets, the rest

    def _rest(self, request: Request) -> Response:
        who = self._who(request)
        path = re.sub(r"^/v\d\w*/", "", request.path).replace("projects/-/", f"projects/{PROJECT}/")
        path = path.replace(f"projects/{NUMBER}", f"projects/{PROJECT}")
        name, _, verb = path.partition(":")
        kind = name.split("/")[-2] if name.count("/") > 1 else "projects"
        if verb in ("getIamPolicy", "setIamPolicy"):
            return self._policy(request, who, name, f"{kind}.{verb}", verb)
        if request.host.startswith("secretmanager"):
            return self._secrets(request, who, name, verb)
        if re.fullmatch(r"projects/[^/]+", name) and request.method == "GET":
            return as_json(
                {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}
            )
        self._need(who, f"owner.only.{request.method}.{path}")
        if verb in ("batchEnable", "enable") or "/operations/" in path:
            return as_json({"name": "operations/done", "done": True, "response": DONE})
        if request.method == "POST":
            return self._create(request, name)
        if name not in self.resources:
            raise RefusedError(404, "NOT_FOUND", f"{name} not found")
        return as_json(self.resources[name])

    def _policy(
        self, request: Request, who: str, name: str, permission: str, verb: str
    ) -> Response:
        self._need(who, permission, name)
        if verb == "setIamPolicy":
            policy = request.json()["policy"]
            unknown = {binding["role"] for binding in policy["bindings"]} - set(ROLES)
            assert not unknown, f"describe these roles in {__name__}.ROLES: {unknown}"
            self.policies[name] = policy
        return as_json(self.policies.get(name, {"version": 1, "etag": "eA=="}))

    def _create(self, request: Request, name: str) -> Response:
        body = request.json()
        new = next((v for k, v in request.query.items() if k.endswith("Id")), "") or body.get(
            "accountId", ""
        )
        if name.endswith("/serviceAccounts"):
            assert re.fullmatch(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])", new), f"account id {new}"
            email = f"{new}@{PROJECT}.iam.gserviceaccount.com"
            body, new = {"email": email}, email
        path = f"{name}/{new}"
        if path in self.resources:
            raise RefusedError(409, "ALREADY_EXISTS", f"{path} already exists")
        self.resources[path] = body | {"name": path}
        if name.endswith(("/secrets", "/serviceAccounts")):
            return as_json(self.resources[path])
        where = "/".join(name.split("/")[:4])
        return as_json({"name": f"{where}/operations/done", "done": True, "response": DONE})

    def _secrets(self, request: Request, who: str, name: str, verb: str) -> Response:
        kinds = name.split("/")[2:]
        secret = "/".join(name.split("/")[:4])
        versions: list[Any] = self.resources.setdefault(f"{secret}#versions", [])
        if verb == "addVersion":
            self._need(who, "secretmanager.versions.add", secret)
            number = len(versions) + 1
            version = {
                "name": f"{secret}/versions/{number}",
                "state": "ENABLED",
                "createTime": now(),
            }
            versions.append(
                version | {"payload": b64decode(request.json()["payload"]["data"]).decode()}
            )
            return as_json(version | {"clientSpecifiedPayloadChecksum": True})
        if verb == "access":
            self._need(who, "secretmanager.versions.access", secret)
            self.secrets_read.append(name)
            return as_json({"payload": {"data": ""}})
        if kinds[2:] == ["versions"]:
            self._need(who, "secretmanager.versions.list", secret)
            shown = [{k: v for k, v in one.items() if k != "payload"} for one in versions]
            return as_json({"versions": shown[::-1]})
        if request.method == "POST":
            self._need(who, "secretmanager.secrets.create", secret)
            return self._create(request, name)
        self._need(who, "secretmanager.secrets.get", secret)
        if name not in self.resources:
            raise RefusedError(404, "NOT_FOUND", f"{name} not found")
        return as_json(self.resources[name])

    def secret(self, name: str, version: str) -> str | None:
        """Return the value of a version of a secret, None when there is no such one."""
        versions = self.resources.get(f"projects/{PROJECT}/secrets/{name}#versions", [])
        return next(
            (one["payload"] for one in versions if one["name"].endswith(f"/{version}")), None
        )

    # ---------------------------------------------------------------- Cloud Run

    def _run(self, request: Request) -> Response:
        who = self._who(request)
        if found := re.fullmatch(r"/v1/(projects/.+/services/[^/:]+):(\w+)", request.path):
            return self._policy(request, who, found[1], f"run.services.{found[2]}", found[2])
        path = re.sub(r"^/apis/[^/]+/v1/namespaces/[^/]+/", "", request.path)
        kind, _, name = path.partition("/")
        name, _, verb = name.partition(":")
        store = {
            "services": self.services,
            "revisions": self.revisions,
            "jobs": self.jobs,
            "executions": self.executions,
        }.get(kind)
        if store is None:
            raise RefusedError(404, "NOT_FOUND", f"no such path here: {request.path}")
        action = (
            verb
            or {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}[request.method]
        )
        self._need(who, f"run.{kind}.{'list' if action == 'get' and not name else action}")
        if verb == "run":
            return as_json(self._execute(name))
        if request.method in ("POST", "PUT"):
            body = request.json()
            spec = body["spec"]["template"]["spec"]
            account = (spec if kind == "services" else spec["template"]["spec"]).get(
                "serviceAccountName", ""
            )
            self._need(who, "iam.serviceAccounts.actAs", self._account(account))
            return as_json(self._replace_job(body) if kind == "jobs" else self._replace(body))
        if not name:
            wanted = request.query.get("labelSelector", "")
            items = [
                one for one in store.values() if matches(wanted, one["metadata"].get("labels", {}))
            ]
            return as_json({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {}})
        if name not in store:
            raise RefusedError(404, "NOT_FOUND", f"{kind} {name} not found")
        if request.method == "DELETE":
            del store[name]
            return as_json({})
        return as_json(store[name])

    def _problem(self, spec: Any) -> str:
        """Return why containers of this spec cannot start, or nothing."""
        account = f"serviceAccount:{spec.get('serviceAccountName')}"
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if not (source := variable.get("valueFrom")):
                    continue
                secret, version = source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]
                path = f"projects/{PROJECT}/secrets/{secret}"
                if not self._may(account, "secretmanager.versions.access", path):
                    return f"Permission denied on secret: {path}/versions/{version}"
                if self.secret(secret, version) is None:
                    return f"Secret {path}/versions/{version} was not found"
            if container["image"].startswith("us-docker.pkg.dev/"):  # images of Google's own
                continue
            if (settings := self.registry.settings(container["image"])) is None:
                return f"Image '{container['image']}' not found."
            if settings.get("BEHAVIOUR") == "crashes":
                return "The user-provided container failed to start and listen on the port."
        return ""

    def _replace(self, service: Any) -> Any:
        service.pop("status", None)
        metadata = service["metadata"]
        name = metadata["name"]
        empty = HELLO in json.dumps(service["spec"])
        if not empty and (problems := validate.cloud_run(without_platform(service))):
            raise RefusedError(400, "INVALID_ARGUMENT", "; ".join(problems))
        old = self.services.get(name)
        status = copy.deepcopy(old["status"]) if old else {}
        generation = (old["metadata"]["generation"] if old else 0) + 1
        metadata |= {
            "generation": generation,
            "resourceVersion": str(generation),
            "uid": name,
            "selfLink": "/x",
            "creationTimestamp": now(),
        }
        template = service["spec"]["template"]
        if not old or old["spec"]["template"] != template:
            revision = template.get("metadata", {}).get("name") or f"{name}-{generation:05d}-abc"
            if revision in self.revisions:
                raise RefusedError(
                    409, "ALREADY_EXISTS", f"Revision named '{revision}' already exists."
                )
            problem = self._problem(template["spec"])
            self.revisions[revision] = {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Revision",
                "metadata": {
                    "name": revision,
                    "namespace": metadata.get("namespace", PROJECT),
                    "labels": {"serving.knative.dev/service": name},
                    "annotations": template.get("metadata", {}).get("annotations", {}),
                    "creationTimestamp": now(),
                },
                "spec": template["spec"],
                "status": {"conditions": [condition("Ready", problem)]},
            }
            status["latestCreatedRevisionName"] = revision
            if not problem:
                status["latestReadyRevisionName"] = revision
        created = status["latestCreatedRevisionName"]
        problem = self.revisions[created]["status"]["conditions"][0]["message"]
        everything = [{"latestRevision": True, "percent": 100}]
        traffic = service["spec"].setdefault("traffic", everything)
        before = status.get("traffic")
        status["traffic"] = [self._target(one, name, status) for one in traffic]
        if before and any(
            self._behaviour(one) == "rolled-back" and one.get("percent")
            for one in status["traffic"]
        ):
            status["traffic"] = before
        status |= {
            "conditions": [
                condition(kind, problem) for kind in ("Ready", "ConfigurationsReady", "RoutesReady")
            ],
            "observedGeneration": generation,
            "url": f"https://{name}-xyz-ew.a.run.app",
            "address": {"url": f"https://{name}-xyz-ew.a.run.app"},
        }
        self.services[name] = service | {"status": status}
        return self.services[name]

    def _target(self, target: Any, name: str, status: Any) -> Any:
        target = dict(target)
        if target.get("latestRevision"):
            target["revisionName"] = status.get("latestReadyRevisionName")
        elif target["revisionName"] not in self.revisions:
            raise RefusedError(
                400, "INVALID_ARGUMENT", f"Revision '{target['revisionName']}' is not found."
            )
        if target.get("tag"):
            target["url"] = f"https://{target['tag']}---{name}-xyz-ew.a.run.app"
        return target

    def _settings(self, revision: str) -> dict[str, str]:
        image = self.revisions[revision]["spec"]["containers"][0]["image"]
        return self.registry.settings(image) or {"COMMIT": "hello"}

    def _behaviour(self, target: Any) -> str | None:
        return self._settings(target["revisionName"]).get("BEHAVIOUR")

    def _serve(self, request: Request) -> Response:
        tag, _, name = request.host.removesuffix("-xyz-ew.a.run.app").rpartition("---")
        for target in self.services[name]["status"]["traffic"]:
            if target.get("tag") == tag if tag else target.get("percent"):
                settings = self._settings(target["revisionName"])
                if not tag and settings.get("BEHAVIOUR") == "fails-live":
                    return Response(500)
                return images.service(settings, request)
        return Response(404)

    def _replace_job(self, job: Any) -> Any:
        if problems := validate.cloud_run_job(without_platform(job)):
            raise RefusedError(400, "INVALID_ARGUMENT", "; ".join(problems))
        metadata = job["metadata"]
        generation = (
            self.jobs.get(metadata["name"], {"metadata": {"generation": 0}})["metadata"][
                "generation"
            ]
            + 1
        )
        metadata |= {
            "generation": generation,
            "resourceVersion": str(generation),
            "uid": "x",
            "creationTimestamp": now(),
        }
        job["status"] = {"conditions": [condition("Ready", "")], "observedGeneration": generation}
        self.jobs[metadata["name"]] = job
        return job

    def _execute(self, name: str) -> Any:
        if name not in self.jobs:
            raise RefusedError(404, "NOT_FOUND", f"jobs {name} not found")
        spec = self.jobs[name]["spec"]["template"]["spec"]["template"]["spec"]
        settings = self.registry.settings(spec["containers"][0]["image"]) or {}
        # A migration does not serve: that an image cannot do that does not matter.
        crashes = settings.get("BEHAVIOUR") == "crashes"
        problem = "" if crashes else self._problem(spec)
        if settings.get("BEHAVIOUR") == "no-migration":
            problem = "Task failed with message: The container exited with an error."
        run = f"{name}-{len(self.executions):05d}"
        self.executions[run] = {
            "apiVersion": "run.googleapis.com/v1",
            "kind": "Execution",
            "metadata": {
                "name": run,
                "namespace": PROJECT,
                "generation": 1,
                "creationTimestamp": now(),
                "labels": {"run.googleapis.com/job": name},
            },
            "spec": {"taskCount": 1, "template": {"spec": spec}},
            "status": {
                "conditions": [condition("Completed", problem), condition("Started", "")],
                "observedGeneration": 1,
                "startTime": now(),
                "completionTime": now(),
                "succeededCount": 0 if problem else 1,
                "failedCount": 1 if problem else 0,
            },
        }
        return self.executions[run]

    # ------------------------------------------------------------- for the tests

    owner = MappingProxyType({"GCP_PROJECT_ID": PROJECT, "GCP_REGION": "europe-west1"})
    denied = (
        "gcloud secrets versions access 1 --secret orders-database-url",
        "gcloud run services get-iam-policy orders",
        "gcloud projects get-iam-policy acme-prod",
        "gcloud iam service-accounts create another",
        "gcloud artifacts repositories create another --repository-format docker",
    )

    def log_in(self, folder: Path, token: str = "") -> dict[str, str]:
        """Return what makes gcloud act as the owner or, given GitHub's token, as the deployer.

        The file is the one that google-github-actions/auth writes.
        """
        common = {
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_RUN_REGION": "europe-west1",
            "CLOUDSDK_ARTIFACTS_LOCATION": "europe-west1",
        }
        home = Path(tempfile.mkdtemp(dir=folder))
        file = home / "credentials"
        if not token:
            file.write_text(OWNER)
            return common | {
                "CLOUDSDK_CONFIG": str(home),
                "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(file),
            }
        (home / "token").write_text(token)
        pool = f"projects/{NUMBER}/locations/global/workloadIdentityPools/github"
        account = f"orders-deploy@{PROJECT}.iam.gserviceaccount.com"
        content = {
            "type": "external_account",
            "audience": f"//iam.googleapis.com/{pool}/providers/repository-{REPOSITORY_ID}",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/"
            f"projects/-/serviceAccounts/{account}:generateAccessToken",
            "credential_source": {"file": str(home / "token")},
        }
        file.write_text(json.dumps(content))
        return common | {
            "CLOUDSDK_CONFIG": str(home),
            "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(file),
        }

    def store(self, run: Any, value: str) -> None:
        """Store the database's URL as the README says."""
        command = f"secrets versions add orders-database-url --project {PROJECT} --data-file=-"
        run("gcloud", *command.split(), stdin=value)

    vault = ""

    def deployed(self) -> str:
        """Return the image that gets all the traffic."""
        [target] = (
            one for one in self.services["orders"]["status"]["traffic"] if one.get("percent")
        )
        assert target["percent"] == 100
        image: str = self.revisions[target["revisionName"]]["spec"]["containers"][0]["image"]
        return image

    def state(self) -> Any:
        """Return all there is, to compare."""
        return copy.deepcopy((self.services, self.revisions, self.resources, self.policies))


def condition(kind: str, problem: str) -> dict[str, str]:
    """Return a Knative condition."""
    reason = "ContainerError" if problem else ""
    return {"type": kind, "status": str(not problem), "message": problem, "reason": reason}


def matches(selector: str, labels: dict[str, str]) -> bool:
    """Tell whether labels fulfil a selector of the form `a = b, c = d`."""
    pairs = re.findall(r"([\w./-]+)\s*=\s*([\w.-]+)", selector)
    return all(labels.get(key) == value for key, value in pairs)


def without_platform(resource: Any) -> Any:
    """Return a resource as its author wrote it, without what gcloud and the API add."""
    resource = copy.deepcopy(resource)
    keep = ("name", "labels", "annotations")
    resource["metadata"] = {k: v for k, v in resource["metadata"].items() if k in keep}
    for metadata in (resource["metadata"], *nested(resource["spec"])):
        added = re.compile(
            r"(serving\.knative\.dev/|client\.knative\.dev/|run\.googleapis\.com/(client-|operation-id|ingress-status|urls))"
        )
        for key in ("labels", "annotations"):
            if key in metadata:
                metadata[key] = {k: v for k, v in metadata[key].items() if not added.match(k)}
    return resource


def nested(spec: Any) -> Iterator[Any]:
    """Yield the metadata below a spec."""
    template = spec.get("template", {})
    if "metadata" in template:
        yield template["metadata"]
    if template:
        yield from nested(template.get("spec", {}))


def decode(token: str) -> dict[str, str]:
    """Return the claims of a JSON web token, unchecked."""
    part = token.split(".")[1]
    claims: dict[str, str] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
