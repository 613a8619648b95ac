"""Answers requests: at once, later, or, to a group, after a random time.  What peers make it remember is bounded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import Final

import attrs
import trio

from responder import Answer, Datagram, Exchange, Handler, Network, Repeated, Via, get_logger

from ..shared.admission import Admission
from .answering import Response, block_bytes, refuse, represent
from .asking import DEREGISTER, REGISTER, Asked, read_request
from .exchanges import (
    MAX_RETRANSMIT,
    TRIES_UNPROVED,
    Duplicates,
    Outgoing,
    SeparateResponses,
    Taken,
    way_of,
)
from .link_format import FORMAT, Path, href, write_links
from .message import (
    METHODS,
    Code,
    FormatError,
    Message,
    Number,
    Type,
    Unreadable,
    dotted,
    read_message,
    write_empty,
    write_message,
)
from .notifier import Notifier
from .observing import Observers, State
from .proofs import Proofs
from .resources import Content, Resource, Unavailable

PROCESSING_DELAY: Final = 0.5
"""Seconds after which a request is acknowledged, and its response sent as a message of its own (section 5.2.2); a peer
asks again after 2 s (ACK_TIMEOUT)."""

PATIENCE: Final = 20.0
"""Seconds that a resource may take."""

_NOTHING: Final = (None, Response(Code.EMPTY))

_log = get_logger(__name__)


class Links(Resource):
    """`/.well-known/core`: what there is (RFC 6690)."""

    def __init__(self, resources: Mapping[Path, Resource]) -> None:
        self._links = [
            # Ahead of the others: nmap's coap-resources takes what is between it and the next "=" for one name.
            (path, {**({"obs": True} if each.observable else {}), **each.attributes})
            for path, each in resources.items()
        ]
        self._all = self._content(())

    def get(self, queries: Sequence[str]) -> Content:
        return self._content(queries) if queries else self._all

    def _content(self, queries: Sequence[str]) -> Content:
        return Content(write_links(self._links, queries), FORMAT)


@attrs.define(eq=False)
class CoapHandler(Handler):
    """Serves resources, by the segments of their paths.

    exponent           of the size of a block to a peer that is proved to be where its requests say
    unproved_exponent  ... to one that is not
    leisure            seconds that answers to a group are spread over
    """

    resources: Mapping[Path, Resource]
    exponent: int
    unproved_exponent: int
    leisure: float
    observers: Observers
    outgoing: Outgoing = attrs.field(factory=Outgoing)
    uniform: Callable[[float, float], float] = random.uniform
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    duplicates: Duplicates = attrs.field(factory=Duplicates, init=False)
    separate: SeparateResponses = attrs.field(factory=SeparateResponses, init=False)
    proofs: Proofs = attrs.field(factory=Proofs, init=False)
    admission: Admission = attrs.field(factory=Admission, init=False)
    repeated: Repeated = attrs.field(factory=Repeated, init=False)
    _whole: dict[Path, tuple[Content | None, Response]] = attrs.field(factory=dict, init=False)
    """What goes whole to anybody who asks for nothing but the path: the last content, and the response with it."""
    _slow: frozenset[Path] = attrs.field(init=False)
    """The paths of resources that are awaited."""
    _running: trio.Nursery | None = attrs.field(default=None, init=False)
    """Where separate responses are delivered, so that they take no place of an answer; None: `run` doesn't go on."""

    def __attrs_post_init__(self) -> None:
        self._slow = frozenset(path for path, each in self.resources.items() if iscoroutinefunction(each.get))

    def respond(self, request: Datagram) -> Answer:
        """Answer a request, or take an acknowledgment or a reset.  Raises PeerError for what gets silence."""
        is_group = request.via is not Via.UNICAST
        try:
            message = read_message(request.payload)
        except FormatError as error:
            self.counted[error.kind] += 1
            if error.type is Type.CON and not is_group:
                return write_empty(Type.RST, error.message_id)
            raise
        except Unreadable as error:
            self.counted[error.kind] += 1
            raise
        if message.type is Type.ACK or message.type is Type.RST:
            self._hear(request, message)
            return None
        if not 0 < message.code < 1 << 5:
            return self._reject(message, "ping" if message.code == Code.EMPTY else "no-request", is_group)
        if is_group and message.type is Type.CON:
            raise self._unreadable("a Confirmable request to a group", "confirmable-to-group")  # section 8.1
        now = trio.current_time()
        known = self.duplicates.find(request, message, now)
        if known is not None:
            self.counted["duplicate"] += 1
            return known.answer
        try:
            asked = read_request(message)
            resource = self._find(asked.path)
        except Unavailable as error:
            if is_group:
                self.counted["group-silent"] += 1
                return None
            if error.code is Code.BAD_OPTION and message.type is Type.NON:
                return self._reject(message, "bad-option", is_group)  # section 5.4.1
            return self._write(request, message, refuse(error), self.duplicates.add(request, message, now))
        if is_group:
            if isinstance(resource, Links) and not resource.get(asked.queries).payload:
                self.counted["group-silent"] += 1
                return None
            return self._answer_group(request, message, asked, resource)
        if asked.path in self._slow:
            return self._answer_later(request, message, asked, resource)
        response = self._respond(request, message, asked, resource, self._given(resource, asked.queries))
        return self._write(request, message, response, self.duplicates.add(request, message, now))

    def _unreadable(self, text: str, kind: str) -> Unreadable:
        self.counted[kind] += 1
        return Unreadable(text, kind)

    def _reject(self, message: Message, kind: str, is_group: bool) -> bytes:
        """By a reset (section 4.2); a Non-confirmable message only where its sender should know (section 5.4.1)."""
        if is_group or (message.type is Type.NON and kind != "bad-option"):
            raise self._unreadable(f"code {dotted(message.code)}", kind)
        self.counted[kind] += 1
        return write_empty(Type.RST, message.message_id)

    def _hear(self, request: Datagram, message: Message) -> None:
        """Take an acknowledgment or a reset of something of ours; who sends what we never asked for gets silence."""
        is_awaited = message.code == Code.EMPTY and (
            self.outgoing.settle(request, message)
            or (message.type is Type.RST and self.observers.reject(way_of(request), message.message_id))
        )
        self.counted[("acknowledged" if message.type is Type.ACK else "reset") if is_awaited else "stray"] += 1

    def _find(self, path: Path) -> Resource:
        try:
            return self.resources[path]
        except KeyError:
            raise Unavailable("no such resource", Code.NOT_FOUND) from None

    # What a resource gives

    def _given(self, resource: Resource, queries: Sequence[str]) -> State:
        """Whatever a resource raises is a refusal."""
        try:
            given = resource.get(queries)
            assert isinstance(given, Content)  # noqa: S101 - by the contract: else it would be a coroutine function
        except Exception as error:
            return self._failed(error)
        return given

    async def _awaited(self, path: Path, queries: Sequence[str]) -> State:
        """What the resource at that path gives now, whether it has to be awaited or not."""
        try:
            resource = self._find(path)
            if path not in self._slow:
                return self._given(resource, queries)
            with trio.move_on_after(PATIENCE):
                given = resource.get(queries)
                assert not isinstance(given, Content)  # noqa: S101 - it is a coroutine function's
                return await given
        except Exception as error:
            return self._failed(error)
        return Unavailable("it takes too long")

    def _failed(self, error: Exception) -> Unavailable:
        if isinstance(error, Unavailable):
            return error
        held_back = self.repeated.due((type(error),))
        if held_back is not None:
            _log.error("a resource failed", exc_info=error, held_back=held_back)
        return Unavailable("it failed", Code.INTERNAL_SERVER_ERROR)

    # Responses

    def _respond(self, request: Datagram, message: Message, asked: Asked, resource: Resource, state: State) -> Response:
        """The response to a request, and what it begins or ends."""
        if isinstance(state, Unavailable):
            return refuse(state)
        if asked.is_plain:
            content, response = self._whole.get(asked.path, _NOTHING)
            if content is state:
                return response
            if len(state.payload) <= block_bytes(self.unproved_exponent):
                response = represent(asked, state)
                self._whole[asked.path] = state, response
                return response
        now = trio.current_time()
        address = request.peer.address
        is_proved = self.proofs.hold(address, asked.echo, now)
        exponent = self.exponent if is_proved else self.unproved_exponent
        observe = None
        try:
            if request.via is Via.UNICAST and resource.observable and not (asked.block and asked.block.number):
                if asked.observe == DEREGISTER:
                    self.observers.end(way_of(request), message.token)
                elif asked.observe == REGISTER:
                    represent(asked, state, exponent)  # before anything begins
                    if self.observers.begin(
                        request, message.token, asked, exponent, state, is_proved=is_proved, now=now
                    ):
                        observe = self.observers.next_number()
                        self.counted["observed"] += 1
                    else:
                        self.counted["observers-full"] += 1
            # nmap's coap-resources reads no answer with an option that it doesn't know.
            asks_proof = not is_proved and not isinstance(resource, Links)
            echo = partial(self.proofs.challenge, address, now) if asks_proof else None
            return represent(asked, state, exponent, observe=observe, echo=echo)
        except Unavailable as error:
            return refuse(error)

    def _write(self, request: Datagram, message: Message, response: Response, taken: Taken) -> bytes:
        """Piggybacked in an acknowledgment (section 5.2.1), or Non-confirmable as the request (section 5.2.3)."""
        self.counted[_KINDS[response.code]] += 1
        if message.type is Type.NON:
            message_id = self.outgoing.next_id(request.peer)
            return write_message(Type.NON, response.code, message_id, message.token, response.rest)
        taken.answer = write_message(Type.ACK, response.code, message.message_id, message.token, response.rest)
        return taken.answer

    async def _answer_later(
        self,
        request: Datagram,
        message: Message,
        asked: Asked,
        resource: Resource,
    ) -> bytes | None:
        """Answer once the resource has; what takes long is acknowledged first, and confirmed later (section 5.2.2)."""
        taken = self.duplicates.add(request, message, trio.current_time())
        async with trio.open_nursery() as nursery:
            if message.type is Type.CON:
                nursery.start_soon(self._acknowledge, request, message, taken)
            state = await self._awaited(asked.path, asked.queries)
            nursery.cancel_scope.cancel()
        response = self._respond(request, message, asked, resource, state)
        if taken.answer is None:
            return self._write(request, message, response, taken)
        self.counted[_KINDS[response.code]] += 1
        self.counted["separate"] += 1
        if self._running is None:
            await self._deliver(request, message, asked, response)
        else:
            await self._running.start(self._deliver, request, message, asked, response)
        return None

    async def _deliver(
        self,
        request: Datagram,
        message: Message,
        asked: Asked,
        response: Response,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Deliver a separate response; it has started once it is sent for the first time."""
        address = request.peer.address
        is_proved = self.proofs.hold(address, asked.echo, trio.current_time())
        awaited = self.separate.begin(address, is_proved=is_proved)
        try:
            outcome, _ = await self.outgoing.deliver(
                request,
                message.token,
                lambda: response,
                awaited=awaited,
                tries=1 + MAX_RETRANSMIT if is_proved else TRIES_UNPROVED,
                task_status=task_status,
            )
        finally:
            self.separate.end(awaited)
        if outcome != "acknowledged":
            self.counted[f"separate-{outcome}"] += 1

    async def _acknowledge(self, request: Datagram, message: Message, taken: Taken) -> None:
        await trio.sleep(PROCESSING_DELAY)
        taken.answer = write_empty(Type.ACK, message.message_id)
        await self.outgoing.send(taken.answer, request)

    async def _answer_group(
        self, request: Datagram, message: Message, asked: Asked, resource: Resource
    ) -> bytes | None:
        """After a random part of the leisure (section 8.2); where there is nothing to tell, in silence."""
        now = trio.current_time()
        self.duplicates.add(request, message, now)
        place = self.admission.ask(request.interface.index, request.peer.address, self.leisure, now)
        if place is None:
            self.counted["no-room"] += 1
            return None
        try:
            await trio.sleep(self.uniform(0.0, place.window))
            state = await self._awaited(asked.path, asked.queries)
            response = self._respond(request, message, asked, resource, state)
        finally:
            place.release()
        if response.code != Code.CONTENT:
            self.counted["group-silent"] += 1
            return None
        self.counted["group"] += 1
        message_id = self.outgoing.next_id(request.peer)
        return write_message(Type.NON, response.code, message_id, message.token, response.rest)

    # The handler's life

    async def run(self, network: Network) -> None:
        """Tell observers of changes, and deliver separate responses."""
        self.outgoing.network = network
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Notifier(self.observers, self.outgoing, self._awaited, self.counted).run)
            self._running = nursery
            try:
                await network.stopping.wait()
            finally:
                self._running = None
            nursery.cancel_scope.cancel()

    def succeed(self, predecessor: Handler) -> None:
        """Observers go on, and what came and was sent is still known."""
        if isinstance(predecessor, CoapHandler):
            mine, self.observers = self.observers, predecessor.observers
            self.observers.limit, self.observers.limit_per_peer = mine.limit, mine.limit_per_peer
            self.outgoing, self.duplicates = predecessor.outgoing, predecessor.duplicates
            self.proofs = predecessor.proofs

    def counts(self) -> Mapping[str, int]:
        """Messages by what became of them, and notifications."""
        return self.counted

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The type, the method or the code, what is asked for, and the code of the answer.  Raises PeerError."""
        message = read_message(exchange.answers[0] if exchange.request is None else exchange.request)
        method = METHODS.get(message.code, dotted(message.code))
        words: dict[str, str | int] = {"type": message.type.name, "method": method}
        path = [value for number, value in message.options if number == Number.URI_PATH]
        queries = [value for number, value in message.options if number == Number.URI_QUERY]
        if 0 < message.code < 1 << 5:
            words["path"] = href(tuple(path))
        if queries:
            words["query"] = b"&".join(queries).decode("utf-8", "replace")
        if exchange.request is not None and exchange.answers:
            words["code"] = dotted(read_message(exchange.answers[-1]).code)
        return words


_KINDS: Final[Mapping[int, str]] = {code: code.name.lower().replace("_", "-") for code in Code}
"""What responses are counted by."""
