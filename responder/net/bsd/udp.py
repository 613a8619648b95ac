"""UDP on macOS and FreeBSD: one socket of each family, and the pair that acts as one.

This file applies the options and control messages that `abi` describes.  Options that belong to a send (the TTL of
IPv4, the interface of an IPv4 group) are set before it where they differ from the last one's: sending is synchronous,
so nothing comes in between.

Source, interface and hop limit come with the `Route`: `responder.dispatch.addressing` chooses them.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence

import trio

from ...bounded import Memory
from ...datagram import Interface, IPAddress
from ...errors import Unreachable
from .. import cmsg, sockets
from ..marks import mark_of_route
from ..types import Flow, Membership, Message, Received, Route

if sys.platform == "win32":  # mypy leaves out what follows: there is no recvmsg
    raise ImportError("POSIX only")

from ..posix.udp import TABLE_SIZE, receive_each, refusal
from .abi import (
    IP_MULTICAST_TTL,
    IP_TTL,
    IPPROTO_IP,
    Encoded,
    System,
    decode_flow,
    encode_route,
    group_interface,
    hop_limit,
    membership_option,
    without_hop_limit,
)


class FamilySocket:
    """A bound UDP socket of one family.  Closes it."""

    def __init__(self, system: System, sock: socket.socket, address: IPAddress | None) -> None:
        self.version = 4 if sock.family == socket.AF_INET else 6
        self.sock = sock
        self.port: int = sock.getsockname()[1]
        self.writable_turn = trio.Lock()  # trio allows one waiter a direction
        self.address = address
        self._system = system
        self._flows: Memory[tuple[str, int, tuple[cmsg.ControlMessage, ...]], Flow] = Memory(
            lambda key: decode_flow(system, *key), TABLE_SIZE
        )
        self._routes: Memory[Route, Encoded] = Memory(
            lambda route: encode_route(system, route, address), TABLE_SIZE, mark_of_route
        )
        self._default_ttl: dict[int, int] = {}
        if self.version == 4:
            self._default_ttl = {option: sock.getsockopt(IPPROTO_IP, option) for option in (IP_TTL, IP_MULTICAST_TTL)}
        self._ttl = dict(self._default_ttl)
        self._group_interface = 0

    def receive(self, limit: int) -> list[Received]:
        """See `DatagramSocket.receive`."""
        received: list[Received] = []
        for payload, control, flags, name in receive_each(self.sock, limit, self.port):
            scope_id = name[3] if self.version == 6 else 0
            flow = self._flows.find((name[0], scope_id, without_hop_limit(self._system, control)))
            truncated = flags & socket.MSG_TRUNC != 0
            received.append(Received(payload, flow, name[1], truncated, hop_limit(self._system, control)))
        return received

    def send(self, message: Message) -> bool:
        """False where there is no room.  Raises SendError."""
        payload, route, port = message
        try:
            encoded = self._routes.find(route)
            self._prepare(encoded)
            self.sock.sendmsg((payload,), encoded.control, 0, (encoded.host, port, *encoded.rest))
        except BlockingIOError:
            return False
        except OSError as error:
            raise refusal(error, message) from error
        return True

    def _prepare(self, encoded: Encoded) -> None:
        if encoded.ttl is not None:
            option, wanted = encoded.ttl
            value = self._default_ttl[option] if wanted is None else wanted
            if value != self._ttl[option]:
                self.sock.setsockopt(IPPROTO_IP, option, value)
                self._ttl[option] = value
        if encoded.interface and encoded.interface != self._group_interface:
            self.sock.setsockopt(*group_interface(encoded.interface))
            self._group_interface = encoded.interface

    def set_membership(self, membership: Membership, *, join: bool) -> None:
        """Raises OSError."""
        self.sock.setsockopt(*membership_option(self._system, membership, join=join))

    def forget_group_interface(self, index: int) -> None:
        """The interface is gone: its index may become another's, and the option is then to be set again."""
        if self._group_interface == index:
            self._group_interface = 0


class BsdSocket:
    """See `responder.net.types.DatagramSocket`.  Its sockets, one of each family that it has, share a port."""

    kernel_drops = 0

    answer = None

    raise_send_buffer_by = None  # nothing waits in it there: see `platform.SEND_BUFFER`

    def __init__(self, members: Sequence[FamilySocket], address: IPAddress | None) -> None:
        self._members = {member.version: member for member in members}
        self.port = members[0].port
        self.address = address

    def __repr__(self) -> str:
        return f"<UDP sockets {self.address or '*'} port {self.port}>"

    @property
    def receive_buffer(self) -> int:
        return min(member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for member in self._members.values())

    async def wait_readable(self) -> None:
        await sockets.wait_readable([member.sock for member in self._members.values()])

    def receive(self, limit: int) -> Sequence[Received]:
        first, *others = self._members.values()
        # A flood of one family takes half, and the other the first place next time, so that both are heard.
        received = first.receive(max(1, limit // 2) if others else limit)
        for second in others:
            received += second.receive(limit - len(received))
            self._members = {second.version: second, first.version: first}
        return received

    def send(self, batch: Sequence[Message]) -> int:
        return sockets.send_each(lambda message: self._member(message).send(message), batch)

    def _member(self, message: Message) -> FamilySocket:
        """Raises Unreachable."""
        to = message[1].to
        member = self._members.get(to.version)
        if member is None:
            raise Unreachable(errno.EAFNOSUPPORT, f"{to}: this socket has no IPv{to.version}")
        return member

    async def send_when_ready(self, message: Message) -> None:
        member = self._member(message)
        await sockets.send_in_turn(member.sock, member.writable_turn, lambda: member.send(message))

    def join(self, membership: Membership, interface: Interface) -> None:
        try:
            self._holder(membership).set_membership(membership, join=True)
        except OSError as error:
            # What a second join gives: EADDRINUSE for a group, and for a source EADDRNOTAVAIL or EADDRINUSE.
            second = {errno.EADDRINUSE, errno.EADDRNOTAVAIL} if membership.source else {errno.EADDRINUSE}
            if error.errno not in second:
                raise

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        holder = self._holder(membership)
        if interface is None:
            holder.forget_group_interface(membership.interface)
        holder.set_membership(membership, join=False)

    def _holder(self, membership: Membership) -> FamilySocket:
        member = self._members.get(membership.group.version)
        if member is None:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return member

    def close(self) -> None:
        for member in self._members.values():
            sockets.close(member.sock)
