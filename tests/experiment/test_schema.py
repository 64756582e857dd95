"""The JSON schema of experiments accepts every experiment of the repository and refuses keys that are no options."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from i2ikd.config_file import apply_override, read_document
from i2ikd.experiment.schema import experiment_schema
from i2ikd.registry import default_registry

EXPERIMENTS = sorted((Path(__file__).parents[2] / "examples" / "experiments").glob("*.toml"))
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


class Validator:
    """The keywords of JSON schema that are used here, straight from the specification."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.whole = schema

    def accepts(self, value: Any, schema: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        if "$ref" in schema and not self.accepts(value, self.whole["$defs"][schema["$ref"].rpartition("/")[2]]):
            return False
        if "if" in schema and self.accepts(value, schema["if"]) and not self.accepts(value, schema["then"]):
            return False
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        numeric = not isinstance(value, bool)
        checks = [
            not kinds or any(isinstance(value, TYPES[k]) and (numeric or k == "boolean") for k in kinds),
            "const" not in schema or value == schema["const"],
            "enum" not in schema or value in schema["enum"],
            "anyOf" not in schema or any(self.accepts(value, part) for part in schema["anyOf"]),
            all(self.accepts(value, part) for part in schema.get("allOf", [])),
            not isinstance(value, str) or re.search(schema.get("pattern", ""), value),
            not isinstance(value, list) or all(self.accepts(item, schema.get("items", True)) for item in value),
            not isinstance(value, dict) or self.accepts_table(value, schema),
        ]
        return all(checks)

    def accepts_table(self, value: dict[str, Any], schema: dict[str, Any]) -> bool:
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        return set(schema.get("required", [])) <= value.keys() and all(
            self.accepts(part, known.get(key, others)) for key, part in value.items()
        )

    def __call__(self, document: dict[str, Any]) -> bool:
        return self.accepts(document, self.whole)


@pytest.fixture(scope="module")
def valid() -> Validator:
    return Validator(experiment_schema(default_registry()))


def template(package: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(package).joinpath("template.toml").read_text("utf-8"))


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_every_example_is_accepted(valid: Validator, file: Path) -> None:
    assert valid(read_document(file))


@pytest.mark.parametrize("package", ["i2ikd_pairs", "i2ikd_mri_recon", "i2ikd_mri_sr", "i2ikd_mri_recon.multicoil"])
def test_every_template_is_accepted(valid: Validator, package: str) -> None:
    assert valid(template(package))


@pytest.mark.parametrize(
    "override",
    [
        "trainin.epochs=3",
        "training.epoch=3",
        "training.epochs=many",
        "teacher.depths=4",
        "teacher.model=plain-cn",
        "task.chanels=3",
        "task.channels=three",
        "arms.kd-mri.alfa=0.3",
        "arms.kd-mri.recipe=kd-mrii",
        "seeds=[-1.5]",
        "trackers=[{name='tensorboard'}]",
    ],
)
def test_what_is_no_option_is_refused(valid: Validator, override: str) -> None:
    document = template("i2ikd_pairs")
    assert valid(document)
    apply_override(document, override)
    assert not valid(document)


def test_imported_components_and_trackers_are_accepted(valid: Validator) -> None:
    document = template("i2ikd_pairs")
    for override in (
        "teacher={model='import:nets:UNet', width=3}",
        "trackers=['json-lines', {name='tensorboard', folder='logs'}]",
        "student.call=['kspace', 'mask']",
    ):
        apply_override(document, override)
    assert valid(document)
