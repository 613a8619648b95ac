from __future__ import annotations

import sys

import pytest

from responder.config import registry
from responder.config.instance import INSTANCE_KEYS
from responder.errors import PluginError

from ..conftest import Install

HEADER = """
    from __future__ import annotations
    from typing import ClassVar
    import attrs
    from responder import Answer, Datagram, Handler, Plugin, Service
"""

GOOD = """
    @attrs.frozen
    class Good(Plugin):
        '''Says nothing.'''

        words: tuple[str, ...] = ()
        services: ClassVar = (Service(port=7),)

        def respond(self, request): return None
"""


def test_naming_what_is_installed_imports_nothing(install: Install) -> None:
    bundled = set(registry.installed())
    install("alpha", HEADER + GOOD, zeta="Good", beta="Good")
    install("gamma", "raise RuntimeError('imported')", broken="X")
    found = registry.installed()
    assert [name for name in found if name not in bundled] == ["beta", "broken", "zeta"]
    assert (found["zeta"].distribution, found["zeta"].version) == ("alpha", "1.2")
    assert not {"alpha_module", "gamma_module"} & set(sys.modules)


def test_loading_one_does_not_load_the_others(install: Install) -> None:
    install("alpha", HEADER + GOOD, good="Good")
    install("gamma", "raise RuntimeError('imported')", broken="X")
    assert registry.load("good").__name__ == "Good"
    assert "gamma_module" not in sys.modules


def test_the_bundled_plugins_come_through_the_same_door() -> None:
    assert {"echo", "whoami"} <= set(registry.installed())
    assert registry.load("echo").__module__.startswith("responder_plugins.echo")


def test_an_unknown_name_is_answered_with_the_nearest(install: Install) -> None:
    install("alpha", HEADER + GOOD, good="Good")
    with pytest.raises(PluginError, match=r"^no plugin 'god' is installed; did you mean 'good'\? \(installed: .*good"):
        registry.load("god")
    with pytest.raises(PluginError, match=r"^no plugin '---' is installed \(installed: "):
        registry.load("---")


def test_a_name_of_two_distributions_is_an_error_on_use_that_names_both(install: Install) -> None:
    install("alpha", HEADER + GOOD, same="Good", other="Good")
    install("gamma", HEADER + GOOD, same="Good")
    assert registry.load("other").__name__ == "Good"
    with pytest.raises(
        PluginError, match=r"^plugin 'same' is brought by several distributions: (alpha, gamma|gamma, alpha)$"
    ):
        registry.load("same")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no such library')", "can't be imported: RuntimeError: no such library"),
        ("def Broken(:", "can't be imported: SyntaxError"),
        ("", "can't be imported: AttributeError"),
        ("class Broken: ...", "is no subclass of responder.Plugin: alpha_module:Broken"),
        ("Broken = 7", "is no subclass of responder.Plugin: alpha_module:Broken"),
        ("class Broken(Plugin):\n        services: ClassVar = (Service(port=7),)", "Broken is no attrs class"),
        (GOOD + "\n    class Broken(Good): ...", "Broken is no attrs class"),
        (
            "@attrs.frozen\n    class Broken(Plugin):\n        api: ClassVar[int] = 99",
            "it is written for version 99 of the plugin contract, this is version 1",
        ),
        (
            "@attrs.frozen\n    class Broken(Plugin):\n        text: str = ''",
            "it has neither services nor a run of its own",
        ),
        (
            "@attrs.frozen\n    class Broken(Plugin):\n        services: ClassVar = (Service(port=7),)",
            "it has services but no respond, converse, run or prepare of its own",
        ),
        (
            "@attrs.frozen\n    class Broken(Plugin):\n"
            "        services: ClassVar = (Service(port=7), Service(port=8), Service(port=9, name='x'))",
            "two of its services have the name 'default'",
        ),
        (
            "@attrs.frozen\n    class Broken(Plugin):\n        services: ClassVar = (7,)",
            "its services are not all of the class",
        ),
        (
            GOOD + "\n    @attrs.frozen\n    class Broken(Good):\n        data: bytes = b''",
            "Broken.data: options can't be of type bytes",
        ),
        (
            GOOD + "\n    @attrs.frozen\n    class Broken(Good):\n        data: Nothing = 0",
            "the types of Broken can't be resolved",
        ),
    ],
)
def test_a_plugin_that_breaks_a_rule_is_refused_with_the_rule(install: Install, source: str, reason: str) -> None:
    install("alpha", HEADER + "\n    " + source, broken="Broken")
    with pytest.raises(PluginError) as caught:
        registry.load("broken")
    assert str(caught.value).startswith("plugin 'broken' of alpha 1.2")
    assert reason in str(caught.value)


@pytest.mark.parametrize("key", sorted(INSTANCE_KEYS))
def test_an_option_named_like_an_instance_key_is_refused(install: Install, key: str) -> None:
    install(
        "alpha",
        HEADER + GOOD + f"\n    @attrs.frozen\n    class Broken(Good):\n        {key}: int = 0",
        broken="Broken",
    )
    with pytest.raises(PluginError, match=f"option '{key}' has the name of an instance key"):
        registry.load("broken")


@pytest.mark.parametrize(
    "method", ["async def run(self, network): ...", "def prepare(self, context): return Handler()"]
)
def test_a_plugin_without_services_may_have_work_of_its_own(install: Install, method: str) -> None:
    install("alpha", HEADER + f"\n    @attrs.frozen\n    class Worker(Plugin):\n        {method}", worker="Worker")
    assert registry.load("worker").services == ()


@pytest.mark.parametrize(
    "method",
    [
        "def respond(self, request): ...",
        "async def converse(self, connection): ...",
        "async def run(self, network): ...",
        "def prepare(self, context): return Handler()",
    ],
)
def test_a_plugin_with_services_needs_one_method_of_its_own(install: Install, method: str) -> None:
    base = f"\n    class Base(Plugin):\n        __slots__ = ()\n        {method}"
    worker = "\n    @attrs.frozen\n    class Worker(Base):\n        services: ClassVar = (Service(port=7),)"
    install("alpha", HEADER + base + worker, worker="Worker")
    assert registry.load("worker").__name__ == "Worker"
