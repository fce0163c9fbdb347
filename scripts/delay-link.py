#!/usr/bin/env python3
"""A long cable: takes connections on one port of 127.0.0.1 and passes their bytes to another, each way so many seconds later.

    scripts/delay-link.py LISTEN_PORT TO_PORT SECONDS

For kernels without netem (`tc qdisc add .. netem delay`). Ends by a signal.
"""

import asyncio
import sys

# Pieces on their way in one direction; a sender waits when there are more.
PIECES = 256


async def carry(reader, writer, seconds):
    """One direction of one connection, until its sender closes it."""
    clock = asyncio.get_running_loop().time
    on_their_way = asyncio.Queue(PIECES)

    async def arrive():
        while True:
            due, piece = await on_their_way.get()
            await asyncio.sleep(due - clock())
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()

    arriving = asyncio.create_task(arrive())
    piece = True
    while piece:
        try:
            piece = await reader.read(65536)
        except ConnectionError:
            piece = b""
        await on_their_way.put((clock() + seconds, piece))
    await asyncio.gather(arriving, return_exceptions=True)


async def main(listen_port, to_port, seconds):
    async def connect(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, far_writer, seconds), carry(far_reader, writer, seconds))

    async with await asyncio.start_server(connect, "127.0.0.1", listen_port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
