// The end of a connection whose peer has sent, or still sends, what nobody reads: decision 9.
#include <tulp/protocol.hpp>
#include <tulp/stream.hpp>
#include <tulp/transport.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "support/net.hpp"
#include "support/serving.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

constexpr std::size_t unread_bytes = 200'000;  // the kernel takes it at once, and a slow reader does not

/// A transport that reads nothing, to a slow reader.
class Lingering : public NetTest {
 public:
  Lingering() {
    protocol->on_made = [this] {
      protocol->transport->pause_reading();
      transport = protocol->transport;
      socket = *transport->get_extra_info<int>("socket");
    };
    peer = connect(protocol, 4096);
    transport->set_write_buffer_limits({.high_bytes = 100 << 20});
  }
  /// The peer sends, and the loop hears of it.
  void receive(std::string_view data) {
    peer.send(data);
    settle();
  }
  /// Whether the clock goes on to the next timer when there is nothing else to do.
  bool may_jump() const { return kind() == LoopKind::foreign; }
  bool is_open() const { return ::fcntl(socket, F_GETFD) >= 0; }
  void read_all_slowly() {
    until([&] {
      peer.collect(3000);
      return peer.has_ended || peer.error != 0;
    });
  }

  std::shared_ptr<Recorder> protocol = std::make_shared<Recorder>();
  Peer peer;
  std::shared_ptr<Transport> transport;
  int socket = -1;
  const std::string content = pattern(unread_bytes);
};

/// Counts the calls that an end may cost.
class CountedEnd {
 public:
  CountedEnd() {
    receives = shutdowns = 0;
    sys.recv = [](int fd, void* into, size_t size, int flags) {
      ++receives;
      return ::recv(fd, into, size, flags);
    };
    sys.shutdown = [](int fd, int how) {
      ++shutdowns;
      return ::shutdown(fd, how);
    };
  }
  static inline int receives, shutdowns;

 private:
  PatchedSystem patched_;
};

}  // namespace

TEST_CASE_METHOD(Lingering,
                 "a slow reader gets all that was written before close, though it has sent what nobody read") {
  receive("unread");
  transport->write(content);
  CHECK(transport->get_write_buffer_size() == 0);
  transport->close();
  until([&] { return protocol->is_lost(); });  // which does not wait for the peer
  CHECK(protocol->lost_with == nullptr);
  if (!may_jump()) CHECK(is_open());
  read_all_slowly();
  CHECK(peer.error == 0);
  CHECK(same(peer.received, content));
  if (!may_jump()) CHECK(is_open());
  peer.close();
  until([&] { return !is_open(); });
}

TEST_CASE_METHOD(Lingering, "so does one that goes on sending while it reads") {
  const std::string more = pattern(3'000'000);
  const int small = 4096;
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  transport->write(more);
  transport->close();
  until([&] {
    if (peer.received.size() < more.size()) peer.send("still here");
    peer.collect(3000);
    return peer.has_ended || peer.error != 0;
  });
  CHECK(peer.error == 0);
  CHECK(same(peer.received, more));
  peer.close();
  until([&] { return !is_open(); });
}

TEST_CASE_METHOD(NetTest,
                 "a stream that is closed with unread data is as well, and wait_closed does not wait for that") {
  run([&] {
    auto s = open_stream({}, 4096);
    s.peer.send("unread");
    let_others_run(5);
    const std::string content = pattern(unread_bytes);
    s.writer.write(content);
    s.writer.close();
    s.writer.wait_closed();
    while (!s.peer.is_over()) sleep(0s);
    CHECK(s.peer.error == 0);
    CHECK(same(s.peer.received, content));
  });
}

TEST_CASE_METHOD(Lingering, "what the peer sends after the end is thrown away until it ends too") {
  if (may_jump()) return;
  receive("unread");
  transport->close();
  until([&] { return peer.is_over(); });
  CHECK(peer.has_ended);
  for (int i = 0; i < 10; ++i) receive(pattern(10'000));
  CHECK(is_open());
  CHECK(peer.error == 0);
  SECTION("properly") { peer.close(); }
  SECTION("with a reset") { peer.reset(); }
  until([&] { return !is_open(); });
  CHECK(protocol->lost_calls == 1);
}

TEST_CASE_METHOD(Lingering, "a peer that never ends is waited for no longer than two seconds") {
  if (!may_jump()) return;
  receive("unread");
  const auto start = loop().time();
  transport->close();
  until([&] { return !is_open(); });
  CHECK(loop().time() - start >= 2s);
  CHECK(loop().time() - start < 3s);
}

TEST_CASE_METHOD(Lingering, "a peer that sends more than 16 MiB after the end is not listened to any longer") {
  receive("unread");
  transport->close();
  const std::string block = pattern(100'000);
  std::size_t sent = 0;
  until([&] {
    const ssize_t result = ::send(peer.fd(), block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (result > 0) sent += static_cast<std::size_t>(result);
    return !is_open();
  });
  CHECK(sent >= 16 << 20);
  CHECK(sent < 64 << 20);
}

TEST_CASE_METHOD(Lingering, "an end costs nothing more if the peer has ended, or nothing was sent that is unread") {
  transport->resume_reading();
  receive("read");
  CHECK(protocol->received == "read");
  const bool has_peer_ended = GENERATE(false, true);
  if (has_peer_ended) {
    protocol->keeps_writing = true;
    peer.half_close();
    until([&] { return protocol->trace.back() == "eof"; });
  }
  const CountedEnd calls;
  transport->write("the answer");
  transport->close();
  until([&] { return peer.is_over(); });
  CHECK(peer.has_ended);
  CHECK_FALSE(is_open());
  CHECK(calls.shutdowns == 0);
  // A selector that tells of what is waited for alone has to be made up for with one look.
  CHECK(calls.receives == (has_peer_ended || has_edges(kind()) ? 0 : 1));
}

TEST_CASE_METHOD(Lingering, "abort waits for nothing, nor does the end of a broken connection") {
  SECTION("abort") {
    receive("unread");
    transport->abort();
  }
  SECTION("a protocol that throws") {
    protocol->on_data = [](std::string_view) { throw std::runtime_error("a bug"); };
    peer.send("x");
    transport->resume_reading();
    until([&] { return protocol->is_lost(); });
    CHECK(take_reports().size() == 1);
  }
  until([&] { return protocol->is_lost(); });
  CHECK_FALSE(is_open());
}

TEST_CASE_METHOD(Lingering,
                 "the end of the loop does not wait, but throws away what has come, so that nothing is lost") {
  if (may_jump()) return;
  receive("unread");
  transport->write(content);
  transport->close();
  settle();
  CHECK(is_open());
  peer.send("more");
  const auto start = std::chrono::steady_clock::now();
  loop().close();
  CHECK(std::chrono::steady_clock::now() - start < 1s);
  CHECK_FALSE(is_open());
  while (!peer.is_over()) {
  }
  CHECK(peer.error == 0);
  CHECK(same(peer.received, content));
}

TEST_CASE_METHOD(Lingering, "a transport that is closed by the end of the loop has its unread data thrown away, too") {
  receive("unread");
  transport->write(content);
  loop().close();
  CHECK_FALSE(is_open());
  while (!peer.is_over()) {
  }
  CHECK(peer.error == 0);
  CHECK(same(peer.received, content));
}

TEST_CASE_METHOD(Serving, "a server that shuts down does not wait for peers of connections that have ended") {
  Server server = serve();
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  protocols[0]->transport->pause_reading();
  peer.send("unread");
  settle();
  run([&] {
    const auto start = loop().time();
    CHECK(server.shutdown(0s) == 1);
    CHECK(loop().time() - start < 1s);
  });
  CHECK(peer.is_over());
  CHECK(peer.error == 0);
}

TEST_CASE_METHOD(Lingering, "a socket that is broken, or cannot be watched once more, is closed at once") {
  receive("unread");
  transport->close();
  const PatchedSystem patched;
  SECTION("broken") {
    sys.recv = [](int, void*, size_t, int) { return errno = ECONNRESET, ssize_t{-1}; };
  }
  SECTION("not watched") {
    if (kind() != LoopKind::epoll) return;
    sys.epoll_ctl = [](int, int operation, int, epoll_event*) {
      return operation == EPOLL_CTL_ADD ? (errno = ENOMEM, -1) : 0;
    };
  }
  until([&] { return protocol->is_lost(); });
  CHECK_FALSE(is_open());
}
