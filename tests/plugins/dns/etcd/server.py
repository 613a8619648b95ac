"""The real etcd on 127.0.0.1, for as long as a test needs it, and keys put into it."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

from tests.lab.namespaces import Namespace

PREFIX = "/skydns"

READY = "ready to serve client requests"


def free_ports(count: int) -> list[int]:
    """Numbers that nobody has now."""
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


@attrs.define(eq=False)
class EtcdServer:
    """A server with its data in a folder; started and stopped as often as a test wants.

    tls        more of its command line: certificates
    namespace  where it runs; None: here
    """

    folder: Path
    namespace: Namespace | None = None
    tls: Sequence[str] = ()
    verify: Any = True
    cert: Any = None
    _ports: list[int] = attrs.field(factory=lambda: free_ports(2), init=False)
    _process: subprocess.Popen[str] | None = attrs.field(default=None, init=False)
    _reader: threading.Thread | None = attrs.field(default=None, init=False)
    token: str | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._ports[0]}"

    def start(self) -> None:
        """Returns once it serves."""
        client, peer = self.url, f"http://127.0.0.1:{self._ports[1]}"
        argv = ["etcd", "--name", "one", "--data-dir", str(self.folder / "data"), "--unsafe-no-fsync"]
        argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
        argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}"]
        argv += self.tls
        self._process = subprocess.Popen(
            argv if self.namespace is None else self.namespace.argv(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # 3.4 wants to be told on what machine it runs, where that is none of its usual ones.
            env={**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64", "ETCD_LOGGER": "zap"},
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if READY in line or "serving client" in line or "serving insecure client" in line:
                break
        else:
            raise RuntimeError(f"etcd ended:\n{''.join(said)}")
        self._reader = threading.Thread(target=self._process.stderr.read, name="stderr of etcd")
        self._reader.start()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(by)
            self._process.wait(30)
            assert self._reader is not None
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def freeze(self) -> None:
        """It is there and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.namespace is not None:
            said = self.namespace.run("curl", "-sS", "--fail", f"{self.url}/v3/{path}", "--data", json.dumps(body))
            answered: dict[str, Any] = json.loads(said)
            return answered
        headers = {} if self.token is None else {"Authorization": self.token}
        with httpx.Client(verify=self.verify, cert=self.cert, trust_env=False) as client:
            answer = client.post(f"{self.url}/v3/{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def put(self, values: Mapping[str, Any], prefix: str = PREFIX) -> int:
        """Services by their keys below the prefix, or what is no service as text; the revision then."""
        revision = 0
        given = list(values.items())
        for at in range(0, len(given), 100):
            operations = [
                {"request_put": {"key": _encoded(f"{prefix}/{key}"), "value": _encoded(_value(value))}}
                for key, value in given[at : at + 100]
            ]
            revision = int(self.call("kv/txn", {"success": operations})["header"]["revision"])
        return revision

    def delete(self, *keys: str, prefix: str = PREFIX) -> int:
        """The revision then."""
        operations = [{"request_delete_range": {"key": _encoded(f"{prefix}/{key}")}} for key in keys]
        return int(self.call("kv/txn", {"success": operations})["header"]["revision"])

    def compact(self, revision: int) -> None:
        self.call("kv/compaction", {"revision": revision, "physical": True})


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def running(folder: Path, **more: Any) -> Iterator[EtcdServer]:
    server = EtcdServer(folder, **more)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)
