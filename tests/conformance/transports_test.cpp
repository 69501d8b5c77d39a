// Writing to a transport, its flow control and its ends: semantics rows 62 to 71.
#include <tulp/protocol.hpp>
#include <tulp/run.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// A transport whose kernel buffers are so small that most of a write stays with tulp.
class Writing : public NetTest {
 public:
  Writing() : peer(connect(protocol, 4096)) {
    transport = protocol->transport;
    const int small = 4096;
    ::setsockopt(*transport->get_extra_info<int>("socket"), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  }
  /// Ends the connection, so that nothing is left for the end of the loop to flush.
  void end() {
    transport->abort();
    until([&] { return protocol->is_lost(); });
  }
  /// As many bytes as it takes for `bytes` of them to be left with tulp.
  void fill(std::size_t bytes) {
    const std::string piece(1024, '.');
    while (transport->get_write_buffer_size() == 0) transport->write(piece);
    const std::size_t now = transport->get_write_buffer_size();
    REQUIRE(now <= bytes);
    transport->write(std::string(bytes - now, '.'));
    REQUIRE(transport->get_write_buffer_size() == bytes);
  }

  std::shared_ptr<Recorder> protocol = std::make_shared<Recorder>();
  Peer peer;
  std::shared_ptr<Transport> transport;
};

}  // namespace

// Writing.

TEST_CASE_METHOD(Writing, "write sends at once what the kernel takes, before the loop runs again") {
  transport->write("hello");
  CHECK(transport->get_write_buffer_size() == 0);
  if (kind() == LoopKind::io_uring) run_once();  // that sends it in the call that waits
  CHECK(peer.collect() == "hello");
  end();
}

TEST_CASE_METHOD(Writing, "writes of every size arrive whole and in order") {
  std::string expected;
  for (std::size_t size : {1, 0, 10, 1000, 4096, 65536, 3, 200'000, 0, 1}) {
    const std::string piece = pattern(size, static_cast<std::uint32_t>(size + 1));
    transport->write(piece);
    expected += piece;
  }
  until([&] { return peer.collect().size() >= expected.size(); });
  CHECK(same(peer.received, expected));
  end();
}

TEST_CASE_METHOD(Writing, "writelines is the same as its pieces one after another, empty ones included") {
  const std::vector<std::string_view> none;
  transport->writelines(none);
  const std::vector<std::string_view> pieces{"a", "", "bc", "", "", "def"};
  transport->writelines(pieces);
  until([&] { return peer.collect() == "abcdef"; });
  end();
}

TEST_CASE_METHOD(Writing, "writelines observes the high-water mark") {
  const std::string piece(50'000, 'x');
  const std::vector<std::string_view> pieces{piece, piece, piece};
  transport->writelines(pieces);
  CHECK(protocol->trace == Trace{"made", "pause"});
  end();
}

TEST_CASE_METHOD(Writing, "100000 tiny writes keep their order", "[undisturbed]") {
  std::string expected;
  for (int i = 0; i < 100'000; ++i) {
    const std::string number = std::to_string(i) + ' ';
    transport->write(number);
    expected += number;
  }
  until([&] { return peer.collect().size() >= expected.size(); });
  CHECK(same(peer.received, expected));
  end();
}

TEST_CASE_METHOD(Writing, "an empty write does nothing at all, also above the high-water mark") {
  fill(100'000);
  const auto before = protocol->trace;
  transport->write("");
  CHECK(transport->get_write_buffer_size() == 100'000);
  CHECK(protocol->trace == before);
  end();
}

TEST_CASE_METHOD(Writing, "write after close throws InvalidStateError, whether or not something is still to be sent") {
  SECTION("nothing is left to send") {
    transport->close();
    CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
    const std::string_view pieces[] = {"x", "y"};
    CHECK_THROWS_AS(transport->writelines(pieces), InvalidStateError);
    settle();
    CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
    CHECK(peer.collect().empty());
  }
  SECTION("something is") {
    fill(10'000);
    transport->close();
    CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
    until([&] { return peer.is_over(); });
    CHECK(peer.received.find('x') == std::string::npos);
    CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
  }
  end();
}

TEST_CASE_METHOD(Writing, "write after write_eof throws InvalidStateError, whether or not the end has been sent") {
  SECTION("at once") { transport->write_eof(); }
  SECTION("with bytes before it") {
    fill(10'000);
    transport->write_eof();
  }
  CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
  until([&] { return peer.is_over(); });
  CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
  CHECK(peer.has_ended);
  CHECK(peer.received.find('x') == std::string::npos);
  end();
}

TEST_CASE_METHOD(Writing, "10 MB are flushed before the end that write_eof sends") {
  const std::string much = pattern(10'000'000);
  transport->write(much);
  transport->write_eof();
  CHECK(transport->get_write_buffer_size() > 0);
  until([&] { return peer.is_over(); });
  CHECK(same(peer.received, much));
  CHECK(peer.has_ended);
  CHECK_FALSE(transport->is_closing());
  peer.send("still heard");
  until([&] { return protocol->received == "still heard"; });
  end();
}

TEST_CASE_METHOD(Writing, "close flushes 10 MB to a slow reader, and then connection_lost says null") {
  const std::string much = pattern(10'000'000);
  transport->write(much);
  transport->close();
  CHECK(transport->is_closing());
  std::size_t turns = 0;
  until([&] {
    if (++turns % 3 == 0) peer.collect(64 * 1024);
    if (peer.received.size() < much.size() / 2) CHECK_FALSE(protocol->is_lost());
    return peer.has_ended;
  });
  CHECK(same(peer.received, much));
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(Writing, "write_eof and close one after the other, in both orders, lose nothing") {
  const std::string much = pattern(1'000'000);
  transport->write(much);
  SECTION("write_eof first") {
    transport->write_eof();
    transport->close();
  }
  SECTION("close first") {
    transport->close();
    CHECK_NOTHROW(transport->write_eof());
  }
  until([&] { return peer.is_over() && protocol->is_lost(); });
  CHECK(same(peer.received, much));
  CHECK(peer.has_ended);
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(Writing, "abort drops what is buffered, sends a reset, and connection_lost says null") {
  fill(100'000);
  transport->abort();
  CHECK(transport->get_write_buffer_size() == 0);
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->lost_with == nullptr);
  CHECK(protocol->trace == Trace{"made", "pause", "lost"});  // a paused protocol is not resumed
  until([&] { return peer.is_over(); });
  CHECK(peer.error == ECONNRESET);
}

TEST_CASE_METHOD(Writing, "close and abort may be called twice, and after the end") {
  const bool is_abort = GENERATE(false, true);
  for (int i = 0; i < 3; ++i) {
    is_abort ? transport->abort() : transport->close();
    is_abort ? transport->abort() : transport->close();
    transport->write_eof();  // nothing, after that
    until([&] { return protocol->is_lost(); });
  }
  CHECK(protocol->lost_calls == 1);
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(Writing, "abort after close cuts the flushing short") {
  fill(100'000);
  transport->close();
  settle();
  CHECK_FALSE(protocol->is_lost());
  transport->abort();
  until([&] { return protocol->is_lost() && peer.is_over(); });
  CHECK(peer.error == ECONNRESET);
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(Writing, "a peer that goes away while a closing transport flushes shows in connection_lost") {
  fill(100'000);
  transport->close();
  peer.reset();
  until([&] { return protocol->is_lost(); });
  CHECK((errno_of(protocol->lost_with) == ECONNRESET || errno_of(protocol->lost_with) == EPIPE));
}

TEST_CASE_METHOD(Writing, "a write never throws what the connection suffers: it shows in connection_lost") {
  transport->pause_reading();
  peer.reset();
  CHECK_NOTHROW(transport->write("x"));
  CHECK_NOTHROW(transport->write("y"));
  until([&] { return protocol->is_lost(); });
  CHECK((errno_of(protocol->lost_with) == ECONNRESET || errno_of(protocol->lost_with) == EPIPE));
  CHECK(protocol->lost_calls == 1);
}

TEST_CASE_METHOD(Writing, "what is written after a loss is dropped, with one warning at the fifth time") {
  peer.reset();
  until([&] { return protocol->is_lost(); });
  for (int i = 0; i < 4; ++i) transport->write("x");
  CHECK(report_count() == 0);
  transport->write("x");
  CHECK(report_count() == 1);
  for (int i = 0; i < 10; ++i) transport->write("x");
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find("127.0.0.1:") != std::string::npos);
  CHECK(transport->get_write_buffer_size() == 0);
}

TEST_CASE_METHOD(Writing, "writing from inside pause_writing and resume_writing keeps the order") {
  protocol->on_pause = [&] { transport->write("P"); };
  protocol->on_resume = [&] {
    if (protocol->trace.size() < 5) transport->write("R");
  };
  const std::string much(300'000, '.');
  transport->write(much);
  until([&] { return peer.collect().size() == much.size() + 2; });
  CHECK(peer.received.substr(much.size()) == "PR");
  end();
}

TEST_CASE_METHOD(Writing, "closing and aborting inside pause_writing is allowed") {
  SECTION("close") {
    protocol->on_pause = [&] { transport->close(); };
    const std::string much(300'000, '.');
    transport->write(much);
    until([&] { return peer.is_over(); });
    CHECK(peer.received.size() == much.size());
  }
  SECTION("abort") {
    protocol->on_pause = [&] { transport->abort(); };
    transport->write(std::string(300'000, '.'));
  }
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->lost_calls == 1);
}

// Flow control.

TEST_CASE_METHOD(Writing,
                 "pause_writing comes above the high-water mark, inside write; resume_writing at the low one") {
  fill(64 * 1024);
  CHECK(protocol->trace == Trace{"made"});  // at the mark, not above it
  transport->write("x");
  CHECK(protocol->trace == Trace{"made", "pause"});
  transport->write(std::string(100'000, 'x'));
  CHECK(protocol->trace == Trace{"made", "pause"});  // never nested
  std::size_t at_resume = 0;
  protocol->on_resume = [&] { at_resume = transport->get_write_buffer_size(); };
  until([&] {
    const bool is_resumed = protocol->trace.back() == "resume";
    if (!is_resumed) CHECK(transport->get_write_buffer_size() > 16 * 1024);
    peer.collect(8 * 1024);
    return is_resumed;
  });
  CHECK(at_resume <= 16 * 1024);
  transport->write(std::string(100'000, 'x'));
  until([&] { return peer.collect(), transport->get_write_buffer_size() == 0; });
  CHECK(protocol->trace == Trace{"made", "pause", "resume", "pause", "resume"});
  end();
}

TEST_CASE_METHOD(Writing, "one limit gives the other: low is a quarter of high, high four times low") {
  SECTION("high alone") {
    transport->set_write_buffer_limits({.high_bytes = 4000});
    fill(4000);
    CHECK(protocol->trace == Trace{"made"});
    transport->write("x");
    CHECK(protocol->trace.back() == "pause");
  }
  SECTION("low alone") {
    transport->set_write_buffer_limits({.low_bytes = 2000});
    fill(8000);
    CHECK(protocol->trace == Trace{"made"});
    transport->write("x");
    CHECK(protocol->trace.back() == "pause");
  }
  SECTION("neither brings back the defaults") {
    transport->set_write_buffer_limits({.high_bytes = 1});
    transport->set_write_buffer_limits({});
    fill(64 * 1024);
    CHECK(protocol->trace == Trace{"made"});
    transport->write("x");
    CHECK(protocol->trace.back() == "pause");
  }
  end();
}

TEST_CASE_METHOD(Writing, "get_write_buffer_limits gives both marks, also the one that followed from the other") {
  auto check = [&](std::size_t low, std::size_t high) {
    const WriteBufferLimits limits = transport->get_write_buffer_limits();
    CHECK(limits.low_bytes == low);
    CHECK(limits.high_bytes == high);
  };
  check(16 * 1024, 64 * 1024);
  transport->set_write_buffer_limits({.high_bytes = 4000});
  check(1000, 4000);
  transport->set_write_buffer_limits({.low_bytes = 10});
  check(10, 40);
  CHECK_THROWS_AS(transport->set_write_buffer_limits({.high_bytes = 10, .low_bytes = 11}), std::invalid_argument);
  check(10, 40);
  end();
}

TEST_CASE_METHOD(Writing, "the low-water mark that was set decides when writing resumes") {
  transport->set_write_buffer_limits({.high_bytes = 100'000, .low_bytes = 90'000});
  fill(100'001);
  CHECK(protocol->trace.back() == "pause");
  std::size_t at_resume = 0;
  protocol->on_resume = [&] { at_resume = transport->get_write_buffer_size(); };
  until([&] { return peer.collect(4096), protocol->trace.back() == "resume"; });
  CHECK(at_resume <= 90'000);
  CHECK(at_resume > 16 * 1024);
  end();
}

TEST_CASE_METHOD(Writing, "writing resumes at the low-water mark that follows from the high one, and not before") {
  transport->set_write_buffer_limits({.high_bytes = 80'000});
  fill(80'001);
  std::size_t at_resume = 0;
  protocol->on_resume = [&] { at_resume = transport->get_write_buffer_size(); };
  until([&] {
    if (protocol->trace.back() == "pause") CHECK(transport->get_write_buffer_size() > 20'000);
    return peer.collect(2048), protocol->trace.back() == "resume";
  });
  CHECK(at_resume <= 20'000);
  CHECK(at_resume > 5'000);
  end();
}

TEST_CASE_METHOD(Writing, "with a high-water mark of 0 every byte that is queued pauses, and an empty queue resumes") {
  transport->set_write_buffer_limits({.high_bytes = 0});
  transport->write("taken by the kernel at once");
  CHECK(protocol->trace == Trace{"made"});
  while (transport->get_write_buffer_size() == 0) transport->write(std::string(1000, 'x'));
  CHECK(protocol->trace == Trace{"made", "pause"});
  protocol->on_resume = [&] { CHECK(transport->get_write_buffer_size() == 0); };
  until([&] { return peer.collect(), protocol->trace.back() == "resume"; });
  end();
}

TEST_CASE_METHOD(Writing, "a low-water mark above the high one is refused, and the limits stay") {
  CHECK_THROWS_AS(transport->set_write_buffer_limits({.high_bytes = 10, .low_bytes = 11}), std::invalid_argument);
  CHECK_THROWS_AS(transport->set_write_buffer_limits({.low_bytes = static_cast<std::size_t>(-1)}),
                  std::invalid_argument);
  fill(64 * 1024);
  CHECK(protocol->trace == Trace{"made"});
  end();
}

TEST_CASE_METHOD(Writing, "lowering the limits below what is queued pauses at once") {
  fill(10'000);
  transport->set_write_buffer_limits({.high_bytes = 5'000});
  CHECK(protocol->trace == Trace{"made", "pause"});
  end();
}

TEST_CASE_METHOD(Writing, "raising the low-water mark above what is queued resumes at once") {
  transport->set_write_buffer_limits({.high_bytes = 40'000});
  fill(40'001);
  REQUIRE(protocol->trace.back() == "pause");
  transport->set_write_buffer_limits({.high_bytes = 200'000, .low_bytes = 100'000});
  CHECK(protocol->trace.back() == "resume");
  end();
}

TEST_CASE_METHOD(Writing, "get_write_buffer_size counts what the kernel has not taken") {
  CHECK(transport->get_write_buffer_size() == 0);
  fill(5'000);
  transport->write("12345");
  CHECK(transport->get_write_buffer_size() == 5'005);
  until([&] { return peer.collect(), transport->get_write_buffer_size() == 0; });
  end();
}

// What is known of a transport.

TEST_CASE_METHOD(Writing, "get_extra_info knows sockname, peername and socket, and nothing else") {
  const auto sockname = transport->get_extra_info<Address>("sockname");
  const auto peername = transport->get_extra_info<Address>("peername");
  const auto socket = transport->get_extra_info<int>("socket");
  REQUIRE((sockname && peername && socket));
  sockaddr_in own{}, others{};
  socklen_t size = sizeof own;
  REQUIRE(::getsockname(*socket, reinterpret_cast<sockaddr*>(&own), &size) == 0);
  REQUIRE(::getsockname(peer.fd(), reinterpret_cast<sockaddr*>(&others), &size) == 0);
  CHECK(sockname->to_string() == "127.0.0.1:" + std::to_string(ntohs(own.sin_port)));
  CHECK(peername->to_string() == "127.0.0.1:" + std::to_string(ntohs(others.sin_port)));
  CHECK_FALSE(transport->get_extra_info("nothing of that name").has_value());
  CHECK_FALSE(transport->get_extra_info<int>("sockname"));  // another type
  end();
}

TEST_CASE_METHOD(Writing, "in connection_lost all is still known of a transport, and after it who the peer was") {
  const auto peername = transport->get_extra_info<Address>("peername").value();
  protocol->on_lost = [&] {
    CHECK(transport->get_extra_info<Address>("peername") == peername);
    CHECK(transport->get_extra_info<Address>("sockname").has_value());
    CHECK(transport->get_extra_info<int>("socket").has_value());
  };
  end();
  CHECK(protocol->lost_calls == 1);
  CHECK(transport->get_extra_info<Address>("peername") == peername);
  CHECK_FALSE(transport->get_extra_info<Address>("sockname"));
  CHECK_FALSE(transport->get_extra_info<int>("socket"));
}

TEST_CASE_METHOD(Writing, "a transport's socket is non-blocking, close-on-exec and without delay") {
  const int socket = *transport->get_extra_info<int>("socket");
  CHECK((::fcntl(socket, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(socket, F_GETFD) & FD_CLOEXEC) != 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  CHECK(::getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
  CHECK(no_delay == 1);
  end();
}

TEST_CASE_METHOD(Writing, "the user cannot watch a transport's socket") {
  const int socket = *transport->get_extra_info<int>("socket");
  CHECK_THROWS_AS(loop().add_reader(socket, [] {}), InvalidStateError);
  CHECK_THROWS_AS(loop().add_writer(socket, [] {}), InvalidStateError);
  transport->write("unharmed");
  until([&] { return peer.collect() == "unharmed"; });
  end();
}

TEST_CASE_METHOD(Writing, "SIGPIPE is never raised") {
  const auto former = ::signal(SIGPIPE, SIG_DFL);  // the process would be dead
  protocol->keeps_writing = true;
  peer.close();
  until([&] { return protocol->trace.back() == "eof"; });
  until([&] {
    transport->write("x");
    return protocol->is_lost();
  });
  CHECK(errno_of(protocol->lost_with) != 0);
  static_cast<void>(take_reports());  // of writes after the loss
  ::signal(SIGPIPE, former);
}

// The end of the loop.

TEST_CASE("the end of run flushes what open transports have accepted, and every connection_lost runs") {
  const auto selector = any_selector();
  const PlainListener listener;
  auto protocol = std::make_shared<Recorder>();
  Peer peer;
  const std::string much = pattern(3'000'000);
  std::thread reader;
  run(
      [&] {
        await(get_event_loop().create_connection([&] { return protocol; }, "127.0.0.1", listener.port()));
        peer = listener.accept();
        protocol->transport->write(much);
        reader = std::thread([&] {
          char buffer[65536];
          for (ssize_t n; (n = ::recv(peer.fd(), buffer, sizeof buffer, 0)) > 0;)
            peer.received.append(buffer, static_cast<std::size_t>(n));
        });
      },
      {.loop = {.selector = selector}});
  reader.join();
  CHECK(same(peer.received, much));
  CHECK(protocol->lost_calls == 1);
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE("the end of run reports how much was not sent to whom, aborts, and does not hang") {
  const auto selector = any_selector();
  const PlainListener listener(4096);
  auto protocol = std::make_shared<Recorder>();
  std::vector<ExceptionContext> reports;
  Peer peer;
  std::string peer_name;
  std::size_t unsent = 0;
  run(
      [&] {
        get_event_loop().set_exception_handler(
            [&](EventLoop&, const ExceptionContext& report) { reports.push_back(report); });
        await(get_event_loop().create_connection([&] { return protocol; }, "127.0.0.1", listener.port()));
        peer = listener.accept();
        protocol->transport->write(std::string(10'000'000, 'x'));
        unsent = protocol->transport->get_write_buffer_size();
        peer_name = protocol->transport->get_extra_info<Address>("peername")->to_string();
      },
      {.loop = {.selector = selector}, .drain = 20ms});
  CHECK(protocol->lost_calls == 1);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find(" bytes to " + peer_name + " were not sent") != std::string::npos);
  CHECK(std::stoul(reports[0].message) <= unsent);
  CHECK(std::stoul(reports[0].message) > unsent / 2);
  peer.collect();
  CHECK(peer.error == ECONNRESET);
}

TEST_CASE_METHOD(NetTest, "a transport that ended while its writing was paused takes new water marks quietly") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  const auto transport = protocol->transport;
  transport->write(std::string(16'000'000, 'x'));
  CHECK(protocol->trace.back() == "pause");
  transport->abort();
  settle();
  CHECK(protocol->is_lost());
  transport->set_write_buffer_limits({.high_bytes = 1});
  CHECK(protocol->trace.back() == "lost");
}

TEST_CASE_METHOD(
    NetTest, "a socket that is closed while a duplicate lives on, in a forked child for example, is heard of no more") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  peer.send("early");
  until([&] { return protocol->received == "early"; });  // or it would linger
  const int duplicate = ::dup(*protocol->transport->get_extra_info<int>("socket"));
  protocol->transport->close();
  settle();
  auto next = std::make_shared<Recorder>();
  Peer next_peer = connect(next);  // its number, as a rule
  peer.send("late");
  settle();
  CHECK(next->trace == Trace{"made"});
  next_peer.send("hello");
  until([&] { return next->received == "hello"; });
  next->transport->close();
  settle();
  CHECK(take_reports().empty());
  ::close(duplicate);
}

TEST_CASE_METHOD(NetTest, "a loop that is closed by hand closes its transports first, and runs every connection_lost") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  protocol->transport->write("goodbye");
  loop().close();
  CHECK(protocol->trace == Trace{"made", "lost"});
  CHECK(peer.is_over());
  CHECK(peer.received == "goodbye");
}

TEST_CASE_METHOD(NetTest, "a task that connection_lost starts while the loop closes is ended too, and nothing leaks") {
  auto protocol = std::make_shared<Recorder>();
  bool has_ended = false;
  protocol->on_lost = [&] {
    create_task([&] {
      struct AtEnd {
        bool& flag;
        ~AtEnd() { flag = true; }
      } const at_end{has_ended};
      tulp::sleep(1h);
    });
  };
  Peer peer = connect(protocol);
  settle();
  loop().close();
  CHECK(protocol->is_lost());
  CHECK(loop().tasks().empty());
  static_cast<void>(take_reports());  // a task that was never begun may be named
}
