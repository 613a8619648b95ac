"""What was said, in the words of the plugin that it was said to (`Handler.describe`), for those who watch.

A plugin's words may hold what a peer sent: what is not printable is escaped here, before anybody shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from ..dispatch.failures import plugin_failure
from ..dispatch.observers import Observation
from ..errors import PeerError, PluginError
from ..log import Repeated, get_logger, printable
from ..plugin import Exchange
from ..server.server import ServerCore

MAX_WORDS: Final = 8
MAX_WORD: Final = 255
"""Characters of a word that are shown."""

_NAME: Final = re.compile(r"[a-z_]{1,32}")

_log = get_logger(__name__)

Words: TypeAlias = dict[str, str]


@attrs.define(eq=False)
class Vocabulary:
    """Asks the plugins of a server for their words; of one observation once, however many watch."""

    server: ServerCore
    _repeated: Repeated = attrs.field(factory=Repeated)
    _last: tuple[Observation, Words] | None = attrs.field(default=None, init=False)

    def words(self, seen: Observation) -> Words:
        """None where no plugin took it, or the plugin has nothing to say."""
        if self._last is None or self._last[0] is not seen:
            self._last = seen, self._asked(seen)
        return self._last[1]

    def _asked(self, seen: Observation) -> Words:
        handler = next((each.handler for each in self.server.instances if each.name == seen.instance), None)
        # Not every handler is a `Handler`, and a plugin may have an option of that name.
        describe = getattr(handler, "describe", None)
        answers = tuple(payload for _, (payload, _, _) in seen.answers)
        if not callable(describe) or not (seen.request or answers):
            return {}
        try:
            return _checked(describe(Exchange(seen.transport, seen.port, seen.request, answers)))
        except PeerError:
            return {}
        except BaseException as error:
            failure = plugin_failure(error)
            held_back = self._repeated.due(seen.instance)
            if held_back is not None:
                _log.error("describe failed", exc_info=failure, plugin=seen.instance, held_back=held_back)
            return {}


def _checked(found: object) -> Words:
    """Raises PluginError, and whatever a strange mapping raises."""
    if not isinstance(found, Mapping):
        raise PluginError(f"describe returned {type(found).__name__}, which is no mapping")
    if len(found) > MAX_WORDS:
        raise PluginError(f"describe returned {len(found)} words; {MAX_WORDS} are the most")
    words: Words = {}
    for name, word in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(f"describe returned a name that is not 1 to 32 of a-z and '_': {name!r:.80}")
        if not isinstance(word, str | int):
            raise PluginError(f"describe returned for {name} what is neither text nor an integer")
        words[name] = printable(str(word)[:MAX_WORD])
    return words
