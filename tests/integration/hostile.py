"""Byte streams between two programs, with everything about their timing left to chance, by seed: sizes from one byte
on, pauses, ends in either order, resets and deaths.  What was received is compared with what was sent by digest."""
import asyncio
import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import unittest

from programs import RELAY, TULP, check_complaints, temporary_folder

LIMIT_SECONDS = 100   # of a conversation; only one that hangs takes it
AT_ONCE = 16
FAMILIES = "tcp", "unix"
FORMS = "stream", "protocol"


@contextlib.asynccontextmanager
async def beside(work):
    """A task that has ended, however, when the block has."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# Programs.

@contextlib.asynccontextmanager
async def program(*command, **options):
    """A program that is gone at the end, however that comes."""
    process = await asyncio.create_subprocess_exec(*map(str, command), **options)
    try:
        yield process
    finally:
        kill(process)
        for pipe in process.stdout, process.stderr:   # process.wait() waits for their ends too
            if pipe:
                await pipe.read()
        await process.wait()


def kill(process):
    """Without process.kill(), which takes the exit code away from asyncio if the process has just ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def server_program(family, folder, *command, last=(), ended_by=(signal.SIGINT, 130)):
    """A tulp program that prints where it listens, which is its last argument but `last`; gives that place and the
    process."""
    place = f"unix:{folder}/{random.getrandbits(64):x}" if family == "unix" else "0"
    if command[-1] == "--port" and family == "unix":
        command, place = (*command[:-1], "--unix"), place.removeprefix("unix:")
    pipe = asyncio.subprocess.PIPE
    async with program(*command, place, *last, stdout=pipe, stderr=pipe) as process, \
            beside(process.stderr.read()) as complaints:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on "), line
        place = line.removeprefix("listening on ").strip()
        yield (place if family == "unix" else int(place.rpartition(":")[2])), process
        number, code = ended_by
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 60) == code, process.returncode
        check_complaints(await complaints)


def echo_servers(seed):
    """Those of tulp, each as the arguments of server_program()."""
    yield (TULP, "echo", "--port"), {"ended_by": (signal.SIGTERM, 143)}
    for form in FORMS:
        yield (RELAY, form, "serve"), {}
        yield (RELAY, form, "serve"), {"last": (seed,)}


def installed(name):
    return shutil.which(name) or unittest.TestCase().skipTest(f"{name} is not installed")


def connecting_commands(place, pick):
    """Programs that join their stdin and stdout to a connection to `place`."""
    is_unix = isinstance(place, str)
    path = str(place).removeprefix("unix:")
    block = pick.choice([1, 7, 512, 8192])
    yield [installed("socat"), "-t90", "-b", block, "-", f"UNIX-CONNECT:{path}" if is_unix else f"TCP:127.0.0.1:{path}"]
    yield [installed("nc"), "-N", *(["-U", path] if is_unix else ["127.0.0.1", path])]


@contextlib.asynccontextmanager
async def listening_program(family, folder, name, pick):
    """socat or nc with its stdin and stdout joined to the first connection; gives the place and the process."""
    path = f"{folder}/{random.getrandbits(64):x}"
    command = {
        "socat": ["-d", "-d", "-t90", "-b", pick.choice([1, 7, 512, 8192]), "-",
                  f"UNIX-LISTEN:{path}" if family == "unix" else "TCP-LISTEN:0,bind=127.0.0.1"],
        "nc": ["-v", "-N", "-l", *(["-U", path] if family == "unix" else ["127.0.0.1", 0])],
    }[name]
    pipe = asyncio.subprocess.PIPE
    async with program(installed(name), *command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        while True:
            line = (await process.stderr.readline()).decode()
            assert line, "it ended before it listened"
            if match := re.search(r"istening on .*?(\d*)$", line.strip()):
                break
        async with beside(process.stderr.read()):   # or the pipe would fill
            yield (f"unix:{path}" if family == "unix" else int(match[1])), process


# Ends of a conversation.

class End:
    """Something to read from and to write to: a connection, or the pipes of a program."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    def of(cls, process):
        return cls(process.stdout, process.stdin)

    @classmethod
    async def connect(cls, place):
        if isinstance(place, str):
            return cls(*await asyncio.open_unix_connection(place.removeprefix("unix:")))
        return cls(*await asyncio.open_connection("127.0.0.1", place))

    async def send(self, data, pick):
        """All of `data`, and the end."""
        await self.send_part(data, pick)
        self.writer.write_eof()

    async def send_part(self, data, pick):
        most = pick.choice([3, 100, 3000, 100_000])
        is_ascending = pick.random() < 0.25   # 1, 2, 3, ...
        position = size = 0
        while position < len(data):
            size = size + 1 if is_ascending else pick.randint(1, most if pick.random() < 0.9 else 20_000)
            if self.writer.transport.is_closing():
                raise ConnectionResetError("the other side is gone")
            self.writer.write(data[position:position + size])
            position += size
            if pick.random() < 0.3:
                await self.writer.drain()
            await pause(pick)

    async def receive(self, pick, limit=None):
        """Everything up to the end, or about `limit` bytes."""
        received = bytearray()
        most = pick.choice([10, 1000, 100_000])
        while limit is None or len(received) < limit:
            if not (data := await self.reader.read(pick.randint(1, most))):
                break
            received += data
            await pause(pick)
        return received

    def reset(self):
        """Ends a connection as harshly as there is a way."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def pause(pick):
    if (chance := pick.random()) < 0.02:
        await asyncio.sleep(pick.random() * 0.003)
    elif chance < 0.2:
        await asyncio.sleep(0)


def some_bytes(pick, most):
    return pick.randbytes(pick.choice([0, 1, pick.randint(2, most), pick.randint(2, most), most]))


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


def check_same(received, sent):
    assert digest(received) == digest(sent), f"received {digest(received)} of {digest(sent)}"


def check_prefix(received, sent):
    check_same(received, sent[:len(received)])


async def echo_through(end, pick, most):
    """All that `end` sends comes back to it."""
    data = some_bytes(pick, most)
    async with beside(end.send(data, pick)) as sending:
        check_same(await end.receive(pick), data)
        await sending


async def converse(a, b, pick, most, is_a_first=False):
    """Both ends talk at once, and end one after the other, as chance has it or `a` first."""
    of_a, of_b = some_bytes(pick, most), some_bytes(pick, most)
    async with beside(a.send(of_a, pick)) as sending, beside(b.receive(pick)) as receiving, \
            beside(a.receive(pick)) as answering:
        await b.send_part(of_b, pick)
        if is_a_first:
            check_same(await receiving, of_a)
        b.writer.write_eof()
        await sending
        check_same(await receiving, of_a)
        check_same(await answering, of_b)


# Whole runs.

class Run:
    """Conversations, a few at a time; the first that fails ends the run and says its name and seed."""

    def __init__(self, seed):
        self.seed = seed
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.tasks = []

    def add(self, name, conversation, *arguments):
        """Calls `conversation(pick, *arguments)`."""
        pick = random.Random(f"{self.seed} {name} {len(self.tasks)}")

        async def hold():
            async with self.turns:
                try:
                    await asyncio.wait_for(conversation(pick, *arguments), LIMIT_SECONDS)
                except unittest.SkipTest:
                    raise
                except Exception as error:
                    raise AssertionError(f"{name}, seed {self.seed}: {error!r}") from error
        self.tasks.append(asyncio.create_task(hold()))

    async def finish(self):
        try:
            await asyncio.gather(*self.tasks)
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        return len(self.tasks)


def descriptor_count(process):
    return sum(1 for _ in pathlib.Path(f"/proc/{process.pid}/fd").iterdir())


async def wait_for_descriptors(process, count):
    """Until the program has no more than `count` open."""
    for _ in range(1000):
        if (now := descriptor_count(process)) <= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{now} descriptors stay open instead of {count}")


async def talk_to_echo(pick, place, most):
    end = await End.connect(place)
    await echo_through(end, pick, most)
    await end.close()


async def talk_by_program(pick, command, most):
    pipe = asyncio.subprocess.PIPE
    async with program(*command, stdin=pipe, stdout=pipe) as process:
        await echo_through(End.of(process), pick, most)
        assert await process.wait() == 0, process.returncode


async def break_off(pick, place, most):
    """Sends and receives a part, and is gone without a word."""
    end = await End.connect(place)
    data = some_bytes(pick, most)
    async with beside(end.send_part(data, pick)) as sending:
        check_prefix(await end.receive(pick, pick.randint(0, len(data))), data)
        if pick.random() < 0.5 and len(data) < 20_000:   # which fits into the socket's buffers
            await sending
    if pick.random() < 0.5:
        end.reset()
    await end.close()


async def die(pick, command, most):
    """A client that is killed half-way."""
    pipe = asyncio.subprocess.PIPE
    async with program(*command, stdin=pipe, stdout=pipe) as process:
        end = End.of(process)
        data = pick.randbytes(most)
        async with beside(end.send_part(data, pick)):
            received = await end.receive(pick, pick.randint(0, most // 4))
            kill(process)
            check_prefix(received + await end.receive(pick), data)


async def stop_and_go(process, pick):
    """The program stands still now and then, at any place."""
    try:
        while True:
            await asyncio.sleep(pick.random() * 0.02)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(pick.random() * 0.02)
            process.send_signal(signal.SIGCONT)
    finally:
        process.send_signal(signal.SIGCONT)


async def run_servers(seed, most, conversations, stops=False):
    """tulp serves, perhaps stopped now and then; the others are asyncio, socat and nc.  How many conversations were
    held."""
    held = 0
    with temporary_folder() as folder:
        for family in FAMILIES:
            for command, options in echo_servers(seed):
                name = f"{family} {' '.join(map(str, command))} {options.get('last', '')}"
                run = Run(seed)
                async with server_program(family, folder, *command, **options) as (place, process):
                    before = descriptor_count(process)
                    for _ in range(conversations):
                        run.add(f"asyncio with {name}", talk_to_echo, place, most)
                        run.add(f"breaking off with {name}", break_off, place, most)
                    for client in connecting_commands(place, random.Random(f"{seed} {name}")):
                        run.add(f"{client[0]} with {name}", talk_by_program, client, most)
                        run.add(f"{client[0]} killed with {name}", die, client, most)
                    async with beside(stop_and_go(process, random.Random(seed)) if stops else asyncio.sleep(0)):
                        held += await run.finish()
                    await wait_for_descriptors(process, before)
    return held


async def relay_to_asyncio(pick, family, folder, form, last, most, is_broken_off):
    """A tulp client, whose server is asyncio: an orderly conversation, or one that the server breaks off."""
    made = asyncio.get_running_loop().create_future()

    def accept(reader, writer):
        made.set_result(End(reader, writer))
    if family == "unix":
        place = f"unix:{folder}/{random.getrandbits(64):x}"
        server = await asyncio.start_unix_server(accept, place.removeprefix("unix:"))
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        place = server.sockets[0].getsockname()[1]
    pipe = asyncio.subprocess.PIPE
    async with server, program(RELAY, form, "connect", place, *last, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        far, near = await made, End.of(process)
        if is_broken_off:
            await break_off_from_far(pick, far, near, most)
            said = await process.stderr.read()
            assert await process.wait() in (0, 1) and b"\n" not in said[:-1], (process.returncode, said)
            assert (process.returncode == 1) == bool(said), (process.returncode, said)
        else:
            await converse(far, near, pick, most)
            assert (await process.wait(), await process.stderr.read()) == (0, b"")
        await far.close()


async def break_off_from_far(pick, far, near, most):
    data = pick.randbytes(most)
    async with beside(far.send_part(data, pick)), beside(near.send_part(data, pick)):
        received = await near.receive(pick, pick.randint(0, most // 2))
    far.reset()
    check_prefix(received + await near.receive(pick), data)
    near.writer.close()


async def relay_to_program(pick, family, folder, form, last, name, most):
    """A tulp client, whose server is socat or nc."""
    pipe = asyncio.subprocess.PIPE
    async with listening_program(family, folder, name, pick) as (place, server):
        async with program(RELAY, form, "connect", place, *last, stdin=pipe, stdout=pipe) as client:
            # nc -l ends with its client.
            await converse(End.of(server), End.of(client), pick, most, is_a_first=name == "nc")
            assert (await server.wait(), await client.wait()) == (0, 0), (server.returncode, client.returncode)


async def run_clients(seed, most, conversations):
    """tulp connects; the servers are asyncio, socat and nc.  How many conversations were held."""
    with temporary_folder() as folder:
        run = Run(seed)
        for family in FAMILIES:
            for form in FORMS:
                for last in (), (seed,):
                    name = f"{family} {form} {last}"
                    for _ in range(conversations):
                        run.add(f"asyncio with {name}", relay_to_asyncio, family, folder, form, last, most, False)
                        run.add(f"breaking off with {name}", relay_to_asyncio, family, folder, form, last, most, True)
                    for server in "socat", "nc":
                        run.add(f"{server} with {name}", relay_to_program, family, folder, form, last, server, most)
        return await run.finish()
