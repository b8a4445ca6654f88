#!/usr/bin/python3
"""Serves exported pages (oneroster_server.py --export) over plain HTTP on 127.0.0.1, each a while after it was asked
for.

What a page costs here is that while and next to nothing else, so that what is measured is how many of them a client
spends at a time.
"""

import argparse
import asyncio
import os
import re
import sys

OFFSET = re.compile(r"[?&]offset=(\d+)")


class Pages:
    """The pages of a directory, read once, by name and offset."""

    def __init__(self, directory):
        self.pages, self.totals = {}, {}
        for file in os.listdir(directory):
            found = re.fullmatch(r"(\w+)_(\d+)\.json", file)
            if found:
                with open(os.path.join(directory, file), "rb") as f:
                    self.pages[found[1], int(found[2])] = f.read()
                self.totals[found[1]] = max(self.totals.get(found[1], 0), int(found[2]))

    def answer(self, target):
        """Status line, headers and body for what was asked for."""
        path, offset = target.split("?")[0], OFFSET.search(target)
        name = path.rsplit("/", 1)[1]
        if name == "token":
            body, more = b'{"access_token": "static", "token_type": "bearer", "expires_in": 86400}', b""
        else:
            body, more = self.pages.get((name, int(offset[1]) if offset else 0)), \
                b"X-Total-Count: %d\r\n" % self.totals.get(name, 0)
        if body is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (more,
            len(body), body)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dir", required=True, help="the exported pages")
    parser.add_argument("--delay-ms", type=int, default=50)
    args = parser.parse_args()
    pages = Pages(args.dir)

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                if length:
                    await reader.readexactly(int(length[1]))
                await asyncio.sleep(args.delay_ms / 1000)
                writer.write(pages.answer(head.split(b" ")[1].decode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1])
    sys.stdout.flush()
    await server.serve_forever()


asyncio.run(main())
