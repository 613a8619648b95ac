"""aiocoap in a namespace of the lab: `python coap_client.py URI...`; prints what it gets as JSON.

Of the last URI it gets two states, the second as an observer is told of it, after a line on its standard input; but
with `--group` as the first argument each is asked for once, by a Non-confirmable request, and the address that answers
is told too.  It is run as a script, so that it neither shares a process with the tests nor needs their packages.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiocoap import GET, Context, Message, Unreliable


async def main(*uris: str) -> None:
    client = await Context.create_client_context()
    for uri in uris:
        request = client.request(Message(code=GET, uri=uri, observe=0 if uri == uris[-1] else None))
        answer = await request.response
        print(json.dumps([str(answer.code), answer.payload.decode()]), flush=True)
    sys.stdin.readline()
    async for told in request.observation:
        print(json.dumps([str(told.code), told.payload.decode()]), flush=True)
        break
    await client.shutdown()


async def ask_groups(*uris: str) -> None:
    client = await Context.create_client_context()
    for uri in uris:
        answer = await client.request(Message(code=GET, uri=uri, transport_tuning=Unreliable)).response
        print(json.dumps([str(answer.code), answer.payload.decode(), answer.remote.hostinfo]))
    await client.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "--group":
        asyncio.run(ask_groups(*sys.argv[2:]))
    else:
        asyncio.run(main(*sys.argv[1:]))
