"""JSON schema of an experiment for editors: pydantic's, with the options of every registered component."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError

from i2ikd.component import Component
from i2ikd.config import Experiment
from i2ikd.errors import UserError
from i2ikd.options import option_types
from i2ikd.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REFERENCE = "#/$defs/Reference"

_Schema = dict[str, Any]


def experiment_schema(registry: Registry) -> _Schema:
    """Return the JSON schema of an experiment file.

    A table that names a component (``[task]``, a model, the recipe of an arm) has the options of that component; other
    keys are errors in it. A component whose options have no JSON form accepts any.

    Args:
        registry: whose components are described; one that cannot be imported is listed by its name alone.
    """
    schema = Experiment.model_json_schema()
    definitions = schema["$defs"]
    schema["properties"]["base"] = {"type": "string", "description": "File that this one inherits from."}
    schema["required"] = [name for name in schema["required"] if name != "name"] + ["name"]
    definitions["Network"] = _by_component(definitions["Network"], "model", registry.components("model"), definitions)
    definitions["Arm"] = _by_component(definitions["Arm"], "recipe", registry.components("recipe"), definitions)
    task = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    schema["properties"]["task"] = _by_component(task, "name", registry.components("task"), definitions)
    tracker = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    tracker = _by_component(tracker, "name", registry.components("tracker"), definitions)
    names = [component.name for component in registry.components("tracker")]
    schema["properties"]["trackers"]["items"] = {"anyOf": [{"enum": names}, tracker]}
    if "Stage" in definitions:
        definitions["Stage"]["properties"]["start"]["anyOf"].append({"type": "string"})  # the role of an input
    # a component is a name or a table; in some tables the name has a default
    definitions["Reference"] = {**definitions["Reference"], "type": ["object", "string"], "required": []}
    return {"$schema": DIALECT, "title": "Experiment of i2ikd", **{k: v for k, v in schema.items() if k != "title"}}


def _by_component(base: _Schema, key: str, components: Sequence[Component], definitions: _Schema) -> _Schema:
    """Return the schema of a table whose ``key`` names a component and whose other keys are its options."""
    names = sorted({component.name for component in components})
    imported = {"type": "string", "pattern": "^(import:|[^:]+:)"}
    properties = {**base.get("properties", {})}
    stated = {k: v for k, v in properties.get(key, {}).items() if k in ("description", "default")}
    properties[key] = {**stated, "anyOf": [{"enum": names}, imported]}
    cases = []
    for component in components:
        if (options := _options(component, definitions)) is None:
            continue
        condition: _Schema = {"properties": {key: {"const": component.name}}}
        if "default" not in stated or stated["default"] != component.name:
            condition["required"] = [key]
        known: _Schema = {name: {} for name in properties}
        then: _Schema = {"properties": {**known, **options["properties"]}, "additionalProperties": False}
        if options["required"]:
            then["required"] = options["required"]
        cases.append({"if": condition, "then": then})
    made = {**base, "properties": properties, "additionalProperties": True}
    return {**made, "allOf": cases}


def _options(component: Component, definitions: _Schema) -> _Schema | None:
    """Return the options of a component; ``None`` where any are accepted."""
    try:
        target = component.resolve()
    except UserError:
        return None
    types = option_types(target)
    if types is None:
        return None
    properties = {name: _property(annotation, default, definitions) for name, (annotation, default) in types.items()}
    required = [name for name, (_, default) in types.items() if default is inspect.Parameter.empty]
    if component.kind == "model":  # of every network; see ``called_as``
        properties |= {"call": {"type": "array", "items": {"type": "string"}}, "output": {}}
    return {"properties": properties, "required": required}


def _property(annotation: Any, default: Any, definitions: _Schema) -> _Schema:
    """Return the schema of one option; that of a type without a JSON form accepts anything."""
    try:
        schema = TypeAdapter(annotation).json_schema(ref_template="#/$defs/{model}")
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError):
        return {}
    definitions.update({name: part for name, part in schema.pop("$defs", {}).items() if name not in definitions})
    if isinstance(default, str | int | float | bool | list | tuple):
        schema["default"] = list(default) if isinstance(default, tuple) else default
    return {"$ref": _REFERENCE} if schema.get("title") == "Reference" else schema
