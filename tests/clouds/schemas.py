"""Closed JSON Schemas of the deploy files, made from the vendors' own API descriptions.

Cloud Run: the discovery document that google-api-python-client carries. Container Apps:
the models of azure-mgmt-appcontainers. Every object is closed, which the vendors' own
clients do not do (az drops what it does not know) or only in part (gcloud).
"""

import enum
import functools
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

import azure.mgmt.appcontainers.models as arm
import googleapiclient
from azure.mgmt.appcontainers.models import _enums, _models

Schema = dict[str, Any]
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


@functools.cache
def cloud_run(kind: str) -> Schema:
    """Return the schema of a `Service` or a `Job` in the Cloud Run Admin API v1."""
    discovery = Path(googleapiclient.__file__).parent / "discovery_cache/documents/run.v1.json"
    source = json.loads(discovery.read_text())["schemas"]
    definitions: Schema = {}

    def convert(field: Schema) -> Schema:
        if "$ref" in field:
            add(field["$ref"])
            return {"$ref": f"#/$defs/{field['$ref']}"}
        match field.get("type"):
            case "array":
                return {"type": "array", "items": convert(field["items"])}
            case "object":
                values = field.get("additionalProperties", {"type": "any"})
                return {"type": "object", "additionalProperties": convert(values)}
            case "any":
                return {}
        result: Schema = {"type": field["type"]}
        if field.get("format") in ("int64", "uint64"):
            result = {"type": ["string", "integer"]}
        if "enum" in field:
            result["enum"] = [one for one in field["enum"] if not one.endswith("_UNSPECIFIED")]
        return result

    def add(name: str) -> None:
        if name in definitions:
            return
        definitions[name] = {}
        unsupported = re.compile(
            r"Not (supported|currently used) (by|in) Cloud Run|^\s*Output only"
        )
        texts = {
            key: field.get("description", "")
            for key, field in source[name].get("properties", {}).items()
        }
        known = {
            key: field
            for key, field in source[name].get("properties", {}).items()
            if not unsupported.search(texts[key]) and not field.get("readOnly") and key != "status"
        }
        definitions[name] |= {
            "type": "object",
            "additionalProperties": False,
            "properties": {key: convert(field) for key, field in known.items()},
            "required": [key for key in known if texts[key].startswith("Required.")],
        }

    add(kind)
    # The discovery text tells for each annotation which resources take it.
    text = source["ObjectMeta"]["properties"]["annotations"]["description"]
    annotations: dict[str, set[str]] = {}
    for key, where in re.findall(r"\* `([a-z.]+/[A-Za-z-]+)`: ([A-Za-z, ]+)\.", text):
        for resource in re.split(r",\s*", where.strip(", ")):
            annotations.setdefault(resource, set()).add(key)
    levels = {
        "Service": "Service",
        "RevisionTemplate": "Revision",
        "Job": "Job",
        "ExecutionTemplateSpec": "Execution",
    }
    for holder, resource in levels.items():
        if holder not in definitions:
            continue
        allowed = annotations.get(resource, set()) | annotations.get("All resources", set())
        foreign = {"not": {"pattern": r"(^|\.)(run\.googleapis\.com|knative\.dev)/"}}
        definitions[f"ObjectMeta{holder}"] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "annotations": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "propertyNames": {"anyOf": [foreign, {"enum": sorted(allowed)}]},
                },
            },
        }
        definitions[holder]["properties"]["metadata"] = {"$ref": f"#/$defs/ObjectMeta{holder}"}
    top = definitions[kind]
    version = "serving.knative.dev/v1" if kind == "Service" else "run.googleapis.com/v1"
    top["properties"] |= {"apiVersion": {"const": version}, "kind": {"const": kind}}
    top["required"] = ["apiVersion", "kind", "metadata", "spec"]
    definitions[f"ObjectMeta{kind}"]["required"] = ["name"]
    ports = {
        "HTTPGetAction": "port",
        "TCPSocketAction": "port",
        "GRPCAction": "port",
        "ContainerPort": "containerPort",
    }
    for name, key in ports.items():
        if name in definitions:
            definitions[name]["properties"][key] = PORT
            definitions[name]["required"] = [key]
    if "ContainerPort" in definitions:
        definitions["ContainerPort"]["properties"]["name"] = {"enum": ["http1", "h2c"]}
    definitions["SecretKeySelector"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
        "required": ["name", "key"],
    }
    definitions["ResourceRequirements"]["properties"]["limits"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "cpu": {"type": "string", "pattern": r"^(\d+|\d{2,4}m|0\.\d+)$"},
            "memory": {"type": "string", "pattern": r"^\d+(Mi|Gi|M|G)$"},
        },
    }
    return {"$ref": f"#/$defs/{kind}", "$defs": definitions}


@functools.cache
def container_apps(kind: str) -> Schema:
    """Return the schema of a `ContainerApp` or a `Job` of Microsoft.App."""
    definitions: Schema = {}
    names = {**vars(_models), **vars(_enums), "_models": arm, "Any": Any}

    def convert(hint: Any) -> Schema:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            arguments = tuple(one for one in arguments if one is not types.NoneType)
            for one in arguments:
                if isinstance(one, type) and issubclass(one, enum.Enum):
                    return {"enum": [member.value for member in one]}
            if len(arguments) == 1:
                return convert(arguments[0])
            return {"anyOf": [convert(one) for one in arguments]}
        if origin is list:
            return {"type": "array", "items": convert(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": convert(arguments[1])}
        if origin is typing.Literal:
            return {"enum": [getattr(one, "value", one) for one in arguments]}
        if hint is Any:
            return {}
        if isinstance(hint, type) and issubclass(hint, arm.Resource.__mro__[1]):
            add(hint)
            return {"$ref": f"#/$defs/{hint.__name__}"}
        simple = {bool: "boolean", int: "integer", float: "number"}
        return {"type": simple.get(hint, "string")}

    def add(model: Any) -> None:
        if model.__name__ in definitions:
            return
        definition = definitions[model.__name__] = {}
        hints: dict[str, Any] = {}
        for base in reversed(model.__mro__):
            for name, hint in vars(base).get("__annotations__", {}).items():
                hints[name] = eval(hint, names) if isinstance(hint, str) else _resolve(hint)
        model.__new__(model, {})  # fills the table of fields
        properties, required = {}, []
        for attribute, field in model._attr_to_rest_field.items():
            if field._visibility == ["read"]:
                continue
            properties[field._rest_name] = convert(hints[attribute])
            if types.NoneType not in typing.get_args(hints[attribute]):
                required.append(field._rest_name)
        definition |= {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            "required": required,
        }

    def _resolve(hint: Any) -> Any:
        return typing.get_type_hints(
            type("Holder", (), {"__annotations__": {"hint": hint}}), names
        )["hint"]

    add(getattr(arm, kind))
    top = definitions[kind]
    top["properties"].pop("systemData", None)
    top["required"] = ["location", "identity", "properties"]
    for name in ("ContainerAppProbeHttpGet", "ContainerAppProbeTcpSocket"):
        definitions[name]["properties"]["port"] = PORT
    if kind == "ContainerApp":
        definitions["Ingress"]["properties"]["targetPort"] = PORT
        definitions["HttpScaleRule"]["properties"]["metadata"] = {
            "type": "object",
            "additionalProperties": {"type": "string"},
        }
    return {"$ref": f"#/$defs/{kind}", "$defs": definitions}
