#include "testing/test_selector.hpp"

#include <tulp/testing/run.hpp>
#include <tulp/tulp.hpp>

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <thread>

#include "base/sys.hpp"
#include "base/unique_fd.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;
using testing::new_test_loop;
using testing::TestOptions;

namespace {

TestOptions seeded(std::uint64_t seed, SelectorKind selector) {
  return {.seed = seed, .deadlock_after = 1s, .loop = {.selector = selector}};
}

/// Both ends of something.
struct Pair {
  static Pair of_sockets(int type) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  static Pair of_pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  UniqueFd here, there;
};

/// Watches a descriptor as a transport does, and counts what it is told.
class Watched final : public Runnable {
 public:
  Watched(EventLoop& loop, int fd, Direction direction, std::function<void()> f)
      : loop_(loop), watch_(fd, FdWatch::Mode::once), direction_(direction), function_(std::move(f)) {
    loop_.add_fd(watch_);
    arm();
  }
  ~Watched() { loop_.remove_fd(watch_); }
  void run() noexcept override { function_(); }
  void arm() { watch_.arm(loop_, direction_, *this); }
  FdWatch& watch() { return watch_; }

 private:
  EventLoop& loop_;
  FdWatch watch_;
  Direction direction_;
  std::function<void()> function_;
};

/// What a server with two clients did, step by step.
Trace trace_of_echo(const TestOptions& options) {
  Trace trace;
  testing::run(
      [&] {
        Server server = start_server(
            [&](StreamReader reader, StreamWriter writer) {
              for (;;) {
                const std::string data = reader.read(100);
                trace.push_back("server " + std::to_string(data.size()));
                if (data.empty()) return;
                writer.write(data);
              }
            },
            "127.0.0.1", 0);
        const auto client = [&](const std::string& name) {
          auto streams = open_connection("127.0.0.1", server.addresses().front().port());
          for (int i = 0; i < 20; ++i) {
            streams.writer.write(name + std::string(50, '.') + '\n');
            trace.push_back(name + ' ' + std::to_string(streams.reader.readline().size()));
            sleep(1ms);
          }
        };
        auto first = create_task(client, "first");
        client("second");
        await(first);
      },
      options);
  return trace;
}

}  // namespace

TEST_CASE("a seed gives the same run each time, and seeds give many runs") {
  const SelectorKind selector = any_selector();
  std::set<Trace> traces;
  for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6}) {
    const Trace trace = trace_of_echo(seeded(seed, selector));
    CHECK(trace_of_echo(seeded(seed, selector)) == trace);
    traces.insert(trace);
  }
  CHECK(traces.size() >= 5);
}

TEST_CASE("no seed changes the order of call_soon or of equal timers") {
  const SelectorKind selector = any_selector();
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const auto loop = new_test_loop(seeded(seed, selector));
    std::vector<int> order;
    const TimePoint due = loop->time() + 1ms;
    for (int i = 0; i < 10; ++i) loop->call_at(due, [&, i] { order.push_back(10 + i); });
    for (int i = 0; i < 10; ++i) loop->call_soon([&, i] { order.push_back(i); });
    loop->call_later(2ms, [&] { loop->stop(); });
    loop->run_forever();
    std::vector<int> expected(20);
    for (int i = 0; i < 20; ++i) expected[static_cast<std::size_t>(i)] = i;
    CHECK(order == expected);
  }
}

TEST_CASE("reads and writes come in other pieces with each seed, none is lost, and nobody waits for ever") {
  const SelectorKind selector = any_selector();
  const std::string data = pattern(50'000);
  std::set<std::vector<std::size_t>> runs;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<std::size_t> pieces;
    testing::run(
        [&] {
          const PlainListener listener;
          auto to_peer = open_connection("127.0.0.1", listener.port());
          Peer peer = listener.accept();
          peer.send(data);
          peer.half_close();
          std::string received;
          while (!to_peer.reader.at_eof()) {
            const std::string piece = to_peer.reader.read(100'000);
            pieces.push_back(piece.size());
            received += piece;
          }
          CHECK(same(received, data));
          to_peer.writer.write(data);
          to_peer.writer.close();
          to_peer.writer.wait_closed();
          CHECK(same(peer.collect(), data));
        },
        seeded(seed, selector));
    runs.insert(pieces);
  }
  CHECK(runs.size() >= 10);
}

TEST_CASE("descriptors that are ready in one poll are reported in any order, each once") {
  const SelectorKind selector = any_selector();
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto loop = new_test_loop(seeded(seed, selector));
    std::vector<Pair> pairs;
    std::vector<int> order;
    for (int i = 0; i < 4; ++i) {
      pairs.push_back(Pair::of_pipe());
      loop->add_reader(pairs.back().here.get(), [&, i] { order.push_back(i); });
      REQUIRE(::write(pairs.back().there.get(), "x", 1) == 1);
    }
    loop->stop();
    loop->run_forever();
    CHECK(std::set<int>(order.begin(), order.end()) == std::set<int>{0, 1, 2, 3});
    CHECK(order.size() == 4);
    orders.insert(order);
    for (const Pair& pair : pairs) loop->remove_reader(pair.here.get());
  }
  CHECK(orders.size() >= 5);
}

TEST_CASE("a descriptor of the library may be reported when it is not ready; one of the user never is") {
  const SelectorKind selector = any_selector();
  int false_reports = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto loop = new_test_loop(seeded(seed, selector));
    loop->set_exception_handler([](EventLoop&, const ExceptionContext& context) { FAIL(context.message); });
    const Pair own = Pair::of_sockets(SOCK_STREAM), users = Pair::of_sockets(SOCK_STREAM);
    {
      Watched* armed = nullptr;
      Watched watched(*loop, own.here.get(), Direction::read, [&] { ++false_reports, armed->arm(); });
      armed = &watched;
      loop->add_reader(users.here.get(), [] { FAIL("reported, and not ready"); });
      for (int i = 0; i < 20; ++i) testing::advance_time(*loop, 1ms);
    }
    loop->remove_reader(users.here.get());
  }
  CHECK(false_reports > 0);
}

TEST_CASE("what other threads post arrives once, in order, in one of the next iterations") {
  const SelectorKind selector = any_selector();
  std::set<int> iterations;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto loop = new_test_loop(seeded(seed, selector));
    Trace trace;
    int iteration = 0;
    std::function<void()> count = [&] {
      if (!trace.empty()) return loop->stop();
      ++iteration;
      loop->call_soon(count);
    };
    loop->call_soon([&] {
      std::thread([&] {
        loop->call_soon_threadsafe([&] { trace.push_back("first"); });
        loop->call_soon_threadsafe([&] { trace.push_back("second"); });
      }).join();
      count();
    });
    loop->run_forever();
    CHECK(trace == Trace{"first", "second"});
    iterations.insert(iteration);
  }
  CHECK(iterations.size() >= 2);
}

TEST_CASE("a message is never cut, nor what a pipe takes whole") {
  const SelectorKind selector = any_selector();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto loop = new_test_loop(seeded(seed, selector));
    const Pair sockets = Pair::of_sockets(SOCK_SEQPACKET), pipe = Pair::of_pipe();
    const std::string message(PIPE_BUF, 'm');
    std::array<char, 2 * PIPE_BUF> memory;
    int sent = 0, received = 0, written = 0;
    Watched *sender = nullptr, *receiver = nullptr, *writer = nullptr;
    const auto count = [&](ssize_t size, int& moved, Watched& watched) {
      if (size < 0) {
        CHECK(errno == EAGAIN);
        return watched.arm();
      }
      CHECK(size == PIPE_BUF);
      if (++moved < 5) loop->post(watched);
    };
    Watched sending(*loop, sockets.here.get(), Direction::write, [&] {
      count(sys.send(sockets.here.get(), message.data(), message.size(), MSG_NOSIGNAL), sent, *sender);
    });
    Watched receiving(*loop, sockets.there.get(), Direction::read, [&] {
      count(sys.recv(sockets.there.get(), memory.data(), memory.size(), 0), received, *receiver);
    });
    Watched writing(*loop, pipe.there.get(), Direction::write,
                    [&] { count(sys.write(pipe.there.get(), message.data(), message.size()), written, *writer); });
    sender = &sending, receiver = &receiving, writer = &writing;
    testing::advance_time(*loop, 1s);
    CHECK(sent == 5);
    CHECK(received == 5);
    CHECK(written == 5);
  }
}
