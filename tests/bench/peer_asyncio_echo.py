"""Echo servers with Python's asyncio, on its own loop or on uvloop's.

usage: peer_asyncio_echo.py [--uvloop] [streams|protocol|records|datagrams] PORT|PATH; prints "port N"; a path means a Unix socket
"""
import asyncio
import resource
import sys


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def echo_records(reader, writer):
    try:
        while True:
            writer.write(await reader.readexactly(64))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def serve(kind, where):
    loop = asyncio.get_running_loop()
    if kind == "datagrams":
        transport, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=("127.0.0.1", int(where)))
        print("port", transport.get_extra_info("sockname")[1], flush=True)
        return await asyncio.Event().wait()
    handler = echo_records if kind == "records" else echo
    if "/" in where:
        server = await (loop.create_unix_server(Echo, where, backlog=4096) if kind == "protocol"
                        else asyncio.start_unix_server(handler, where, backlog=4096))
        print("port 0", flush=True)
    else:
        server = await (loop.create_server(Echo, "127.0.0.1", int(where), backlog=4096) if kind == "protocol"
                        else asyncio.start_server(handler, "127.0.0.1", int(where), backlog=4096))
        print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main():
    words = sys.argv[1:]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if "--uvloop" in words:
        import uvloop   # Debian's python3-uvloop
        uvloop.install()
        words.remove("--uvloop")
    kind = words[0] if len(words) > 1 else "streams"
    asyncio.run(serve(kind, words[-1] if words else "0"))


main()
