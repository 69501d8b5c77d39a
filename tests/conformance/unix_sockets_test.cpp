// Unix sockets: modern row 23.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>
#include <tulp/wait.hpp>

#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/descriptor_message.hpp"
#include "support/process.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::string_literals;

namespace {

class UnixTest : public NetTest {
 public:
  std::string path() const { return folder / "socket"; }

  Folder folder;
};

void echo(StreamReader reader, StreamWriter writer) {
  while (true) {
    const std::string data = reader.read(64 * 1024);
    if (data.empty()) break;
    writer.write(data);
  }
}

}  // namespace

TEST_CASE_METHOD(UnixTest, "streams over a Unix socket are streams, and know where they are") {
  run([&] {
    Server server = start_unix_server(echo, path());
    REQUIRE(server.addresses().size() == 1);
    CHECK(server.addresses()[0].to_string() == "unix:" + path());
    auto [reader, writer] = open_unix_connection(path());
    writer.write("hello\n");
    CHECK(reader.readline() == "hello\n");
    CHECK(writer.get_extra_info<Address>("peername")->host() == path());
    CHECK(writer.get_extra_info<Address>("sockname")->to_string() == "an unnamed Unix socket");
    writer.write("and the end");
    writer.write_eof();
    CHECK(reader.read() == "and the end");
    writer.close();
    server.close();
    server.wait_closed();
  });
}

namespace {

/// Sends `text` together with a descriptor.
void send_with_descriptor(int socket, std::string_view text) {
  REQUIRE(::sendmsg(socket, DescriptorMessage(text, socket).get(), 0) == static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST_CASE_METHOD(UnixTest, "descriptors that a peer sends are not taken, and hold up nothing that comes behind them") {
  const bool is_read_at_once = GENERATE(true, false);
  CAPTURE(is_read_at_once);
  run([&] {
    const PlainUnixSocket listener(path());
    auto [reader, writer] = open_unix_connection(path());
    const Peer peer = listener.accept();
    std::string got;
    auto reading = create_task([&, &reader = reader] {
      while (got.size() < 12) got += reader.read(4096);
    });
    if (is_read_at_once) sleep(0s);
    peer.send("one ");
    send_with_descriptor(peer.fd(), "two ");
    send_with_descriptor(peer.fd(), "six ");
    with_timeout(10s, [&] { await(reading); });
    CHECK(got == "one two six ");
    writer.close();
  });
}

TEST_CASE_METHOD(UnixTest, "protocols over a Unix socket are made, told and lost as over any other") {
  auto served = std::make_shared<Recorder>(), client = std::make_shared<Recorder>();
  Server server = loop().run_until_complete(loop().create_unix_server([&] { return served; }, path()));
  auto connection = loop().run_until_complete(loop().create_unix_connection([&] { return client; }, path()));
  CHECK(client->trace == Trace{"made"});
  connection.transport->write("ping");
  until([&] { return served->received == "ping"; });
  CHECK(served->transport->get_extra_info<Address>("sockname")->host() == path());
  CHECK(served->transport->get_extra_info<Address>("peername")->host() == "");
  served->transport->write("pong");
  until([&] { return client->received == "pong"; });
  connection.transport->close();
  until([&] { return client->is_lost() && served->is_lost(); });
  CHECK(served->trace == Trace{"made", "data", "eof", "lost"});
  server.close();
  settle();
}

TEST_CASE_METHOD(UnixTest, "an abstract name works as a path does, and has no file") {
  const std::string name = "\0tulp-test-"s + path();
  run([&] {
    Server server = start_unix_server(echo, name);
    CHECK(server.addresses()[0].to_string() == "unix:@tulp-test-" + path());
    CHECK_FALSE(exists(path()));
    auto [reader, writer] = open_unix_connection(name);
    writer.write("hello\n");
    CHECK(reader.readline() == "hello\n");
    CHECK_THROWS_AS(start_unix_server(echo, name), OsError);  // it is taken
    writer.close();
    server.close();
    server.wait_closed();
    CHECK_THROWS_AS(open_unix_connection(name), ConnectionRefusedError);
  });
}

TEST_CASE_METHOD(UnixTest,
                 "much data goes both ways at once, though a short read does not mean that there is no more") {
  const std::string data = pattern(8 << 20);
  run([&] {
    Server server = start_unix_server(echo, path());
    auto [reader, writer] = open_unix_connection(path());
    auto writing = create_task([&, &writer = writer] {
      writer.write(data);
      writer.write_eof();
    });
    CHECK(same(reader.read(), data));
    await(writing);
    writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(UnixTest, "a path that is empty, too long or has a NUL inside is refused, with its limit") {
  const std::string long_path = folder / std::string(200, 'x');
  for (const std::string& bad : {""s, long_path, path() + '\0' + "more"}) {
    CHECK_THROWS_AS(loop().create_unix_connection(recorder(), bad), std::invalid_argument);
    CHECK_THROWS_AS(loop().create_unix_server(recorder(), bad), std::invalid_argument);
    run([&] {
      CHECK_THROWS_AS(open_unix_connection(bad), std::invalid_argument);
      CHECK_THROWS_AS(start_unix_server(echo, bad), std::invalid_argument);
    });
  }
  run([&] { CHECK(message_of([&] { open_unix_connection(long_path); }).find("107 bytes") != std::string::npos); });
}

TEST_CASE_METHOD(UnixTest, "options that mean nothing for a Unix socket are refused") {
  run([&] {
    CHECK_THROWS_AS(open_unix_connection(path(), {.family = AF_INET}), std::invalid_argument);
    CHECK_THROWS_AS(open_unix_connection(path(), {.local_addr = Address::parse("::1", 0)}), std::invalid_argument);
    CHECK_THROWS_AS(open_unix_connection(path(), {.sock = 0}), std::invalid_argument);
    CHECK_THROWS_AS(start_unix_server(echo, path(), {.family = AF_INET6}), std::invalid_argument);
    CHECK_THROWS_AS(start_unix_server(echo, path(), {.reuse_port = true}), std::invalid_argument);
    CHECK_THROWS_AS(start_unix_server(echo, path(), {.socks = {0}}), std::invalid_argument);
  });
  CHECK_FALSE(exists(path()));
}

TEST_CASE_METHOD(UnixTest, "connecting where nobody listens is an error that names the path") {
  run([&] {
    const std::string missing = message_of([&] { open_unix_connection(path()); });
    CHECK(missing == "connect unix:" + path() + ": No such file or directory");
    std::ofstream(path()) << "no socket";
    CHECK_THROWS_AS(open_unix_connection(path()), ConnectionRefusedError);
    { const PlainUnixSocket stale(folder / "stale"); }
    CHECK_THROWS_AS(open_unix_connection(folder / "stale"), ConnectionRefusedError);
  });
  auto connecting = loop().create_unix_connection(recorder(), folder / "nothing");
  CHECK_THROWS_AS(loop().run_until_complete(connecting), OsError);
}

TEST_CASE_METHOD(UnixTest, "who is at the other end can be asked") {
  run([&] {
    Server server = start_unix_server(
        [](StreamReader, StreamWriter writer) {
          const auto peer = writer.get_extra_info<PeerCredentials>("peercred");
          REQUIRE(peer);
          CHECK(peer->pid == ::getpid());
          CHECK(peer->uid == ::getuid());
          CHECK(peer->gid == ::getgid());
        },
        path());
    auto [reader, writer] = open_unix_connection(path());
    CHECK(reader.read() == "");
    CHECK(writer.get_extra_info<PeerCredentials>("peercred")->pid == ::getpid());
    writer.close();
    server.close();
    server.wait_closed();
  });
  const PlainListener tcp;
  run([&] {
    Streams streams = open_connection("127.0.0.1", tcp.port());
    CHECK_FALSE(streams.writer.get_extra_info<PeerCredentials>("peercred"));
    streams.writer.transport().abort();
  });
}

// A server whose queue is full.

TEST_CASE_METHOD(UnixTest, "connecting waits while the server's queue is full") {
  const PlainUnixSocket listener(path(), 0);
  run([&] {
    Streams first = open_unix_connection(path());  // Linux takes one connection more than the backlog
    auto second = create_task([&] { open_unix_connection(path()); });
    sleep(20ms);
    CHECK_FALSE(second.done());
    Peer accepted = listener.accept();
    await(second);
    first.writer.transport().abort();
  });
}

TEST_CASE_METHOD(UnixTest, "waiting for a full queue ends with the timeout or a cancellation, and closes the socket") {
  const PlainUnixSocket listener(path(), 0);
  const Peer first = connect_plainly(path());
  const std::size_t before = open_fd_count();
  run([&] {
    const std::string message = message_of([&] { open_unix_connection(path(), {.timeout = 30ms}); });
    CHECK(message.find("unix:" + path()) != std::string::npos);
    CHECK(message.find("timed out") != std::string::npos);
    auto waiting = create_task([&] { open_unix_connection(path()); });
    let_others_run(3);
    waiting.cancel();
    CHECK_THROWS_AS(await(waiting), FutureCancelledError);
    CHECK(open_fd_count() == before);
  });
  auto connecting = loop().create_unix_connection(recorder(), path());
  settle();
  connecting.cancel();
  settle();
  CHECK(connecting.cancelled());
  CHECK(open_fd_count() == before);
}

// The file.

TEST_CASE_METHOD(UnixTest, "closing the server removes its file; so does the end of the loop") {
  run([&] {
    Server server = start_unix_server(echo, path());
    CHECK(exists(path()));
    server.close();
    CHECK_FALSE(exists(path()));
    start_unix_server(echo, path());  // and the handle is dropped
    CHECK(exists(path()));
  });
  loop().close();
  CHECK_FALSE(exists(path()));
}

TEST_CASE_METHOD(UnixTest, "with cleanup_socket off the file stays, and the next server takes its place") {
  run([&] {
    Server server = start_unix_server(echo, path(), {.cleanup_socket = false});
    server.close();
    CHECK(exists(path()));
    start_unix_server(echo, path()).close();
    CHECK_FALSE(exists(path()));
  });
}

TEST_CASE_METHOD(UnixTest, "a file that has taken the place of the server's own is left alone") {
  run([&] {
    Server server = start_unix_server(echo, path());
    ::unlink(path().c_str());
    const PlainUnixSocket other(path());
    server.close();
    CHECK(exists(path()));
    const Peer peer = connect_plainly(path());
  });
}

TEST_CASE_METHOD(UnixTest, "the file of a socket that nobody listens on is replaced") {
  { const PlainUnixSocket dead(path()); }
  const PlainUnixSocket bound_only(folder / "bound", -1);
  { const PlainUnixSocket datagrams(folder / "datagrams", -1, SOCK_DGRAM); }
  run([&] {
    for (const std::string& stale : {path(), folder / "bound", folder / "datagrams"}) {
      INFO(stale);
      Server server = start_unix_server(echo, stale);
      auto [reader, writer] = open_unix_connection(stale);
      writer.write("hello\n");
      CHECK(reader.readline() == "hello\n");
      writer.close();
      server.close();
      server.wait_closed();
    }
  });
}

TEST_CASE_METHOD(UnixTest, "a socket that somebody listens on is never taken away, not even if he is busy") {
  const PlainUnixSocket busy(path(), 0), datagrams(folder / "datagrams", -1, SOCK_DGRAM);
  const Peer waiting = connect_plainly(path());
  run([&] {
    for (const std::string& taken : {path(), folder / "datagrams"}) {
      const std::string message = message_of([&] { start_unix_server(echo, taken); });
      CHECK(message == "bind unix:" + taken + ": Address already in use");
      CHECK(exists(taken));
    }
    Server ours = start_unix_server(echo, folder / "ours");
    CHECK_THROWS_AS(start_unix_server(echo, folder / "ours"), OsError);
    auto [reader, writer] = open_unix_connection(folder / "ours");
    writer.write("still there\n");
    CHECK(reader.readline() == "still there\n");
    writer.close();
    ours.close();
    ours.wait_closed();
  });
  CHECK(busy.accept().fd() >= 0);
}

TEST_CASE_METHOD(UnixTest, "what is no socket is never removed") {
  std::ofstream(path()) << "precious";
  std::filesystem::create_directory(folder / "directory");
  std::filesystem::create_symlink(folder / "nowhere", folder / "link");
  run([&] {
    for (const std::string& other : {path(), folder / "directory", folder / "link"}) {
      CHECK_THROWS_AS(start_unix_server(echo, other), OsError);
      CHECK(exists(other));
    }
    CHECK_THROWS_AS(start_unix_server(echo, folder / "no-such-directory" + "/socket"), OsError);
  });
  std::string content;
  std::ifstream(path()) >> content;
  CHECK(content == "precious");
}

TEST_CASE_METHOD(UnixTest, "a server that cannot listen leaves neither its file nor its socket") {
  PatchedSystem patched;
  sys.listen = [](int, int) { return errno = ENOBUFS, -1; };
  const std::size_t before = open_fd_count();
  run([&] {
    const std::string message = message_of([&] { start_unix_server(echo, path()); });
    CHECK(message == "listen unix:" + path() + ": No buffer space available");
  });
  CHECK_FALSE(exists(path()));
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(UnixTest, "a child process that closes its copy of the server leaves the file to its parent") {
  run([&] {
    Server server = start_unix_server(echo, path());
    const auto child = run_in_child([&] {
      server.close();
      ::_exit(0);
    });
    CHECK(child.exited_with(0));
    CHECK(exists(path()));
    server.close();
    CHECK_FALSE(exists(path()));
  });
}
