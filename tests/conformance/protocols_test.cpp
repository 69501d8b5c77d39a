// What a protocol hears from its transport, and in which order: semantics rows 58 to 61, 70 and 72 to 73.
#include <tulp/protocol.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include <array>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "support/net.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

bool is_boom(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
    return false;
  } catch (const Boom&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Receives into a small array of its own.
class SmallBuffer : public BufferedProtocol {
 public:
  void connection_made(std::shared_ptr<Transport> made) override {
    trace.push_back("made");
    transport = std::move(made);
  }
  std::span<char> get_buffer(std::size_t hint) override {
    CHECK(hint > 0);
    if (on_get_buffer) on_get_buffer();
    return std::span(memory).first(size);
  }
  void buffer_updated(std::size_t count) override {
    if (trace.back() != "data") trace.push_back("data");
    ++updates;
    CHECK(count > 0);
    CHECK(count <= size);
    received.append(memory.data(), count);
    if (on_updated) on_updated();
  }
  bool eof_received() override {
    trace.push_back("eof");
    return keeps_writing;
  }
  void connection_lost(std::exception_ptr error) override {
    trace.push_back("lost");
    lost_with = error;
    transport = nullptr;
  }
  bool is_lost() const { return !trace.empty() && trace.back() == "lost"; }

  Trace trace;
  std::string received;
  int updates = 0;
  std::size_t size = 4;
  bool keeps_writing = false;
  std::exception_ptr lost_with;
  std::shared_ptr<Transport> transport;
  std::function<void()> on_get_buffer, on_updated;

 private:
  std::array<char, 64> memory{};
};

}  // namespace

// The order of calls.

TEST_CASE_METHOD(NetTest, "who waits for create_connection goes on before the first data are received") {
  const PlainListener listener;
  Peer peer;
  const auto recorder = std::make_shared<Recorder>();
  recorder->on_made = [&] {  // the peer's greeting is there before connection_made returns
    peer = listener.accept();
    peer.send("greeting");
  };
  run([&] {
    auto connection = await(loop().create_connection([&] { return recorder; }, "127.0.0.1", listener.port()));
    recorder->trace.push_back("connected");
  });
  until([&] { return recorder->data_calls == 1; });
  CHECK(recorder->trace == Trace{"made", "connected", "data"});
  recorder->transport->abort();
  until([&] { return recorder->is_lost(); });
}

TEST_CASE_METHOD(NetTest, "a protocol hears made, data, eof, lost, each of them once, and then nothing") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  CHECK(protocol->trace == Trace{"made"});
  peer.send("hello");
  until([&] { return protocol->received == "hello"; });
  peer.close();
  until([&] { return protocol->is_lost(); });
  settle();
  CHECK(protocol->trace == Trace{"made", "data", "eof", "lost"});
  CHECK(protocol->lost_with == nullptr);
  CHECK(protocol->lost_calls == 1);
}

TEST_CASE_METHOD(NetTest, "the Future of create_connection is done when connection_made has run, and holds both ends") {
  const PlainListener listener;
  auto protocol = std::make_shared<Recorder>();
  auto connecting = loop().create_connection([&] { return protocol; }, "127.0.0.1", listener.port());
  CHECK(protocol->trace.empty());  // soon, not at once
  const auto connection = loop().run_until_complete(connecting);
  CHECK(protocol->trace == Trace{"made"});
  CHECK(connection.protocol == protocol);
  CHECK(connection.transport == protocol->transport);
  CHECK(connection.transport->get_protocol() == protocol);
  connection.transport->abort();
  settle();
  CHECK(connection.transport->get_protocol() == nullptr);  // dropped after connection_lost
}

TEST_CASE_METHOD(NetTest, "data that the peer sent with its end all come before eof_received") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  const std::string much = pattern(1'000'000);
  std::size_t sent = 0;
  until([&] {
    while (sent < much.size()) {
      const ssize_t n = ::send(peer.fd(), much.data() + sent, much.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    return sent == much.size();
  });
  peer.close();
  until([&] { return protocol->is_lost(); });
  CHECK(same(protocol->received, much));
  CHECK(protocol->trace == Trace{"made", "data", "eof", "lost"});
}

TEST_CASE_METHOD(NetTest, "an urgent byte comes to nobody, and keeps nobody busy", "[undisturbed]") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  settle();
  static int receives;
  receives = 0;
  const PatchedSystem patched;
  sys.recv = [](int fd, void* into, size_t size, int flags) { return ++receives, ::recv(fd, into, size, flags); };
  CHECK(::send(peer.fd(), "!", 1, MSG_OOB) == 1);
  for (int i = 0; i < 100; ++i) run_once();
  CHECK(receives <= 3);
  CHECK(protocol->received.empty());
  peer.send("and on");
  until([&] { return protocol->received == "and on"; });
  protocol->transport->abort();
  until([&] { return protocol->is_lost(); });
}

TEST_CASE_METHOD(NetTest, "one data_received brings at most 256 KiB") {
  auto protocol = std::make_shared<Recorder>();
  std::size_t largest = 0;
  protocol->on_data = [&](std::string_view data) { largest = std::max(largest, data.size()); };
  Peer peer = connect(protocol);
  const int size = 4'000'000;
  ::setsockopt(*protocol->transport->get_extra_info<int>("socket"), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  const std::string much = pattern(3'000'000);
  std::size_t sent = 0;
  until([&] {
    const ssize_t n = ::send(peer.fd(), much.data() + sent, much.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    return protocol->received.size() == much.size();
  });
  CHECK(largest <= 256 * 1024);
  CHECK(same(protocol->received, much));
  peer.close();
  until([&] { return protocol->is_lost(); });
}

TEST_CASE_METHOD(NetTest, "eof_received that returns false closes the transport after what was written before") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_eof = [&] { protocol->transport->write("last words"); };
  Peer peer = connect(protocol);
  peer.half_close();
  until([&] { return protocol->is_lost() && peer.is_over(); });
  CHECK(peer.received == "last words");
  CHECK(peer.has_ended);
  CHECK(protocol->trace == Trace{"made", "eof", "lost"});
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(NetTest,
                 "eof_received that returns true leaves the writing half open, for as long and as much as wanted") {
  auto protocol = std::make_shared<Recorder>();
  protocol->keeps_writing = true;
  Peer peer = connect(protocol);
  peer.half_close();
  until([&] { return protocol->trace.back() == "eof"; });
  settle();
  CHECK(protocol->trace == Trace{"made", "eof"});
  CHECK_FALSE(protocol->transport->is_closing());
  CHECK_FALSE(protocol->transport->is_reading());
  const std::string much = pattern(5'000'000);
  auto transport = protocol->transport;
  transport->write(much);
  until([&] { return peer.collect().size() == much.size(); });
  CHECK(same(peer.received, much));
  transport->close();
  until([&] { return protocol->is_lost() && peer.is_over(); });
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(NetTest, "after write_eof the peer sees the end, and reading goes on until the peer ends too") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  auto transport = protocol->transport;
  CHECK(transport->can_write_eof());
  transport->write("all of it");
  transport->write_eof();
  transport->write_eof();
  until([&] { return peer.is_over(); });
  CHECK(peer.received == "all of it");
  CHECK(peer.has_ended);
  peer.send("the answer");
  until([&] { return protocol->received == "the answer"; });
  peer.close();
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->trace == Trace{"made", "data", "eof", "lost"});
}

TEST_CASE_METHOD(NetTest, "connection_lost carries ECONNRESET when the peer resets, and there is no eof_received") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  peer.reset();
  until([&] { return protocol->is_lost(); });
  settle();
  CHECK(protocol->trace == Trace{"made", "lost"});
  CHECK(errno_of(protocol->lost_with) == ECONNRESET);
  CHECK_THROWS_AS(std::rethrow_exception(protocol->lost_with), ConnectionResetError);
}

TEST_CASE_METHOD(NetTest, "a reset after the peer's half-close is noticed at once, but on select by the next write",
                 "[undisturbed]") {
  auto protocol = std::make_shared<Recorder>();
  protocol->keeps_writing = true;
  Peer peer = connect(protocol);
  peer.half_close();
  until([&] { return protocol->trace.back() == "eof"; });
  settle();
  CHECK(protocol->trace == Trace{"made", "eof"});
  protocol->transport->pause_reading();  // makes no difference
  protocol->transport->resume_reading();
  peer.reset();
  settle();
  if (kind() == LoopKind::select) {
    CHECK_FALSE(protocol->is_lost());
    protocol->transport->write("x");
  }
  until([&] { return protocol->is_lost(); });
  CHECK(errno_of(protocol->lost_with) > 0);
  CHECK(protocol->trace == Trace{"made", "eof", "lost"});
}

TEST_CASE_METHOD(NetTest, "a peer that is gone altogether, as a Unix socket can tell, breaks the connection with EPIPE",
                 "[undisturbed]") {
  const bool ends_first = GENERATE(false, true);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  auto protocol = std::make_shared<Recorder>();
  protocol->keeps_writing = true;
  Peer peer(ends[1]);
  loop().run_until_complete(loop().connect_accepted_socket([&] { return protocol; }, ends[0]));
  if (ends_first) {
    peer.half_close();
    until([&] { return protocol->trace.back() == "eof"; });
    settle();
    CHECK_FALSE(protocol->is_lost());
  }
  peer.close();
  settle();
  if (ends_first && kind() == LoopKind::select) {
    CHECK_FALSE(protocol->is_lost());
    protocol->transport->write("x");
  }
  until([&] { return protocol->is_lost(); });
  CHECK(errno_of(protocol->lost_with) == EPIPE);
  CHECK(protocol->trace == Trace{"made", "eof", "lost"});
}

TEST_CASE_METHOD(NetTest, "a connection that both sides have ended waits for close(), and keeps nobody busy") {
  auto protocol = std::make_shared<Recorder>();
  protocol->keeps_writing = true;
  Peer peer = connect(protocol);
  peer.half_close();
  until([&] { return protocol->trace.back() == "eof"; });
  protocol->transport->write_eof();
  until([&] { return peer.is_over(); });
  static int calls;
  calls = 0;
  {
    const PatchedSystem patched;
    sys.poll = [](pollfd* polled, nfds_t count, int timeout) { return ++calls, ::poll(polled, count, timeout); };
    loop().call_later(3ms, [&] { loop().stop(); });
    loop().run_forever();
  }
  CHECK(calls <= 8);
  CHECK(protocol->trace == Trace{"made", "eof"});
  protocol->transport->close();
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(NetTest, "connection_lost comes soon and never from inside the call that ends the connection") {
  for (const bool is_abort : {false, true}) {
    auto protocol = std::make_shared<Recorder>();
    Peer peer = connect(protocol);
    auto transport = protocol->transport;
    is_abort ? transport->abort() : transport->close();
    CHECK_FALSE(protocol->is_lost());
    CHECK(transport->is_closing());
    transport->close();
    transport->abort();
    settle();
    CHECK(protocol->trace == Trace{"made", "lost"});
    CHECK(protocol->lost_with == nullptr);
    CHECK(protocol->lost_calls == 1);
  }
}

TEST_CASE_METHOD(NetTest, "nothing is received after close, even if it has arrived already") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  peer.send("too late");
  protocol->transport->close();
  settle();
  CHECK(protocol->trace == Trace{"made", "lost"});
}

TEST_CASE_METHOD(NetTest, "a transport closed inside data_received delivers nothing more") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_data = [&](std::string_view) { protocol->transport->close(); };
  Peer peer = connect(protocol);
  peer.send("a");
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->received == "a");
  CHECK(protocol->trace == Trace{"made", "data", "lost"});
}

TEST_CASE_METHOD(NetTest, "the transport outlives its connection_lost for whoever still holds it, and is harmless") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  const auto transport = protocol->transport;
  transport->abort();
  until([&] { return protocol->is_lost(); });
  transport->close();
  transport->abort();
  transport->write_eof();
  transport->pause_reading();
  transport->resume_reading();
  CHECK(transport->is_closing());
  CHECK_FALSE(transport->is_reading());
  CHECK(transport->get_write_buffer_size() == 0);
  CHECK_FALSE(transport->get_extra_info<int>("socket"));
  settle();
  CHECK(protocol->lost_calls == 1);
}

TEST_CASE_METHOD(NetTest,
                 "a transport that nobody holds lives on in its loop, and protocol and all are freed at its end") {
  std::weak_ptr<Recorder> watched;
  Peer peer;
  {
    auto protocol = std::make_shared<Recorder>();
    watched = protocol;
    peer = connect(protocol);
    protocol->transport = nullptr;
  }
  REQUIRE_FALSE(watched.expired());
  peer.send("still there");
  until([&] { return watched.lock()->received == "still there"; });
  peer.close();
  until([&] { return watched.expired(); });
}

TEST_CASE_METHOD(NetTest, "closing in connection_lost and making new connections there is allowed, 1000 times in a row",
                 "[undisturbed]") {
  const PlainListener listener;
  int count = 0;
  bool is_done = false;
  std::function<void()> connect_again = [&] {
    auto protocol = std::make_shared<Recorder>();
    protocol->on_made = [protocol = protocol.get()] { protocol->transport->abort(); };
    protocol->on_lost = [&, protocol = protocol.get()] {
      protocol->transport->close();
      if (++count < 1000)
        connect_again();
      else
        is_done = true;
    };
    loop().create_connection([protocol] { return protocol; }, "127.0.0.1", listener.port());
  };
  loop().call_soon(connect_again);
  until([&] {
    pollfd waiting{listener.fd(), POLLIN, 0};
    while (::poll(&waiting, 1, 0) == 1) Peer(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    return is_done;
  });
  CHECK(count == 1000);
  settle();
}

// Pausing.

TEST_CASE_METHOD(NetTest,
                 "pause_reading inside data_received stops it at once, resume_reading goes on; both may be repeated",
                 "[undisturbed]") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_data = [&](std::string_view) {
    protocol->transport->pause_reading();
    protocol->transport->pause_reading();
  };
  Peer peer = connect(protocol);
  CHECK(protocol->transport->is_reading());
  peer.send("one");
  until([&] { return protocol->received == "one"; });
  peer.send("two");
  settle();
  CHECK(protocol->received == "one");
  CHECK_FALSE(protocol->transport->is_reading());
  protocol->transport->resume_reading();
  protocol->transport->resume_reading();
  until([&] { return protocol->received == "onetwo"; });
  peer.close();
  settle();
  CHECK_FALSE(protocol->is_lost());  // the end, too, waits
  protocol->transport->resume_reading();
  until([&] { return protocol->is_lost(); });
}

TEST_CASE_METHOD(NetTest, "pause_reading inside connection_made holds back even what has arrived") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_made = [&] { protocol->transport->pause_reading(); };
  Peer peer = connect(protocol);
  peer.send("early");
  settle();
  CHECK(protocol->received.empty());
  protocol->transport->resume_reading();
  until([&] { return protocol->received == "early"; });
  protocol->transport->close();
  settle();
}

TEST_CASE_METHOD(NetTest, "pausing and resuming when data wait already loses nothing and repeats nothing") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) protocol->transport->pause_reading();
    peer.send(std::to_string(i) + ' ');
    if (i % 5 == 0) run_once();
    if (i % 3 == 0) protocol->transport->resume_reading();
    if (i % 7 == 0) protocol->transport->pause_reading(), protocol->transport->resume_reading();
    if (i % 2 == 0) run_once();
  }
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += std::to_string(i) + ' ';
  until([&] { return protocol->received.size() >= expected.size(); });
  CHECK(protocol->received == expected);
  protocol->transport->close();
  settle();
}

TEST_CASE_METHOD(NetTest, "a paused transport lets the kernel hold the peer back") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_made = [&] { protocol->transport->pause_reading(); };
  Peer peer = connect(protocol);
  const std::string piece(64 * 1024, 'x');
  std::size_t sent = 0;
  for (int stuck = 0; stuck < 20;) {
    const ssize_t n = ::send(peer.fd(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
      sent += static_cast<std::size_t>(n), stuck = 0;
    else
      ++stuck, run_once();
    REQUIRE(sent < 100'000'000);
  }
  CHECK(protocol->received.empty());
  protocol->transport->resume_reading();
  until([&] { return protocol->received.size() == sent; });
  protocol->transport->close();
  settle();
}

// Methods that throw.

TEST_CASE_METHOD(NetTest, "connection_made that throws is reported, and the connection is reset") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_made = [] { throw Boom(); };
  Peer peer = connect(protocol);
  until([&] { return protocol->is_lost() && peer.is_over(); });
  CHECK(protocol->trace == Trace{"made", "lost"});
  CHECK(is_boom(protocol->lost_with));
  CHECK(peer.error == ECONNRESET);
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(is_boom(reports[0].exception));
  CHECK(reports[0].message.find("connection_made") != std::string::npos);
  CHECK(reports[0].object.find("127.0.0.1:") != std::string::npos);
}

TEST_CASE_METHOD(NetTest, "data_received that throws is reported, and connection_lost carries what it threw") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_data = [](std::string_view) { throw Boom(); };
  Peer peer = connect(protocol);
  peer.send("a");
  until([&] { return protocol->is_lost(); });
  peer.send("b");
  settle();
  CHECK(protocol->trace == Trace{"made", "data", "lost"});
  CHECK(is_boom(protocol->lost_with));
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(NetTest, "eof_received that throws is reported, and ends the connection once") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_eof = [] { throw Boom(); };
  Peer peer = connect(protocol);
  peer.half_close();
  until([&] { return protocol->is_lost(); });
  settle();
  CHECK(protocol->trace == Trace{"made", "eof", "lost"});
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(NetTest, "connection_lost that throws is reported, and the socket is closed all the same") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_lost = [] { throw Boom(); };
  Peer peer = connect(protocol);
  protocol->transport->close();
  until([&] { return protocol->is_lost() && peer.is_over(); });
  CHECK(peer.has_ended);
  CHECK(take_reports().size() == 1);
  protocol->transport = nullptr;
}

TEST_CASE_METHOD(NetTest, "what pause_writing and resume_writing throw is reported, and writing goes on") {
  auto protocol = std::make_shared<Recorder>();
  protocol->on_pause = [] { throw Boom(); };
  protocol->on_resume = [] { throw Boom(); };
  Peer peer = connect(protocol);
  const std::string much = pattern(10'000'000);
  CHECK_NOTHROW(protocol->transport->write(much));
  CHECK(take_reports().size() == 1);
  until([&] { return peer.collect().size() == much.size(); });
  CHECK(same(peer.received, much));
  settle();
  CHECK(take_reports().size() == 1);
  CHECK(protocol->trace == Trace{"made", "pause", "resume"});
  protocol->transport->close();
  settle();
}

// Parking.

TEST_CASE_METHOD(NetTest, "no method of a protocol may park: the attempt throws InvalidStateError at once") {
  Trace refused;
  auto attempt = [&](const char* where) {
    try {
      tulp::sleep(1ms);
      refused.push_back(std::string(where) + " parked");
    } catch (const InvalidStateError&) {
      refused.push_back(where);
    }
    CHECK_FALSE(current_task());
  };
  auto protocol = std::make_shared<Recorder>();
  protocol->on_made = [&] { attempt("made"); };
  protocol->on_data = [&](std::string_view) { attempt("data"); };
  protocol->on_eof = [&] { attempt("eof"); };
  protocol->on_pause = [&] { attempt("pause"); };
  protocol->on_resume = [&] { attempt("resume"); };
  protocol->on_lost = [&] { attempt("lost"); };
  Peer peer = connect(protocol);
  run([&] {
    const auto transport = protocol->transport;
    transport->write(std::string(10'000'000, 'x'));  // calls pause_writing on this task's stack
    CHECK(current_task());
    sleep(0s);
  });
  CHECK(refused == Trace{"made", "pause"});
  until([&] { return peer.collect().size() == 10'000'000; });
  peer.send("x");
  until([&] { return protocol->received == "x"; });
  peer.half_close();
  until([&] { return protocol->is_lost(); });
  CHECK(refused == Trace{"made", "pause", "resume", "data", "eof", "lost"});
}

// Changing the protocol.

TEST_CASE_METHOD(NetTest, "set_protocol changes who is called; connection_made is not called again") {
  auto first = std::make_shared<Recorder>();
  auto second = std::make_shared<Recorder>();
  Peer peer = connect(first);
  const auto transport = first->transport;
  peer.send("1");
  until([&] { return first->received == "1"; });
  transport->set_protocol(second);
  CHECK(transport->get_protocol() == second);
  peer.send("2");
  until([&] { return second->received == "2"; });
  peer.close();
  until([&] { return second->is_lost(); });
  CHECK(first->trace == Trace{"made", "data"});
  CHECK(second->trace == Trace{"data", "eof", "lost"});
}

TEST_CASE_METHOD(NetTest, "set_protocol inside data_received keeps the former protocol alive until that has returned") {
  struct Upgrading : Protocol {
    void connection_made(std::shared_ptr<Transport> made) override { transport = std::move(made); }
    void data_received(std::string_view) override {
      const std::weak_ptr<Upgrading> watched = self;  // a copy, on the stack
      const auto seen = was_alive;
      transport->set_protocol(next);
      *seen = !watched.expired();
    }
    std::shared_ptr<Transport> transport;
    std::shared_ptr<Recorder> next;
    std::weak_ptr<Upgrading> self;
    std::shared_ptr<bool> was_alive;
  };
  auto second = std::make_shared<Recorder>();
  auto was_alive_inside = std::make_shared<bool>(false);
  std::weak_ptr<Upgrading> watched;
  Peer peer;
  {
    auto first = std::make_shared<Upgrading>();
    first->next = second;
    first->self = watched = first;
    first->was_alive = was_alive_inside;
    peer = connect(first);
  }
  bool was_alive = false;
  second->on_data = [&](std::string_view) { was_alive = !watched.expired(); };
  peer.send("x");
  until([&] { return watched.expired(); });
  CHECK(*was_alive_inside);
  peer.send("y");
  until([&] { return second->received == "y"; });
  CHECK_FALSE(was_alive);
  peer.close();
  until([&] { return second->is_lost(); });
}

TEST_CASE_METHOD(NetTest, "set_protocol inside connection_made does not make another connection_made") {
  auto first = std::make_shared<Recorder>();
  auto second = std::make_shared<SmallBuffer>();
  first->on_made = [&] { first->transport->set_protocol(second); };
  Peer peer = connect(first);
  CHECK(first->trace == Trace{"made"});
  CHECK(second->trace.empty());
  second->trace.push_back("set");
  peer.send("abc");
  until([&] { return second->received == "abc"; });
  peer.close();
  until([&] { return second->is_lost(); });
  CHECK(second->trace == Trace{"set", "data", "eof", "lost"});
}

TEST_CASE_METHOD(NetTest, "set_protocol refuses null") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  CHECK_THROWS_AS(protocol->transport->set_protocol(nullptr), std::invalid_argument);
  CHECK(protocol->transport->get_protocol() == protocol);
  protocol->transport->close();
  settle();
}

TEST_CASE_METHOD(NetTest, "a factory that makes no protocol fails create_connection and closes its socket") {
  const PlainListener listener;
  auto connecting = loop().create_connection([] { return std::shared_ptr<Protocol>(); }, "127.0.0.1", listener.port());
  CHECK_THROWS(loop().run_until_complete(connecting));
  Peer peer = listener.accept();
  until([&] { return peer.is_over(); });
}

TEST_CASE_METHOD(NetTest, "a factory that throws fails create_connection with what it threw") {
  const PlainListener listener;
  auto connecting =
      loop().create_connection([]() -> std::shared_ptr<Protocol> { throw Boom(); }, "127.0.0.1", listener.port());
  CHECK_THROWS_AS(loop().run_until_complete(connecting), Boom);
  Peer peer = listener.accept();
  until([&] { return peer.is_over(); });
}

// BufferedProtocol.

TEST_CASE_METHOD(NetTest,
                 "a BufferedProtocol receives into its own memory, piece by piece, in the same order of calls") {
  auto protocol = std::make_shared<SmallBuffer>();
  Peer peer = connect(protocol);
  peer.send("abcdefghij");
  peer.close();
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->received == "abcdefghij");
  CHECK(protocol->updates >= 3);  // four bytes at a time
  CHECK(protocol->trace == Trace{"made", "data", "eof", "lost"});
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(NetTest, "get_buffer that returns no memory is reported and ends the connection with that error") {
  auto protocol = std::make_shared<SmallBuffer>();
  protocol->size = 0;
  Peer peer = connect(protocol);
  peer.send("x");
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->trace == Trace{"made", "lost"});
  CHECK_THROWS_AS(std::rethrow_exception(protocol->lost_with), InvalidStateError);
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find("get_buffer") != std::string::npos);
}

TEST_CASE_METHOD(NetTest, "get_buffer and buffer_updated that throw are reported and end the connection") {
  for (const bool in_get_buffer : {true, false}) {
    auto protocol = std::make_shared<SmallBuffer>();
    (in_get_buffer ? protocol->on_get_buffer : protocol->on_updated) = [] { throw Boom(); };
    Peer peer = connect(protocol);
    peer.send("x");
    until([&] { return protocol->is_lost(); });
    CHECK(is_boom(protocol->lost_with));
    CHECK(take_reports().size() == 1);
  }
}

TEST_CASE_METHOD(NetTest, "a BufferedProtocol that closes or pauses inside get_buffer receives nothing more") {
  for (const bool is_close : {true, false}) {
    auto protocol = std::make_shared<SmallBuffer>();
    Peer peer = connect(protocol);
    settle();
    peer.send("x");
    protocol->on_get_buffer = [&, is_close] {
      is_close ? protocol->transport->close() : protocol->transport->pause_reading();
    };
    settle();
    CHECK(protocol->received.empty());
    protocol->on_get_buffer = nullptr;
    if (!is_close) {
      protocol->transport->resume_reading();
      until([&] { return protocol->received == "x"; });
      protocol->transport->close();
    }
    settle();
    CHECK(protocol->is_lost());
  }
}

TEST_CASE_METHOD(NetTest, "a one-method echo is a whole protocol") {
  struct Echo : Protocol {
    void connection_made(std::shared_ptr<Transport> made) override { transport = made; }
    void data_received(std::string_view data) override { transport.lock()->write(data); }
    std::weak_ptr<Transport> transport;
  };
  Peer peer = connect(std::make_shared<Echo>());
  peer.send("echo");
  until([&] { return peer.collect() == "echo"; });
  peer.half_close();
  until([&] { return peer.is_over(); });
  CHECK(peer.has_ended);
  settle();
}
