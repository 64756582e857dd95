"""MkDocs hooks: expand folders in the navigation, insert generated parts, name repository files instead of links.

A page includes a generated part with a comment, ``<!-- i2ikd: NAME ARGUMENT -->``; ``reference.py`` defines the parts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import reference
from mkdocs.exceptions import PluginError

_MARK = re.compile(r"<!-- i2ikd: (?P<part>[\w-]+) ?(?P<argument>[^\n]*?)(?:\n(?P<text>.*?))?\s*-->", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]*)\]\((?P<target>(?:\.\./)+[^)#\s]*)(?:#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Expand ``folder/*`` in the navigation."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Insert the generated parts; replace links to repository files that are not pages by their paths."""
    source = Path(page.file.abs_src_path)
    return _LINK.sub(lambda link: _named(link, source, Path(config.docs_dir)), _MARK.sub(_part(source), markdown))


def _part(source: Path) -> Any:
    def fill(mark: re.Match[str]) -> str:
        name = mark["part"]
        if name == "results":
            return results(source.parent)
        if name not in reference.PARTS:
            raise PluginError(f"{source}: expected a generated part among {', '.join(reference.PARTS)}, got {name!r}")
        return reference.PARTS[name](mark["argument"], mark["text"] or "")

    return fill


def results(folder: Path) -> str:
    """List the pages of a folder except its index, each with its heading and its first paragraph."""
    lines = []
    for file in sorted(folder.glob("*.md")):
        if file.name != "index.md":
            text = file.read_text(encoding="utf-8")
            paragraphs = [
                part for part in text.split("\n\n") if part.strip() and not part.startswith(("#", "|", "```"))
            ]
            lines.append(f"- [{_title(file)}]({file.name}): " + " ".join(paragraphs[0].split() if paragraphs else []))
    return "\n".join(lines) or "No results yet."


def _title(file: Path) -> str:
    heading = re.search(r"^# (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return heading[1].strip() if heading else file.stem


def _expanded(entry: Any, docs: Path) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(inner, docs) for title, inner in entry.items()}
    if not isinstance(entry, list):
        return entry
    expanded: list[Any] = []
    for item in entry:
        if isinstance(item, str) and item.endswith("/*"):
            folder = docs / item.removesuffix("/*")
            pages = [file for file in sorted(folder.glob("*.md")) if file.name != "index.md"]
            expanded += [file.relative_to(docs).as_posix() for file in pages]
        else:
            expanded.append(_expanded(item, docs))
    return expanded


def _named(link: re.Match[str], source: Path, docs: Path) -> str:
    """Replace a link that leaves the pages by the path of the repository file, if the file exists."""
    target = (source.parent / link["target"]).resolve()
    if target.is_relative_to(docs) or not target.exists():
        return link[0]
    path = target.relative_to(docs.parent).as_posix()
    return link["text"] if path in link["text"] else f"{link['text']} (`{path}`)"
