"""The example of a scheme is built and installed, and everything that it provides is registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_it_is_listed_with_everything_that_it_provides(site: Any, tmp_path: Path) -> None:
    plugins = json.loads(site.i2ikd("plugins", "--json", cwd=tmp_path))
    (found,) = (plugin for plugin in plugins if plugin["name"] == "assistant")
    assert (found["distribution"], found["version"], found["problem"]) == ("i2ikd-assistant", "0.1.0", None)
    provided = {(item["kind"], item["name"]) for item in found["provides"]}
    assert provided == {("objective", "assisted-imitation"), ("recipe", "assisted-imitation")}
