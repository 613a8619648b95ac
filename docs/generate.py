"""Writes the pages that come from the program itself, into docs/generated, which is not committed: `conf.py` runs it.

What stands in the sources is taken from there: commands, keys, options, metrics, outcomes, the public names, plugins'
READMEs, the benchmarks' results.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import cleandoc, isroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml  # MyST needs it too

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / ".build"))

import reference  # noqa: E402 - beside the build hook, which needs it too

GENERATED = Path(__file__).parent / "generated"


def write() -> None:
    pages = dict(_pages())
    for name, text in pages.items():
        path = GENERATED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # else all would be built anew
            path.write_text(text, encoding="utf-8")


def _pages() -> Iterator[tuple[str, str]]:
    yield "commands.md", f"# Commands\n\n{_rst('commands.rst')}"
    yield "commands.rst", reference.commands()
    yield "keys.md", _rst("keys.rst")
    yield "keys.rst", reference.configuration()
    yield "dispatch.md", cleandoc(import_module("responder.dispatch").__doc__ or "")
    yield "metrics.md", "\n".join(_metrics())
    yield "alerts.md", "\n".join(_alerts())
    yield "outcomes.md", "\n".join(_outcomes())
    yield "speed.md", "\n".join(_speed())
    yield "api.rst", "\n".join(_api("responder"))
    yield "api-testing.rst", "\n".join(_api("responder.testing"))
    folder = ROOT / "plugins"
    yield "plugins.md", _plugins(folder)
    for name in reference.brought("responder.plugins"):
        readme = folder / "responder_plugins" / name / "README.md"
        options = reference.plugin_options(name)
        yield f"plugins/{name}-options.rst", options
        yield f"plugins/{name}.md", _readme(readme) + f"\n## Options in full\n\n{_rst(f'{name}-options.rst')}"


def _rst(file: str) -> str:
    # The path is from the page, and a page that is included is within another folder.
    return f"```{{eval-rst}}\n.. include:: /generated/{'plugins/' if 'options' in file else ''}{file}\n```\n"


def _plugins(folder: Path) -> str:
    """The index, with the pages of the plugins below it."""
    _, _, text = (folder / "README.md").read_text(encoding="utf-8").partition("\n")
    text = re.sub(r"\]\(responder_plugins/(\w+)/README\.md\)", r"](generated/plugins/\1.md)", text)
    text = inner_links(text, folder)
    names = "\n".join(f"generated/plugins/{name}" for name in reference.brought("responder.plugins"))
    return f"{text}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def _readme(path: Path) -> str:
    return inner_links(path.read_text(encoding="utf-8"), path.parent)


def inner_links(text: str, folder: Path) -> str:
    """Links to files that are no pages become the files' names."""

    def named(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if "://" in target or target.startswith(("/", "#", "generated/")):
            return match[0]
        path = (folder / target.partition("#")[0]).resolve()
        if path.is_relative_to(Path(__file__).parent):
            return f"[{words}](/{path.relative_to(Path(__file__).parent).as_posix()})"
        name = path.relative_to(ROOT).as_posix()
        if plugin := re.fullmatch(r"plugins/(?:responder_plugins/(\w+)/)?README\.md", name):
            return f"[{words}](/{f'generated/plugins/{plugin[1]}' if plugin[1] else 'plugins'}.md)"
        return f"`{name}`" if words.strip("`") in name else f"{words} (`{name}`)"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", named, text)


def _metrics() -> Iterator[str]:
    """Each family that the exporter makes: its name, labels and help stand in the call."""
    yield from ("| metric | labels | what it is |", "|---|---|---|")
    for node in ast.walk(_parsed("responder/daemon/prometheus.py")):
        if isinstance(node, ast.Call) and (kind := getattr(node.func, "id", "")).endswith("MetricFamily"):
            name, about = (ast.literal_eval(each) for each in node.args[:2])
            labels = next((ast.literal_eval(each.value) for each in node.keywords if each.arg == "labels"), [])
            total = "_total" if kind.startswith("Counter") else ""
            yield f"| `{name}{total}` | {', '.join(labels)} | {about} |"


def _alerts() -> Iterator[str]:
    """Each alert of the example rules."""
    rules = yaml.safe_load((ROOT / "examples/monitoring/alerts.yml").read_text(encoding="utf-8"))
    yield from ("| alert | condition | means |", "|---|---|---|")
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        condition = rule["expr"].replace("|", "\\|")
        lasting = f" for {rule['for']}" if "for" in rule else ""
        yield f"| {rule['alert']} | `{condition}`{lasting} | {rule['annotations']['description']} |"


def _outcomes() -> Iterator[str]:
    """Each outcome with the text below it, and its reason."""
    from responder.dispatch import outcomes  # noqa: PLC0415 - beside its own source

    yield from ("| outcome | means |", "|---|---|")
    body = _parsed("responder/dispatch/outcomes.py").body
    texts = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
            texts[node.value.value] = " ".join(after.value.value.split()) if is_text else ""
    for outcome in outcomes.OUTCOMES:
        reason = outcomes.REASONS.get(outcome, "")
        yield f"| `{outcome}` | {texts[outcome] or reason[:1].upper() + reason[1:] + '.'} |"


def _parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def _speed() -> Iterator[str]:
    """Every ratio of the benchmarks' last run, beside its goal."""
    results: dict[str, Any] = json.loads((ROOT / "tests/benchmarks/results.json").read_text(encoding="utf-8"))
    machine = results["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "uvloop", "nsd", "knotd") if name in machine)
    yield f"One run of {results['rounds']} rounds, {machine['date']}, {machine['cores']} cores of {machine['cpu']}, "
    yield f"{machine['system']}, kernel {machine['kernel']}, {versions}."
    if any(group["disturbed"] for group in results["groups"]):
        yield "Other processes were at work during it, so only ratios of CPU time are told, and they vary widely."
    yield from ("", "*More* is better for answers in a CPU second, *less* for times.", "")
    yield from ("| what | better | ratio | goal |", "|---|---|---|---|")
    for group in results["groups"]:
        for goal in group["goals"]:
            is_time = goal["field"] in {"median_us", "p99_us", "rate"}
            if (group["disturbed"] and is_time) or not goal["ratio"]:
                continue
            ratio = "{median:.2g} ({low:.2g} to {high:.2g})".format(**goal["ratio"])
            better = "more" if goal["field"] in {"per_cpu", "rate"} else "less"
            bound = f"{goal['bound']}{'' if goal['reached'] else ', missed'}" if goal["bound"] else ""
            yield f"| {goal['what'].replace('**', '^')} | {better} | {ratio} | {bound} |"
    yield ""


def _api(module: str) -> Iterator[str]:
    """A directive for each public name, in the order of the alphabet."""
    names = import_module(module)
    for name in sorted(names.__all__, key=str.lower):
        value = getattr(names, name)
        if isinstance(value, type):
            members = [f"   :{each}:" for each in ("members", "undoc-members", "show-inheritance")]
            yield from (f".. autoclass:: {module}.{name}", *members, "")
        elif isroutine(value):
            yield from (f".. autofunction:: {module}.{name}", "")
        elif not name.startswith("__"):
            text = reference.inline(" ".join(_text_of(name).split()))
            yield from (f".. py:data:: {name}", "", f"   {text}", "")  # of the page's current module


def _text_of(name: str) -> str:
    """The text below an assignment, in the one file of `responder` that has it."""
    for path in (ROOT / "responder").rglob("*.py"):
        body = _parsed(str(path)).body
        for node, after in pairwise(body):
            names = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            if isinstance(after, ast.Expr) and any(isinstance(each, ast.Name) and each.id == name for each in names):
                return str(ast.literal_eval(after.value))
    return ""


if __name__ == "__main__":
    write()
