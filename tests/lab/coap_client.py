"""aiocoap in a namespace of the lab: `python coap_client.py URI...`; prints what it gets as JSON.

Of the last URI it gets two states, the second as an observer is told of it, after a line on its standard input.  It is
run as a script, so that it neither shares a process with the tests nor needs their packages.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiocoap import GET, Context, Message


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


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
