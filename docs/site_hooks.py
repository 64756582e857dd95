"""MkDocs hooks: expand folders in the navigation, insert generated parts, link papers, sources and edit pages.

A page includes a generated part with a comment, ``<!-- i2ikd: NAME ARGUMENT -->``; ``reference.py`` defines the parts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import mathematics
import reference
from mkdocs.exceptions import PluginError

_MARK = re.compile(r"<!-- i2ikd: (?P<part>[\w-]+) ?(?P<argument>[^\n]*?)(?:\n(?P<text>.*?))?\s*-->", re.DOTALL)
_REMOTE_WORKER, _WORKER = "https://unpkg.com/iframe-worker/shim", "assets/iframe-worker.js"
_TAG = re.compile(r"<(?P<close>/?)(?P<name>\w+)[^>]*>")
_PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]*)\]\((?P<target>(?:\.\./)+[^)#\s]*)(?:#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Expand ``folder/*`` in the navigation; render blocks of the language ``math``."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "formula", "format": mathematics.fence}]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Insert the generated parts; link repository files that are not pages, and the source of the page itself.

    ``I2IKD_REPOSITORY`` is the address of the repository; without it files are named by their paths, and there is no
    link for editing. The theme's own ``repo_url`` would load the number of stars from the network.
    """
    source = Path(page.file.abs_src_path)
    if repository := _repository():
        page.edit_url = f"{repository}/edit/main/docs/{page.file.src_uri}"
    return _LINK.sub(lambda link: _named(link, source, Path(config.docs_dir)), _MARK.sub(_part(source), markdown))


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Link every ``arXiv:NUMBER`` that is text."""
    parts: list[str] = []
    outside, place = True, 0
    for tag in _TAG.finditer(html + "<end>"):
        text = html[place : tag.start()]
        parts += [_PAPER.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', text) if outside else text, tag[0]]
        place = tag.end()
        if tag["name"] in ("a", "pre", "code", "script"):
            outside = bool(tag["close"])
    return "".join(parts).removesuffix("<end>")


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Load the script that the search of files needs from the site."""
    return output.replace(_REMOTE_WORKER, "../" * page.url.count("/") + _WORKER)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same for pages without a source, such as 404.html."""
    return output_content.replace(_REMOTE_WORKER, _WORKER)


def _repository() -> str:
    """Return the address of the repository; empty if unknown."""
    return os.environ.get("I2IKD_REPOSITORY", "").rstrip("/").removesuffix(".git")


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
    """Replace a link that leaves the pages by one to the repository, or by the file's path; the file must exist."""
    target = (source.parent / link["target"]).resolve()
    if target.is_relative_to(docs) or not target.exists():
        return link[0]
    path = target.relative_to(docs.parent).as_posix()
    if repository := _repository():
        return f"[{link['text']}]({repository}/{'tree' if target.is_dir() else 'blob'}/main/{path})"
    return link["text"] if path in link["text"] else f"{link['text']} (`{path}`)"
