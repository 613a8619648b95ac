from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from responder.config.instance import Instance, InstanceKeys, prepare, prepare_all
from responder.errors import ConfigError, ConfigErrors, PluginError
from responder.plugin import PASS, Context, Handler, Plugin, Service


@attrs.frozen
class One(Plugin):
    text: str = ""
    services: ClassVar = (Service(port=7, hop_limit=1, tcp=True),)


@attrs.frozen
class Two(Plugin):
    services: ClassVar = (
        Service(name="search", port=1900, groups=("239.255.255.250",)),
        Service(name="events", port=0),
    )


@attrs.frozen
class More(Plugin):
    """Has its second service only where that is wanted."""

    secure: bool = False
    services: ClassVar = (Service(port=53, tcp=True), Service(name="tls", port=853, udp=False, tcp=True))

    def chosen_services(self) -> tuple[Service, ...]:
        return self.services if self.secure else self.services[:1]


@attrs.frozen
class Timer(Plugin):
    async def run(self, network: object) -> None: ...


def mistakes(plugin: Plugin, **keys: Any) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        Instance.of(plugin, "x", **keys)
    return [str(error) for error in caught.value.errors]


def test_keys_are_laid_over_the_service() -> None:
    instance = Instance.of(One("t"), port=7007, groups=["239.255.70.7", "ff02::7007"], interfaces=["eth*", "!eth9"])
    assert instance.name == "one"
    assert instance.services == (Service(port=7007, groups=("239.255.70.7", "ff02::7007"), hop_limit=1, tcp=True),)
    assert instance.interfaces == ("eth*", "!eth9")


def test_durations_and_sizes_have_units() -> None:
    instance = Instance.of(One(), answer_timeout="1m 30s", max_answer="1k")
    (service,) = instance.services
    assert (service.answer_timeout, service.max_answer) == (90.0, 1000)


def test_bounds_of_work_are_the_services_unless_the_operator_sets_them() -> None:
    @attrs.frozen
    class Slow(Plugin):
        services: ClassVar = (Service(port=1, max_pending=3, answer_timeout=90.0, max_connections=7),)

    (own,) = Instance.of(Slow()).services
    assert (own.max_pending, own.answer_timeout, own.max_connections) == (3, 90.0, 7)
    (set_,) = Instance.of(Slow(), max_pending=9, answer_timeout="1s", max_connections=1).services
    assert (set_.max_pending, set_.answer_timeout, set_.max_connections) == (9, 1.0, 1)


@pytest.mark.parametrize("bound", [{"max_pending": 0}, {"answer_timeout": 0.0}, {"max_connections": -1}])
def test_a_service_has_possible_bounds(bound: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bound))):
        Service(port=1, **bound)


def test_what_is_left_out_is_the_plugins() -> None:
    assert Instance.of(Two()).services == Two.services
    defaults = InstanceKeys()
    for field in ("listen", "interfaces", "allow", "deny"):
        assert getattr(Instance.of(One()), field) == getattr(defaults, field)


def test_values_of_python_types_and_their_text_are_the_same() -> None:
    given = Instance.of(One(), listen=(ip_address("192.0.2.1"),), allow={ip_network("192.0.2.0/24")}, folder=Path("/"))
    assert given == Instance.of(One(), listen=["192.0.2.1"], allow=["192.0.2.0/24"], folder=Path("/"))


def test_several_services_are_told_apart_by_name() -> None:
    instance = Instance.of(Two(), ports={"events": 5000}, groups={"search": []}, hop_limit={"search": 4})
    assert instance.services == (Service(name="search", port=1900, hop_limit=4), Service(name="events", port=5000))


def test_options_choose_among_the_services() -> None:
    assert Instance.of(More(), port=5353, hop_limit=3).services == (Service(port=5353, tcp=True, hop_limit=3),)
    for keys in ({"port": 5353, "ports": {"tls": 8853}}, {"ports": {"default": 5353, "tls": 8853}}):
        services = Instance.of(More(secure=True), **keys).services
        assert [(service.name, service.port) for service in services] == [("default", 5353), ("tls", 8853)]


@pytest.mark.parametrize("wrong", [{"udp": False}, {"udp": False, "tcp": True, "groups": ["ff02::1"]}])
def test_a_service_without_udp_has_tcp_and_no_groups(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="udp: a service with"):
        Service(port=1, **wrong)


@pytest.mark.parametrize(
    ("plugin", "keys", "mistake"),
    [
        (
            More(secure=True),
            {"port": 7, "ports": {"default": 8}},
            "plugins.x.ports.default: given twice: port is this one's too",
        ),
        (More(), {"ports": {"tls": 8}}, "plugins.x.ports: the plugin has one service: write port = ..."),
        (One(), {"port": 70000}, "plugins.x.port: expected a port (0..65535), got 70000"),
        (One(), {"port": 7.9}, "plugins.x.port: expected a port (0..65535), got 7.9 (a float)"),
        (One(), {"prot": 7}, "plugins.x.prot: unknown key; did you mean 'port'?"),
        (One(), {"use": "echo"}, "plugins.x.use: the plugin is given already"),
        (One(), {"ports": {"default": 7}}, "plugins.x.ports: the plugin has one service: write port = ..."),
        (One(), {"hop_limit": 256}, "plugins.x.hop_limit: expected a hop limit (1..255), got 256"),
        (Two(), {"port": 7}, "plugins.x.port: the plugin has several services: write ports.search, ports.events"),
        (Two(), {"ports": {"event": 7}}, "plugins.x.ports.event: no such service; did you mean 'events'?"),
        (Two(), {"ports": {"x": 7}}, "plugins.x.ports.x: no such service; there are: search, events"),
        (
            Two(),
            {"hop_limit": 7},
            "plugins.x.hop_limit: the plugin has several services: write hop_limit.search, hop_limit.events",
        ),
        (Timer(), {"port": 7}, "plugins.x.port: the plugin has no service that this could be for"),
        (
            One(),
            {"groups": ["ff02::1", "10.0.0.1"]},
            "plugins.x.groups[1]: expected a multicast address such as 239.255.0.1 or ff02::1234, got '10.0.0.1': "
            "10.0.0.1 is no multicast address",
        ),
        (
            One(),
            {"groups": ["ff02::1"], "listen": ["192.0.2.1"]},
            "plugins.x.listen: not together with groups: a socket bound to an address hears none",
        ),
        (
            Two(),
            {"listen": ["192.0.2.1"]},
            "plugins.x.listen: not together with groups: a socket bound to an address hears none; "
            "groups.search = [] switches the plugin's own off",
        ),
        (
            One(),
            {"interfaces": ["!"]},
            "plugins.x.interfaces[0]: expected a pattern of interface names such as 'eth*' or '!docker*', got '!'",
        ),
        (One(), {"max_pending": 0}, "plugins.x.max_pending: expected a positive integer, got 0"),
        (
            One(),
            {"answer_timeout": 0},
            "plugins.x.answer_timeout: expected a duration (at least 1ms) such as '30s', '1h 30m' or 5 (seconds), "
            "got 0",
        ),
        (
            One(),
            {"max_connections": True},
            "plugins.x.max_connections: expected a positive integer, got true (a boolean)",
        ),
    ],
)
def test_refuses(plugin: Plugin, keys: dict[str, Any], mistake: str) -> None:
    assert mistakes(plugin, **keys) == [mistake]


def test_listen_takes_a_scope_where_an_address_needs_one_and_only_there() -> None:
    addresses = ["192.0.2.1", "fe80::1%eth0", "2001:db8::1", "169.254.0.1"]
    (_, link_local, _, _) = Instance.of(One(), listen=addresses).listen
    assert isinstance(link_local, IPv6Address)
    assert link_local.scope_id == "eth0"
    expected = "expected an IP address such as 192.0.2.1 or 2001:db8::1, got "
    assert mistakes(One(), listen=["fe80::1", "2001:db8::1%eth0", "ff02::1", "192.0.2.1%eth0"]) == [
        f"plugins.x.listen[0]: {expected}'fe80::1': it needs its interface, as in 'fe80::1%eth0'",
        f"plugins.x.listen[1]: {expected}'2001:db8::1%eth0': only a link-local address has a scope (%)",
        f"plugins.x.listen[2]: {expected}'ff02::1': it is a multicast address, which belongs in groups",
        f"plugins.x.listen[3]: {expected}'192.0.2.1%eth0'",
    ]


def test_groups_switched_off_leave_listen_free() -> None:
    assert Instance.of(Two(), listen=["192.0.2.1"], groups={"search": []}).services[0].groups == ()


@attrs.frozen
class Preparing(Plugin):
    outcome: Any = None

    def prepare(self, context: Context) -> Handler:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        context.path("zone")
        return self.outcome  # type: ignore[no-any-return] # a wrong one is what is tested


def test_prepare_gives_the_handler_and_the_files_it_named(tmp_path: Path) -> None:
    handler = Handler()
    prepared = prepare(Instance.of(Preparing(handler), "x", folder=tmp_path))
    assert prepared.handler is handler
    assert list(prepared.files) == [tmp_path / "zone"]


async def test_what_did_not_change_is_not_prepared_again(tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    zone.write_text("one")
    instance = Instance.of(Preparing(Handler()), "x", folder=tmp_path)
    (first,) = await prepare_all([instance])
    same = Instance.of(attrs.evolve(instance.plugin), "x", folder=tmp_path)
    assert await prepare_all([same], [first]) == [first]
    for change in (lambda: zone.write_text("two, longer"), zone.unlink, lambda: zone.write_text("one")):
        change()
        (second,) = await prepare_all([same], [first])
        assert second is not first
        assert await prepare_all([same], [second]) == [second]
        first = second
    (moved,) = await prepare_all([Instance.of(instance.plugin, "x", folder=tmp_path, deny=["10.0.0.0/8"])], [first])
    assert moved is not first


async def test_a_plugin_that_fails_may_be_left_out_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    instances = [Instance.of(Preparing(KeyError("k")), "bad"), Instance.of(Preparing(Handler()), "good")]
    with pytest.raises(ConfigErrors, match=r"^plugins\.bad: prepare failed: KeyError: 'k'$"):
        await prepare_all(instances)
    bad, good = await prepare_all(instances, may_fail=lambda name: name == "bad")
    assert str(bad.failure) == "plugins.bad: prepare failed: KeyError: 'k'"
    assert good.failure is None
    assert bad.handler.respond(None) is PASS  # type: ignore[arg-type] # it looks at nothing
    assert "the plugin can't start plugin=bad" in caplog.text
    # It may have passed: each reload tries again.
    assert not bad.is_current(instances[0])


async def test_a_mistake_of_the_config_is_no_failure() -> None:
    with pytest.raises(ConfigErrors, match=r"^plugins\.x: wrong$"):
        await prepare_all([Instance.of(Preparing(ConfigError("wrong")), "x")], may_fail=lambda _name: True)


@pytest.mark.parametrize(
    ("raised", "path"),
    [
        (ConfigError("wrong"), "plugins.x"),
        (ConfigError("wrong", path="zones"), "plugins.x.zones"),
        (ConfigError("wrong", path="[1]"), "plugins.x[1]"),
        (ConfigError("wrong", path="plugins.x.zones"), "plugins.x.zones"),
        (ConfigErrors([ConfigError("wrong", path="xy")]), "plugins.x.xy"),
    ],
)
def test_mistakes_found_by_prepare_stand_under_the_instance(raised: Exception, path: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        prepare(Instance.of(Preparing(raised), "x"))
    assert [(error.path, error.message) for error in caught.value.errors] == [(path, "wrong")]


def test_prepare_keeps_file_and_line() -> None:
    with pytest.raises(ConfigErrors, match=r"^z:3: plugins\.x: wrong$"):
        prepare(Instance.of(Preparing(ConfigError("wrong", file="z", line=3)), "x"))


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (KeyError("k"), r"^plugins\.x: prepare failed: KeyError: 'k'$"),
        (SystemExit(3), r"^plugins\.x: prepare failed: SystemExit: 3$"),
        (PluginError("rule"), r"^plugins\.x: rule$"),
        (None, "prepare returned None, which is no handler: it has no respond, converse, run"),
    ],
)
def test_what_else_prepare_does_is_the_plugins_fault(outcome: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        prepare(Instance.of(Preparing(outcome), "x"))


@attrs.frozen
class Odd(Plugin):
    services: ClassVar = (Service(port=7),)

    def prepare(self, context: Context) -> Handler:
        context.warn(ConfigError("is odd", path="text"))
        return self


def test_a_warning_has_the_instances_path() -> None:
    prepared = prepare(Instance.of(Odd(), "odd"))
    assert [str(warning) for warning in prepared.warnings] == ["plugins.odd.text: is odd"]
    assert prepared.complaints == ()
