"""Conversations with everything about their timing left to chance, by seed, through tulp proxy and through two of them
with TLS between, and through tulp nc on both ends.  TULP_SEED repeats them."""
import asyncio
import contextlib
import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest

from hostile import (End, Run, beside, check_same, converse, descriptor_count, program, some_bytes,
                     wait_for_descriptors)
from programs import TULP

MAKE_CERTIFICATES = pathlib.Path(TULP).parents[2] / "tests" / "programs" / "make_certificates"
CONVERSATIONS = 60
MOST_BYTES = 400_000
PIPE = asyncio.subprocess.PIPE


@contextlib.asynccontextmanager
async def proxy(*args):
    """Gives its port and the process."""
    async with program(TULP, "proxy", "--listen", "0", "--quiet", *args, stdout=PIPE) as process:
        line = (await process.stdout.readline()).decode()
        yield int(line.rpartition(":")[2]), process


@contextlib.asynccontextmanager
async def target():
    """Gives its port, and a queue of the connections that come."""
    ends = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: ends.put_nowait(End(*streams)), "127.0.0.1", 0, backlog=512)
    async with server:
        yield server.sockets[0].getsockname()[1], ends


async def talk_through(pick, port, ends, lock):
    async with lock:   # so that these two belong together
        client = await End.connect(port)
        server = await ends.get()
    if pick.random() < 0.5:
        await converse(*((client, server) if pick.random() < 0.5 else (server, client)), pick, MOST_BYTES)
    else:
        await die_between(pick, client, server)
    await client.close()
    await server.close()


async def die_between(pick, client, server):
    """One side breaks the connection at any time; the other one hears that."""
    first, second = (client, server) if pick.random() < 0.5 else (server, client)
    data = pick.randbytes(MOST_BYTES)
    async with beside(first.send_part(data, pick)), beside(second.send_part(data, pick)):
        await first.receive(pick, pick.randint(0, MOST_BYTES // 4))
        first.reset()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(second.receive(pick), 60)


async def talk_between(pick, server, client):
    """As converse(), where the listener ends with its client, which thus has to have everything before it ends."""
    of_server, of_client = some_bytes(pick, MOST_BYTES), some_bytes(pick, MOST_BYTES)
    async with beside(server.send(of_server, pick)), beside(server.receive(pick)) as receiving, \
            beside(client.send_part(of_client, pick)) as sending:
        check_same(await client.reader.readexactly(len(of_server)), of_server)
        await sending
        client.writer.write_eof()
        check_same(await receiving, of_client)
        check_same(await client.receive(pick), b"")


class Conversations(unittest.TestCase):
    def setUp(self):
        self.seed = int(os.environ.get("TULP_SEED") or random.randrange(1, 1_000_000))
        print(f"seed {self.seed}")

    async def hold(self, port, ends, process):
        before, lock, run = descriptor_count(process), asyncio.Lock(), Run(self.seed)
        for _ in range(CONVERSATIONS):
            run.add("a conversation", talk_through, port, ends, lock)
        await run.finish()
        await wait_for_descriptors(process, before)

    def test_through_a_proxy(self):
        async def run():
            async with target() as (port, ends), proxy("--to", port) as (own, process):
                await self.hold(own, ends, process)
        asyncio.run(run())

    def test_through_two_with_tls_between(self):
        async def run(folder):
            own = "--tls-cert", f"{folder}/good.pem", "--tls-key", f"{folder}/good.key"
            async with target() as (port, ends), proxy("--to", port, *own) as (inner, _), \
                    proxy("--to", f"localhost:{inner}", "--to-tls", "--cacert", f"{folder}/ca.pem") as (outer, process):
                await self.hold(outer, ends, process)
        with tempfile.TemporaryDirectory(prefix="tulp-test-") as folder:
            subprocess.run([MAKE_CERTIFICATES, folder], check=True, timeout=60)
            asyncio.run(run(folder))

    def test_through_nc_on_both_ends(self):
        async def talk(pick):
            pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
            async with program(TULP, "nc", "-v", "-N", "-l", "127.0.0.1", "0", **pipes) as server:
                line = (await server.stderr.readline()).decode()
                port = re.search(r":(\d+)$", line.strip())[1]
                async with program(TULP, "nc", "-N", "127.0.0.1", port, **pipes) as client:
                    await talk_between(pick, End.of(server), End.of(client))
                    assert (await server.wait(), await client.wait()) == (0, 0), (server.returncode, client.returncode)

        async def run():
            conversations = Run(self.seed)
            for _ in range(CONVERSATIONS):
                conversations.add("nc with nc", talk)
            await conversations.finish()
        asyncio.run(run())


if __name__ == "__main__":
    unittest.main()
