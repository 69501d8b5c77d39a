"""Interactive sessions through tulp proxy, as of somebody at a terminal far away: keys that are echoed at once, screens that
are printed, and pauses.  For session_test.py and, with more, session_long_test.py."""
import contextlib
import random
import socket
import ssl
import time

from programs import IS_SANITIZED
from proxy_test import Proxy, Target
from tls_peers import LIMIT_SECONDS, exactly
from volumes import status_kib

PLACES_OF_TLS = (), ("client",), ("target",), ("client", "target")
IDLE_SECONDS = 3   # after which the proxy breaks off: no pause is as long, all of them together are longer


@contextlib.contextmanager
def session(folder, places_of_tls):
    """A client and the server that it talks to, and the proxy between, with TLS on these sides of it."""
    own = ["--tls-cert", folder / "good.pem", "--tls-key", folder / "good.key"] if "client" in places_of_tls else []
    trust = ["--to-tls", "--to-name", "localhost", "--cacert", folder / "ca.pem"] if "target" in places_of_tls else []
    with Target() as target, Proxy("--to", target.place, "--idle-timeout", IDLE_SECONDS, *own, *trust) as proxy, \
            contextlib.ExitStack() as stack:
        client = stack.enter_context(proxy.connect())
        if "client" in places_of_tls:
            context = ssl.create_default_context(cafile=folder / "ca.pem")
            client = stack.enter_context(context.wrap_socket(client, server_hostname="localhost"))
        server = stack.enter_context(target.accept())
        if "target" in places_of_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "good.pem", folder / "good.key")
            server = stack.enter_context(context.wrap_socket(server, server_side=True))
        for end in client, server:
            end.settimeout(LIMIT_SECONDS)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)   # as ssh does: what waits is the proxy's fault
        yield client, server, proxy


def hold_session(folder, places_of_tls, keys, pauses, seed=1):
    """`keys` keystrokes with as many pauses among them; says how long an echo took."""
    pick, times, sent = random.Random(seed), ([], []), [0, 0]
    with session(folder, places_of_tls) as (client, server, proxy):
        before_kib = None
        for number in range(keys):
            if number % (keys // pauses) == 0:
                time.sleep(IDLE_SECONDS / 3)
            key = pick.randbytes(pick.choice([1, 1, 1, 3]))
            screen = pick.randbytes(pick.randint(100, 20_000)) if pick.random() < 0.05 else b""
            begin = time.monotonic()
            client.sendall(key)
            assert exactly(server, len(key)) == key
            server.sendall(key)
            assert exactly(client, len(key)) == key
            if screen:
                server.sendall(screen)
                assert exactly(client, len(screen)) == screen
            times[bool(screen)].append(time.monotonic() - begin)
            sent[0] += len(key)
            sent[1] += len(key) + len(screen)
            if number == keys // 4:
                before_kib = status_kib(proxy.process, "VmRSS")
        grown_kib = status_kib(proxy.process, "VmRSS") - before_kib
        client.close()
        server.close()
        line = proxy.log_line()
    # Any of them may have to wait for the processor; who waits for the other side does so each time.
    quick, quick_with_screen = (sorted(each)[len(each) // 4] for each in times)
    print(f"{keys} keys with TLS at {' and '.join(places_of_tls) or 'neither side'}: three of four echoes took more than "
          f"{quick * 1e6:.0f} µs, with a screen behind it {quick_with_screen * 1e6:.0f} µs; {grown_kib} KiB more resident")
    assert f" up {sent[0]} down {sent[1]} in " in line, line
    # Such as an acknowledgement, which is delayed by 40 ms.
    assert max(quick, quick_with_screen) < 0.03, "small messages wait for something"
    assert grown_kib < 1024 or IS_SANITIZED, grown_kib
