"""What several workers can serve together, and what each gets of an instance's bounds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from responder import Answer, Datagram, Network, Plugin, Service
from responder.config.divisible import part_of, undividable, undividable_work
from responder.config.instance import Instance, Prepared
from responder.config.reading import load, load_prepared
from responder.errors import ConfigErrors


@attrs.frozen
class Two(Plugin):
    services: ClassVar = (Service(port=7, name="one"), Service(port=8, name="other", groups=("239.255.70.7",)))


@attrs.frozen
class Shared(Plugin):
    services: ClassVar = (Service(port=1900, shared=True),)


@attrs.frozen
class Plain(Plugin):
    services: ClassVar = (Service(port=7, rate=20.0, amplification=3.0),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Working(Plain):
    async def run(self, network: Network) -> None: ...


@attrs.frozen
class WorkingAnywhere(Working):
    in_each_worker: ClassVar = True


@attrs.frozen
class Delegating(Plain):
    """Its handler is another object, and it is that one's `run` that counts."""

    def prepare(self, context: object) -> Working:
        return Working()


def test_each_reason_is_named_by_its_key() -> None:
    instances = (Instance.of(Two(), ports={"one": 0}), Instance.of(Shared()), Instance.of(Plain(), port=0))
    assert [error.path for error in undividable(instances, 4)] == [
        "plugins.two.ports.one",
        "plugins.two.groups.other",
        "plugins.shared",
        "plugins.plain.port",
    ]
    assert all("daemon.workers = 4" in str(error) for error in undividable(instances, 4))


def test_one_worker_serves_everything() -> None:
    assert undividable((Instance.of(Two()), Instance.of(Shared())), 1) == []
    assert undividable_work([Prepared(Instance.of(Working()), Working())], 1) == []


def test_background_work_is_for_plugins_that_say_so() -> None:
    def refused(plugin: Plugin) -> list[str]:
        instance = Instance.of(plugin, "it")
        return [error.path for error in undividable_work([Prepared(instance, plugin.prepare(None))], 2)]  # type: ignore[arg-type] # none of them asks

    assert refused(Plain()) == refused(WorkingAnywhere()) == []
    assert refused(Working()) == refused(Delegating()) == ["plugins.it"]


def test_a_rate_is_divided_and_nothing_else_changes() -> None:
    instance = Instance.of(Plain())
    (service,) = part_of(instance, 4).services
    assert (service.rate, service.amplification) == (5.0, 3.0)
    assert part_of(instance, 1) == instance
    (unbound,) = part_of(Instance.of(Plain(), rate=0), 4).services
    assert unbound.rate == 0


@pytest.mark.parametrize("workers", ["0", "65", "true", "2.0", '"2"'])
def test_the_number_is_checked(tmp_path: Path, workers: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[daemon]\nworkers = {workers}\n[plugins.echo]\nport = 7007\n")
    with pytest.raises(ConfigErrors, match=r"daemon\.workers: expected a number of processes \(1\.\.64\)"):
        load(file)


async def test_a_configuration_tells_all_of_it_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[daemon]\nworkers = 2\n[plugins.echo]\nport = 0\ngroups = ["239.255.70.7"]\n')
    with pytest.raises(ConfigErrors) as raised:
        await load_prepared(file)
    assert {error.path for error in raised.value.errors} == {"plugins.echo.port", "plugins.echo.groups"}
