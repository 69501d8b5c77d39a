"""Streams: semantics rows 75 to 83.  They trace what comes of calls; how often a stream parks is its own affair."""
import asyncio

from scenario import Oops, outcome, outcome_of, scenario, tulp_differs


def talk(loop, serve, client, limit=65536):
    """`serve(reader, writer)` on one end of a connection, `client(reader, writer)` on the other."""
    async def main():
        async def handler(reader, writer):
            try:
                await serve(reader, writer)
            finally:
                writer.close()
                served.set_result(None)
        served = loop.create_future()
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=limit)
        await client(reader, writer)
        writer.close()
        await served
        server.close()
    loop.run_until_complete(main())


async def drain_all(reader, _writer):
    await reader.read()


def says(text):
    async def serve(_reader, writer):
        writer.write(text)
        await writer.drain()
    return serve


def shown(data):
    """Bytes on one line."""
    return data.decode().replace("\n", "/") + "." if isinstance(data, bytes) else data


@scenario
def lines_go_there_and_back(loop, trace):
    async def serve(reader, writer):
        while line := await reader.readline():
            trace("server", shown(line))
            writer.write(line.upper())
        trace("server ends")
    async def client(reader, writer):
        for line in (b"one\n", b"two\n"):
            writer.write(line)
            trace("client", shown(await reader.readline()))
        writer.write_eof()
        trace("client", shown(await reader.readline()), reader.at_eof())
    talk(loop, serve, client)


@scenario
def the_last_line_may_lack_its_end(loop, trace):
    async def client(reader, _writer):
        trace(shown(await reader.readline()), reader.at_eof())
        trace(shown(await reader.readline()), reader.at_eof())
        trace(shown(await reader.readline()), reader.at_eof())
    talk(loop, says(b"whole\npart"), client)


@scenario
def read_gives_everything_up_to_the_end(loop, trace):
    async def client(reader, _writer):
        trace(shown(await reader.read(0)))
        trace(shown(await reader.read()))
        trace(shown(await reader.read()))
        trace(shown(await reader.read(5)), reader.at_eof())
    talk(loop, says(b"all of it"), client)


@scenario
def readexactly_that_is_cut_says_what_there_was(loop, trace):
    async def client(reader, _writer):
        trace(shown(await reader.readexactly(4)))
        trace(shown(await reader.readexactly(0)))
        try:
            await reader.readexactly(4)
        except asyncio.IncompleteReadError as error:
            trace("partial", shown(error.partial), error.expected)
        trace(shown(await reader.read()))
    talk(loop, says(b"abcdef"), client)


@scenario
def readuntil_takes_the_separator_with_it(loop, trace):
    async def client(reader, _writer):
        trace(shown(await reader.readuntil(b"--")))
        trace(shown(await reader.readuntil(b"-")))
        try:
            await reader.readuntil(b"--")
        except asyncio.IncompleteReadError as error:
            trace("partial", shown(error.partial))
        trace(await outcome_of(reader.readuntil(b"")))
    talk(loop, says(b"a-b--c-d"), client)


@scenario
def readuntil_over_the_limit_leaves_the_data(loop, trace):
    async def client(reader, _writer):
        try:
            await reader.readuntil(b"-")
        except asyncio.LimitOverrunError as error:
            trace("LimitOverrunError", error.consumed)
        trace(shown(await reader.readexactly(20)))
        trace(shown(await reader.readuntil(b"-")))
    talk(loop, says(b"aaaaaaaaaabbbbbbbbbb-"), client, limit=16)


@scenario
@tulp_differs("semantics row 77: the data of a line that is too long are kept",
              ["readline LimitOverrunError", "aaaaaaaaaaaaaaaaaaaa/next/."])
def a_line_over_the_limit(loop, trace):
    async def client(reader, _writer):
        trace("readline", await outcome_of(reader.readline()))
        trace(shown(await reader.read()))
    talk(loop, says(b"aaaaaaaaaaaaaaaaaaaa\nnext\n"), client, limit=16)


@scenario
def readexactly_does_not_know_the_limit(loop, trace):
    async def client(reader, _writer):
        trace(len(await reader.readexactly(100)))
    talk(loop, says(bytes(100)), client, limit=16)


@scenario
def a_second_reader_is_refused_at_once(loop, trace):
    async def client(reader, writer):
        async def second():
            trace("second", await outcome_of(reader.read(1)))
            writer.write(b"go on\n")
        task = loop.create_task(second())
        trace("first", shown(await reader.readline()))
        await task
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"answer\n")
    talk(loop, serve, client)


@scenario
def a_read_that_is_cancelled_has_consumed_nothing(loop, trace):
    async def client(reader, writer):
        async def read():
            return await reader.readexactly(4)
        task = loop.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        trace("cancelled", task.cancelled())
        writer.write(b"go on\n")
        trace(shown(await reader.readexactly(6)))
    async def serve(reader, writer):
        writer.write(b"ab")
        await reader.readline()
        writer.write(b"cdef")
    talk(loop, serve, client)


@scenario
def writelines_is_one_write_after_another(loop, trace):
    async def serve(reader, _writer):
        trace("server", shown(await reader.read()))
    async def client(_reader, writer):
        writer.writelines([b"a", b"", b"bc"])
        await writer.drain()
        trace("can write eof", writer.can_write_eof())
    talk(loop, serve, client)


@scenario
def wait_closed_ends_when_the_connection_is_closed(loop, trace):
    async def client(_reader, writer):
        trace("closing", writer.is_closing())
        writer.write(b"data")
        writer.close()
        writer.close()
        trace("closing", writer.is_closing())
        await writer.wait_closed()
        trace("closed")
        await writer.wait_closed()
        trace("still closed")
    talk(loop, drain_all, client)


@scenario
@tulp_differs("semantics row 63 and design 4, Writing: write() after close() is refused", ["write InvalidStateError"])
def a_stream_is_written_after_close(loop, trace):
    async def client(_reader, writer):
        writer.close()
        trace("write", outcome(lambda: writer.write(b"more")))
    talk(loop, drain_all, client)


@scenario
def a_stream_is_written_after_write_eof(loop, trace):
    async def serve(reader, writer):
        trace("server", shown(await reader.read()))
        writer.write(b"answer")
    async def client(reader, writer):
        writer.write(b"question")
        writer.write_eof()
        writer.write_eof()
        trace("write", outcome(lambda: writer.write(b"more")))
        trace("client", shown(await reader.read()))
    talk(loop, serve, client)


@scenario
def a_handler_that_fails_is_reported(loop, trace):
    async def serve(reader, _writer):
        await reader.readline()
        raise Oops("oops")
    async def client(reader, writer):
        writer.write(b"go on\n")
        trace("client got", shown(await reader.read()))
    talk(loop, serve, client)
