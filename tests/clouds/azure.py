"""Azure on loopback: Resource Manager, Entra ID's tokens, Key Vault, Container Apps.

It enforces role assignments with their scopes, the trust in GitHub's tokens, that a
revision has its image and its secrets, who gets traffic.
"""

import copy
import fnmatch
import json
import re
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import MappingProxyType
from typing import Any

from . import images, validate
from .google import decode
from .internet import Internet, Request, Response, as_json, now

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
TENANT = "22222222-2222-2222-2222-222222222222"
OWNER = "33333333-3333-3333-3333-333333333333"
ROOT = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{ROOT}/resourcegroups/orders"
APP = f"{GROUP}/providers/microsoft.app/containerapps/orders"

# The part of each built-in role that matters here; the ids are Azure's.
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": (
        "AcrPull",
        ["Microsoft.ContainerRegistry/registries/pull/read"],
    ),
    "8311e382-0749-4cb8-b61a-304f252e45ec": (
        "AcrPush",
        [
            "Microsoft.ContainerRegistry/registries/pull/read",
            "Microsoft.ContainerRegistry/registries/push/write",
        ],
    ),
    "4633458b-17de-408a-b874-0445c86b69e6": (
        "Key Vault Secrets User",
        ["Microsoft.KeyVault/vaults/secrets/getSecret/action"],
    ),
}


def token_of(who: str) -> str:
    """Return an unsigned token of Entra ID."""
    claims = {"tid": TENANT, "oid": who, "appid": who, "exp": int(time.time()) + 36000}
    parts = [
        urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode()
        for one in ({"alg": "none"}, claims)
    ]
    return ".".join([*parts, "c2ln"])


class RefusedError(Exception):
    """Resource Manager answers with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = as_json({"error": {"code": code, "message": message}}, status)


class Azure:
    """One subscription.

    Args:
        registry: holds what was pushed to the container registry.
    """

    owner = MappingProxyType(
        {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "AZURE_LOCATION": "westeurope"}
    )
    denied = (
        f"az rest --method post --url {APP}/listSecrets?api-version=2026-07-01",
        f"az rest --method delete --url {APP}?api-version=2026-07-01",
        "az group create --name another --location westeurope",
        "az identity create --name another --resource-group orders --location westeurope",
        "az keyvault secret show --name database-url --vault-name VAULT",
    )

    def __init__(self, registry: images.Registry) -> None:
        self.registry = registry
        self.resources: dict[str, Any] = {}
        self.revisions: dict[str, Any] = {}
        self.executions: dict[str, str] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.secrets_read: list[str] = []

    def connect(self, internet: Internet) -> None:
        """Answer for the hosts of Azure."""
        internet.site("login.microsoftonline.com", self._guarded(self._log_in))
        internet.site("management.azure.com", self._guarded(self._manage))
        # az asks for display names.
        internet.site("graph.microsoft.com", lambda request: as_json({"value": []}))
        internet.site("*.vault.azure.net", self._guarded(self._vault))
        internet.site("*.azurecr.io", self._registry)
        internet.site("*.azurecontainerapps.io", self._serve)

    def _guarded(self, site: Any) -> Any:
        def answer(request: Request) -> Response:
            try:
                response: Response = site(request)
                return response
            except RefusedError as refused:
                return refused.response

        return answer

    # ------------------------------------------------------------- identities

    def _log_in(self, request: Request) -> Response:
        base = f"https://login.microsoftonline.com/{TENANT}"
        if request.method == "GET":
            return as_json(
                {
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                    "issuer": f"{base}/v2.0",
                    "tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration",
                    "metadata": [],
                }
            )
        form = request.form()
        who = form["client_id"]
        if who != OWNER:
            self._trusted(who, form.get("client_assertion", ""))
        return as_json({"access_token": token_of(who), "token_type": "Bearer", "expires_in": 36000})

    def _trusted(self, who: str, assertion: str) -> None:
        """Refuse a token that no federated credential of the identity describes."""
        claims = decode(assertion)
        for path, resource in self.resources.items():
            if "/federatedidentitycredentials/" not in path:
                continue
            identity = self.resources[path.rpartition("/federatedidentitycredentials/")[0]]
            wanted = resource["properties"]
            if (
                identity["properties"]["clientId"] == who
                and (wanted["issuer"], wanted["subject"]) == (claims["iss"], claims["sub"])
                and claims["aud"] in wanted["audiences"]
            ):
                return
        message = "AADSTS700213: No matching federated identity record found"
        error = RefusedError(401, "invalid_client", message)
        error.response = as_json({"error": "invalid_client", "error_description": message}, 401)
        raise error

    def _who(self, request: Request) -> str:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            raise RefusedError(401, "AuthenticationFailed", "there is no token")
        return decode(token)["oid"]

    def _principal(self, who: str) -> str:
        for resource in self.resources.values():
            if resource.get("properties", {}).get("clientId") == who:
                principal: str = resource["properties"]["principalId"]
                return principal
        return who

    def _may(self, principal: str, action: str, scope: str) -> bool:
        if principal == OWNER:
            return True
        for path, resource in self.resources.items():
            if (
                "/roleassignments/" not in path
                or resource["properties"]["principalId"] != principal
            ):
                continue
            if not f"{scope.lower()}/".startswith(
                path.partition("/providers/microsoft.authorization/")[0] + "/"
            ):
                continue
            role = resource["properties"]["roleDefinitionId"].rpartition("/")[2]
            custom = [one for one in self.resources.values() if one.get("name") == role]
            actions = (
                custom[0]["properties"]["permissions"][0]["actions"] if custom else ROLES[role][1]
            )
            if any(fnmatch.fnmatchcase(action.lower(), one.lower()) for one in actions):
                return True
        return False

    def _need(self, who: str, action: str, scope: str) -> None:
        if not self._may(self._principal(who), action, scope):
            message = f"The client '{who}' may not perform '{action}' over scope '{scope}'"
            raise RefusedError(403, "AuthorizationFailed", message)

    # ------------------------------------------------------- registry and vault

    def _registry(self, request: Request) -> Response:
        name = request.host.partition(".")[0]
        scope = f"{GROUP}/providers/microsoft.containerregistry/registries/{name}"
        if scope not in self.resources:
            return Response(404)
        if request.path == "/oauth2/exchange":
            return as_json({"refresh_token": request.form()["access_token"]})
        if request.path == "/v2/" and "authorization" not in request.headers:
            realm = f'Bearer realm="https://{request.host}/oauth2/token",service="{request.host}"'
            return Response(401, b"{}", {"www-authenticate": realm})
        if request.path == "/oauth2/token":
            authorization = request.headers.get("authorization", "")
            token = request.form().get("refresh_token") or images.basic_password(authorization)
            return as_json({"access_token": token, "token": token})

        def may(token: str, request: Request) -> bool:
            if request.path == "/v2/":
                return True
            action = "pull/read" if request.method in ("GET", "HEAD") else "push/write"
            principal = self._principal(decode(token)["oid"])
            return self._may(principal, f"Microsoft.ContainerRegistry/registries/{action}", scope)

        if "authorization" not in request.headers:
            realm = f'Bearer realm="https://{request.host}/oauth2/token",service="{request.host}",scope="repository:orders:pull,push"'
            return Response(401, b"{}", {"www-authenticate": realm})
        return self.registry.site(may)(request)

    def _vault(self, request: Request) -> Response:
        if "authorization" not in request.headers:
            base = f"https://login.microsoftonline.com/{TENANT}"
            challenge = f'Bearer authorization="{base}", resource="https://vault.azure.net"'
            return Response(401, b"{}", {"www-authenticate": challenge})
        vault = request.host.partition(".")[0]
        scope = f"{GROUP}/providers/Microsoft.KeyVault/vaults/{vault}"
        name = request.path.split("/")[2]
        verb = "getSecret" if request.method == "GET" else "setSecret"
        who = self._who(request)
        self._need(who, f"Microsoft.KeyVault/vaults/secrets/{verb}/action", scope)
        if verb == "getSecret":
            self.secrets_read.append(request.path)
        url = f"https://{request.host}/secrets/{name}/{uuid.uuid4().hex}"
        if verb == "setSecret":
            self.secrets.setdefault(name, {})[url] = request.json()["value"]
        return as_json({"id": url, "value": "?", "attributes": {"enabled": True}})

    # -------------------------------------------------------- Resource Manager

    def _manage(self, request: Request) -> Response:
        path = request.path.rstrip("/")
        low = path.lower()
        who = self._who(request)
        if low == "/subscriptions":
            shown = {
                "id": ROOT,
                "subscriptionId": SUBSCRIPTION,
                "tenantId": TENANT,
                "displayName": "acme",
                "state": "Enabled",
            }
            return as_json({"value": [shown]})
        if low == "/tenants":
            return as_json({"value": [{"id": f"/tenants/{TENANT}", "tenantId": TENANT}]})
        self._authorize(request, who, path)
        if found := re.fullmatch(r"/subscriptions/[^/]+/providers/([^/]+)(/register)?", low):
            kinds = ("containerApps", "managedEnvironments", "components", "jobs")
            types = [
                {"resourceType": kind, "locations": ["West Europe"], "apiVersions": ["2020-02-02"]}
                for kind in kinds
            ]
            return as_json(
                {"namespace": found[1], "registrationState": "Registered", "resourceTypes": types}
            )
        of_app = re.search("/providers/microsoft.app/(containerapps|jobs)/", low)
        if of_app and (answer := self._apps(request, path)) is not None:
            return answer
        if low.endswith("/sharedkeys"):
            return as_json({"primarySharedKey": "a2V5"})
        if "/vaults/" in low and "/secrets/" in low:
            versions = self.secrets.get(low.rpartition("/")[2], {})
            if not versions:
                raise RefusedError(404, "SecretNotFound", f"{path} not found")
            return as_json({"properties": {"secretUriWithVersion": list(versions)[-1]}})
        return self._resource(request, path)

    def _authorize(self, request: Request, who: str, path: str) -> None:
        scope, _, rest = path.rpartition("/providers/")
        parts = rest.split("/") if scope else path.split("/")[1:]
        namespace = f"{parts[0]}/" if scope else "Microsoft.Resources/"
        names = parts[1:] if scope else parts
        kind = namespace + "/".join(names[::2])
        verb = {
            "GET": "read",
            "HEAD": "read",
            "PUT": "write",
            "PATCH": "write",
            "DELETE": "delete",
        }.get(request.method)
        if verb:
            self._need(who, f"{kind}/{verb}", path)
        else:  # POST RESOURCE/VERB
            self._need(who, f"{kind}/action", path.rpartition("/")[0])
        body = request.json() if request.method in ("PUT", "PATCH") else {}
        for identity in (body.get("identity") or {}).get("userAssignedIdentities") or {}:
            self._need(
                who, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", identity
            )
        environment = (body.get("properties") or {}).get("environmentId")
        if environment:
            self._need(who, "Microsoft.App/managedEnvironments/join/action", environment)

    def _resource(self, request: Request, path: str) -> Response:
        low = path.lower()
        if request.method in ("PUT", "PATCH"):
            body = without_nulls(request.json())
            new = body if request.method == "PUT" else merge(self.resources.get(low, {}), body)
            self.resources[low] = self._filled(path, new)
            created = "/microsoft.authorization/" in low
            return as_json(self.resources[low], 201 if created else 200)
        tail = low.rpartition("/providers/")[2].split("/")
        if request.method == "GET" and "/providers/" in low and len(tail) % 2 == 0:
            return as_json({"value": self._list(request, low)})
        if low not in self.resources:
            raise RefusedError(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        if request.method == "DELETE":
            del self.resources[low]
            return Response(200)
        return Response(204) if request.method == "HEAD" else as_json(self.resources[low])

    def _list(self, request: Request, low: str) -> list[Any]:
        if low.endswith("/roledefinitions"):
            built_in = [
                {
                    "id": f"{ROOT}/providers/Microsoft.Authorization/roleDefinitions/{key}",
                    "name": key,
                    "properties": {
                        "roleName": name,
                        "type": "BuiltInRole",
                        "permissions": [{"actions": actions}],
                    },
                }
                for key, (name, actions) in ROLES.items()
            ]
            custom = [one for path, one in self.resources.items() if "/roledefinitions/" in path]
            wanted = re.search(r"roleName eq '([^']+)'", request.query.get("$filter", ""))
            return [
                one
                for one in built_in + custom
                if not wanted or one["properties"]["roleName"] == wanted[1]
            ]
        return [one for path, one in self.resources.items() if path.rpartition("/")[0] == low]

    def _filled(self, path: str, new: Any) -> Any:
        """Return a resource with what Azure adds to it."""
        low, name = path.lower(), path.rpartition("/")[2]
        kind = low.split("/")[-2]
        old = self.resources.get(low, {}).get("properties", {})
        if kind == "roleassignments":
            same = [
                one
                for key, one in self.resources.items()
                if key.rpartition("/")[0] == low.rpartition("/")[0]
                and key != low
                and one["properties"]["principalId"] == new["properties"]["principalId"]
                and one["properties"]["roleDefinitionId"] == new["properties"]["roleDefinitionId"]
            ]
            if same:
                raise RefusedError(
                    409, "RoleAssignmentExists", "The role assignment already exists."
                )
        if kind == "roleassignments":
            new["properties"]["scope"] = path[: low.index("/providers/microsoft.authorization/")]
        new |= {"id": path, "name": name}
        properties = new.setdefault("properties", {})
        if not kind.startswith("role"):
            properties["provisioningState"] = "Succeeded"
        kept = {key: old[key] for key in ("principalId", "clientId") if key in old}
        if kind == "userassignedidentities":
            made = {
                "principalId": str(uuid.uuid4()),
                "clientId": str(uuid.uuid4()),
                "tenantId": TENANT,
            }
            properties |= made | kept
        if kind == "registries":
            assert re.fullmatch(r"[a-z0-9]{5,50}", name), name
            properties["loginServer"] = f"{name}.azurecr.io"
        if kind == "workspaces":
            properties["customerId"] = "66666666-6666-6666-6666-666666666666"
        if kind == "components":
            properties["ConnectionString"] = (
                "InstrumentationKey=0;IngestionEndpoint=https://x.in.applicationinsights.azure.com/"
            )
        if kind == "managedenvironments":
            new["location"] = "West Europe"
            properties["defaultDomain"] = "kind-sea-1.westeurope.azurecontainerapps.io"
        if kind == "vaults":
            assert re.fullmatch(r"[a-z](?!.*--)[a-z0-9-]{1,22}[a-z0-9]", name), name
            properties["vaultUri"] = f"https://{name}.vault.azure.net/"
        return new

    # ----------------------------------------------------------- Container Apps

    def _apps(self, request: Request, path: str) -> Response | None:
        low = path.lower()
        found = re.fullmatch(
            r"(.*/providers/microsoft\.app/(containerapps|jobs)/[^/]+)(?:/(.*))?", low
        )
        assert found
        base, kind, rest = found.groups()
        if rest == "listsecrets":
            self.secrets_read.append(path)
            return as_json({"value": []})
        if base not in self.resources and (rest or request.method != "PUT"):
            raise RefusedError(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        if kind == "jobs" and rest == "start":
            return as_json(self._start(base))
        if kind == "jobs" and rest:
            name = rest.rpartition("/")[2]
            return as_json({"name": name, "properties": {"status": self.executions[name]}})
        if rest and rest.startswith("revisions"):
            return self._revision(path, rest)
        if request.method not in ("PUT", "PATCH"):
            return None
        body = without_nulls(request.json())
        if kind == "jobs":
            if problems := validate.container_app_job(body):
                raise RefusedError(400, "ContainerAppJobInvalidSpec", "; ".join(problems))
            self.resources[base] = body | {
                "properties": body["properties"] | {"provisioningState": "Succeeded"}
            }
            return as_json(self.resources[base])
        return as_json(self._put_app(request.method, path, body))

    def _problem(self, body: Any) -> str:
        """Return why containers of an app or a job cannot start, or nothing."""
        properties = body["properties"]
        # Azure compares ids without regard to case.
        [identity] = {one.lower() for one in body["identity"]["userAssignedIdentities"]}
        principal = self.resources[identity]["properties"]["principalId"]
        for secret in properties["configuration"].get("secrets", []):
            vault = re.match(r"https://([^.]+)", secret["keyVaultUrl"])
            scope = f"{GROUP}/providers/Microsoft.KeyVault/vaults/{vault and vault[1]}"
            if not self._may(
                principal, "Microsoft.KeyVault/vaults/secrets/getSecret/action", scope
            ):
                return f"Unable to get value using Managed identity {identity}"
            if not any(secret["keyVaultUrl"] in versions for versions in self.secrets.values()):
                return f"Secret {secret['keyVaultUrl']} not found"
        [container] = properties["template"]["containers"]
        if container["image"].startswith("mcr.microsoft.com/"):
            return ""
        registry = container["image"].partition(".")[0]
        scope = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/{registry}"
        if not self._may(principal, "Microsoft.ContainerRegistry/registries/pull/read", scope):
            return f"{identity} may not pull {container['image']}"
        settings = self.registry.settings(container["image"])
        if settings is None:
            return f"{container['image']} not found"
        return "crashes" if settings.get("BEHAVIOUR") == "crashes" else ""

    def _put_app(self, method: str, path: str, body: Any) -> Any:
        low, name = path.lower(), path.rpartition("/")[2]
        old = self.resources.get(low)
        empty = "mcr.microsoft.com/" in json.dumps(body)
        if (
            "template" in body["properties"]
            and not empty
            and (problems := validate.container_app(body))
        ):
            raise RefusedError(400, "ContainerAppInvalidSpec", "; ".join(problems))
        new = merge(old, body) if method == "PATCH" and old else copy.deepcopy(body)
        properties = new["properties"]
        template, ingress = properties["template"], properties["configuration"]["ingress"]
        properties["provisioningState"] = "Succeeded"
        ingress["fqdn"] = f"{name}.kind-sea-1.westeurope.azurecontainerapps.io"
        if not old or old["properties"]["template"] != template:
            revision = f"{name}--{template['revisionSuffix']}"
            assert len(revision) <= 54, revision
            if revision in self.revisions:
                raise RefusedError(
                    400,
                    "ContainerAppInvalidRevision",
                    f"a revision named {revision} exists already",
                )
            problem = self._problem(new)
            self.revisions[revision] = {
                "id": f"{path}/revisions/{revision}",
                "name": revision,
                "properties": {
                    "active": True,
                    "createdTime": now(),
                    "fqdn": f"{revision}.kind-sea-1.westeurope.azurecontainerapps.io",
                    "template": template,
                    "provisioningState": "Failed" if problem else "Provisioned",
                    "healthState": "Unhealthy" if problem else "Healthy",
                    "runningState": "Failed" if problem else "Running",
                },
            }
        traffic = ingress.setdefault("traffic", [{"latestRevision": True, "weight": 100}])
        for target in traffic:
            target["weight"] = int(target["weight"])
            if target.get("revisionName") not in {None, *self.revisions}:
                raise RefusedError(
                    400, "ContainerAppInvalidTraffic", f"there is no {target['revisionName']}"
                )
        weighted = [
            one["revisionName"] for one in traffic if one["weight"] and one.get("revisionName")
        ]
        if old and any(self._settings(one).get("BEHAVIOUR") == "rolled-back" for one in weighted):
            ingress["traffic"] = old["properties"]["configuration"]["ingress"]["traffic"]
        self.resources[low] = new | {"id": path, "name": name}
        return self.resources[low]

    def _settings(self, revision: str) -> dict[str, str]:
        image = self.revisions[revision]["properties"]["template"]["containers"][0]["image"]
        return self.registry.settings(image) or {"COMMIT": "empty"}

    def _revision(self, path: str, rest: str) -> Response:
        _, _, name = rest.partition("/")
        if not name:
            return as_json({"value": list(self.revisions.values())})
        name, _, verb = name.partition("/")
        if name not in self.revisions:
            raise RefusedError(404, "RevisionNotFound", f"The Resource '{path}' was not found.")
        if verb:
            self.revisions[name]["properties"]["active"] = verb == "activate"
        return as_json(self.revisions[name])

    def _start(self, job: str) -> Any:
        name = f"migrate-{len(self.executions):07d}"
        body = self.resources[job]
        image = body["properties"]["template"]["containers"][0]["image"]
        problem = self._problem(body)
        behaviour = (self.registry.settings(image) or {}).get("BEHAVIOUR")
        failed = problem not in ("", "crashes") or behaviour == "no-migration"
        self.executions[name] = "Failed" if failed else "Succeeded"
        return {"name": name, "id": f"{job}/executions/{name}"}

    def _serve(self, request: Request) -> Response:
        name = request.host.partition(".")[0]
        live = "--" not in name
        if live:
            app = self.resources[f"{GROUP}/providers/microsoft.app/containerapps/{name}"]
            [target] = (
                one
                for one in app["properties"]["configuration"]["ingress"]["traffic"]
                if one["weight"]
            )
            name = target["revisionName"]
        if name not in self.revisions or not self.revisions[name]["properties"]["active"]:
            return Response(404)
        settings = self._settings(name)
        if live and settings.get("BEHAVIOUR") == "fails-live":
            return Response(500)
        return images.service(settings, request)

    # ------------------------------------------------------------- for the tests

    def log_in(self, folder: Path, token: str = "") -> dict[str, str]:
        """Return where az keeps the session that `login_command` opens."""
        return {
            "AZURE_CONFIG_DIR": tempfile.mkdtemp(dir=folder),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
        }

    def login_command(self, token: str) -> list[str]:
        """Return the command that logs in, as azure/login does."""
        who = OWNER
        if token:
            identities = f"{GROUP}/providers/microsoft.managedidentity/userassignedidentities"
            who = self.resources[f"{identities}/orders-deploy"]["properties"]["clientId"]
        secret = ["--federated-token", token] if token else ["--password", "x"]
        return [
            "az",
            "login",
            "--service-principal",
            "--username",
            who,
            "--tenant",
            TENANT,
            *secret,
        ]

    def store(self, run: Any, value: str) -> None:
        """Store the database's URL as the README says."""
        command = f"az keyvault secret set --vault-name {self.vault} --name database-url --value"
        run(*command.split(), value)

    @property
    def vault(self) -> str:
        """The name of the vault."""
        [name] = (
            path.rpartition("/")[2]
            for path in self.resources
            if "/vaults/" in path and "/roleassignments/" not in path
        )
        return name

    def deployed(self) -> str:
        """Return the image that gets all the traffic."""
        app = self.resources[APP]
        [target] = (
            one for one in app["properties"]["configuration"]["ingress"]["traffic"] if one["weight"]
        )
        assert target["weight"] == 100
        image: str = self.revisions[target["revisionName"]]["properties"]["template"]["containers"][
            0
        ]["image"]
        return image

    def state(self) -> Any:
        """Return all there is, to compare."""
        return copy.deepcopy((self.resources, self.revisions))


def without_nulls(value: Any) -> Any:
    """Return JSON without the members that are null, which az sends for what is not set."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def merge(old: Any, patch: Any) -> Any:
    """Return what a JSON merge patch makes of a value (RFC 7396)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        result[key] = merge(result.get(key), value)
    return result
