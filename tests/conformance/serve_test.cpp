// Servers on several loops in several threads: start_workers() and serve().
#include <tulp/error.hpp>
#include <tulp/run.hpp>
#include <tulp/serve.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/process.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

// Handlers run in other threads, where nothing may be checked: they count, or answer.

void echo_lines(StreamReader reader, StreamWriter writer) {
  for (const std::string& line : reader.lines()) writer.write(line);
}

void say_thread(StreamReader, StreamWriter writer) { writer.write(std::to_string(::gettid())); }

/// Says which copy of the first one it is, and whether it is called as it should be.
struct CountedHandler {
  CountedHandler() = default;
  CountedHandler(const CountedHandler&) : number(++copies) {}
  void operator()(StreamReader, StreamWriter writer) const {
    writer.write(std::to_string(number) + (current_task() && get_running_loop() != nullptr ? " task" : " ?"));
  }
  int number = 0;
  static inline std::atomic<int> copies = 0;
};

/// Until the other side closes.
std::string all_from(Peer peer) {
  while (!peer.is_over()) std::this_thread::sleep_for(100us);
  CHECK(peer.error == 0);
  return peer.received;
}

/// Sends a line and gets it back.
void exchange_line(Peer& peer, std::string_view line) {
  peer.received.clear();
  peer.send(line);
  while (!peer.is_over() && peer.received.size() < line.size()) std::this_thread::sleep_for(100us);
  CHECK(peer.received == line);
}

class ServeTest : private WarmSignals, public NetTest {
 public:
  /// The kernel counts a thread for a moment after it has been joined.
  ~ServeTest() noexcept(false) {
    wait_for_threads(thread_count_);
    CHECK(thread_count() == thread_count_);
  }

  /// With workers whose loops are of the kind that is being tested.
  ServeOptions with_workers(std::size_t count) const {
    ServeOptions options{.workers = count};
    if (kind() == LoopKind::poll) options.loop.selector = SelectorKind::poll;
    if (kind() == LoopKind::select) options.loop.selector = SelectorKind::select;
    return options;
  }
  /// Stops `workers` and waits until they have ended.
  static void end(Workers workers) {
    workers.stop();
    workers.wait_closed();
    CHECK(workers.statistics().connections_open == 0);
  }

 private:
  static std::size_t count_threads() {
    pid_t first = 0;
    std::thread([&first] { first = ::gettid(); }).join();  // with which a sanitizer starts one of its own
    while (std::filesystem::exists("/proc/self/task/" + std::to_string(first))) std::this_thread::yield();
    return thread_count();
  }
  std::size_t thread_count_ = count_threads();
};

bool is_termination_handled() {
  struct sigaction action {};
  ::sigaction(SIGTERM, nullptr, &action);
  return action.sa_handler != SIG_DFL;
}

}  // namespace

// Serving.

TEST_CASE_METHOD(ServeTest, "workers share one port, and each of them gets connections") {
  run([&] {
    Workers workers = start_workers(say_thread, "127.0.0.1", 0, with_workers(3));
    CHECK(workers.size() == 3);
    REQUIRE(workers.addresses().size() == 1);
    std::set<std::string> threads;
    int count = 0;
    for (; threads.size() < 3 && count < 1000; ++count) threads.insert(all_from(Peer::connect(workers.port())));
    CHECK(threads.size() == 3);
    CHECK(threads.count(std::to_string(::gettid())) == 0);
    for (const ServeStatistics& worker : workers.worker_statistics()) CHECK(worker.connections_accepted > 0);
    CHECK(workers.statistics().connections_accepted == static_cast<std::uint64_t>(count));
    end(workers);
  });
}

TEST_CASE_METHOD(ServeTest, "each worker calls a copy of the handler, as tasks of a loop of its own") {
  run([&] {
    Workers workers = start_workers(CountedHandler(), "127.0.0.1", 0, with_workers(2));
    std::set<std::string> answers;
    for (int i = 0; i < 1000 && answers.size() < 2; ++i) answers.insert(all_from(Peer::connect(workers.port())));
    CHECK(answers.size() == 2);
    for (const std::string& answer : answers) CHECK(answer.ends_with(" task"));
    end(workers);
  });
}

TEST_CASE_METHOD(ServeTest, "the statistics are the sums of all workers, to the byte") {
  run([&] {
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0, with_workers(3));
    const std::string line(999, 'x');
    {
      std::vector<Peer> peers;
      for (int i = 0; i < 20; ++i) {
        peers.push_back(Peer::connect(workers.port()));
        exchange_line(peers.back(), line + '\n');
      }
      while (workers.statistics().bytes_sent < 20'000) std::this_thread::sleep_for(100us);  // received, and not counted
      const ServeStatistics now = workers.statistics();
      CHECK(now.connections_accepted == 20);
      CHECK(now.connections_open == 20);
      CHECK(now.bytes_received == 20'000);
      CHECK(now.bytes_sent == 20'000);
    }
    while (workers.statistics().connections_open > 0) std::this_thread::sleep_for(100us);
    end(workers);
    const ServeStatistics last = workers.statistics();
    CHECK(last.connections_accepted == 20);
    CHECK(last.bytes_received == 20'000);
    CHECK(last.bytes_sent == 20'000);
    CHECK(last.cut_off == 0);
    std::uint64_t sum = 0;
    for (const ServeStatistics& worker : workers.worker_statistics()) sum += worker.bytes_received;
    CHECK(sum == 20'000);
  });
}

TEST_CASE_METHOD(ServeTest, "without a number there is a worker for each processor") {
  run([&] {
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0);
    CHECK(workers.size() == std::max(1U, std::thread::hardware_concurrency()));
    end(workers);
  });
}

TEST_CASE_METHOD(ServeTest, "a handler that throws is reported in its worker, and the next connection is served") {
  static std::atomic<int> reports;
  reports = 0;
  run([&] {
    ServeOptions options = with_workers(2);
    options.on_start = [] {
      get_event_loop().set_exception_handler([](EventLoop&, const ExceptionContext& context) {
        if (describe(context.exception) == "no") ++reports;
      });
    };
    Workers workers = start_workers(
        [](StreamReader reader, StreamWriter writer) {
          if (reader.readline() == "throw\n") throw std::runtime_error("no");
          writer.write("served");
        },
        "127.0.0.1", 0, options);
    for (int i = 0; i < 10; ++i) {
      Peer bad = Peer::connect(workers.port()), good = Peer::connect(workers.port());
      bad.send("throw\n");
      good.send("go on\n");
      CHECK(all_from(std::move(bad)) == "");
      CHECK(all_from(std::move(good)) == "served");
    }
    end(workers);
  });
  CHECK(reports == 10);
}

TEST_CASE_METHOD(ServeTest, "a Unix socket is one queue for all workers, and its file goes with them") {
  const Folder folder;
  run([&] {
    Workers workers = start_workers(echo_lines, Address::unix_path(folder / "socket"), with_workers(3));
    CHECK(workers.addresses().front().to_string() == "unix:" + folder / "socket");
    for (int i = 0; i < 20; ++i) {
      Peer peer = connect_plainly(folder / "socket");
      exchange_line(peer, "hello\n");
    }
    CHECK(workers.statistics().connections_accepted == 20);
    end(workers);
    CHECK_FALSE(exists(folder / "socket"));
  });
}

TEST_CASE_METHOD(ServeTest, "sockets that come from elsewhere are shared by all workers") {
  PlainListener listening;
  const std::uint16_t port = listening.port();
  run([&] {
    ServeOptions options = with_workers(3);
    options.server.socks = {::fcntl(listening.fd(), F_DUPFD_CLOEXEC, 0)};
    Workers workers = start_workers(echo_lines, options);
    listening.close();
    CHECK(workers.port() == port);
    for (int i = 0; i < 20; ++i) {
      Peer peer = Peer::connect(port);
      exchange_line(peer, "hello\n");
    }
    end(workers);
  });
}

TEST_CASE_METHOD(ServeTest, "where a port cannot be shared by sockets, the workers share one socket") {
  const PatchedSystem patched;
  sys.setsockopt = [](int fd, int level, int option, const void* value, socklen_t size) {
    if (level == SOL_SOCKET && option == SO_REUSEPORT) return errno = ENOPROTOOPT, -1;
    return ::setsockopt(fd, level, option, value, size);
  };
  run([&] {
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0, with_workers(3));
    for (int i = 0; i < 20; ++i) {
      Peer peer = Peer::connect(workers.port());
      exchange_line(peer, "hello\n");
    }
    CHECK(workers.statistics().connections_accepted == 20);
    end(workers);
  });
}

// Errors at the start.

TEST_CASE_METHOD(ServeTest, "a port that others listen on is an error, also if those share it") {
  run([&] {
    Workers first = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
    CHECK(errno_thrown_by([&] { start_workers(echo_lines, "127.0.0.1", first.port(), with_workers(2)); }) ==
          EADDRINUSE);
    ServeOptions sharing = with_workers(2);
    sharing.server.reuse_port = true;
    Workers second = start_workers(echo_lines, "127.0.0.1", first.port(), sharing);  // unless that is what is wanted
    CHECK(second.port() == first.port());
    end(first);
    Peer peer = Peer::connect(second.port());
    exchange_line(peer, "hello\n");
    peer.close();
    end(second);
  });
}

TEST_CASE_METHOD(ServeTest, "a worker that fails to start stops all, and its error is thrown when none is left") {
  static std::atomic<int> begun;
  begun = 0;
  run([&] {
    ServeOptions options = with_workers(4);
    options.on_start = [] {
      if (++begun == 3) throw std::runtime_error("the third one cannot");
    };
    const PlainListener chosen;
    const std::uint16_t port = chosen.port();
    CHECK(message_of([&] { start_workers(echo_lines, "127.0.0.2", port, options); }) == "the third one cannot");
    Workers workers = start_workers(echo_lines, "127.0.0.2", port, with_workers(2));  // nobody is in its way
    end(workers);
  });
}

TEST_CASE_METHOD(ServeTest, "a thread that cannot be started is an OsError that says so, and the others end") {
  static std::atomic<int> threads;
  for (const int last : {0, 2}) {
    threads = last;
    run([&] {
      const PatchedSystem patched;
      sys.pthread_create = [](pthread_t* thread, const pthread_attr_t* attributes, void* (*enter)(void*),
                              void* argument) {
        return threads-- > 0 ? ::pthread_create(thread, attributes, enter, argument) : EAGAIN;
      };
      const std::string message = message_of([&] { start_workers(echo_lines, "127.0.0.1", 0, with_workers(4)); });
      CHECK(message == "starting a worker thread: Resource temporarily unavailable");
    });
  }
}

TEST_CASE_METHOD(ServeTest, "whatever the system refuses to a worker is thrown, and no worker is left") {
  static std::atomic<int> left;
  struct Refusal {
    const char* what;
    int error;
    void (*begin)();
  };
  const Refusal refusals[] = {
      {"listen", EADDRINUSE,
       [] {
         left = 1;
         sys.listen = [](int fd, int backlog) { return left-- > 0 ? ::listen(fd, backlog) : (errno = EADDRINUSE, -1); };
       }},
      {"a loop", EMFILE,
       [] {
         left = 1;
         sys.eventfd = [](unsigned value, int flags) {
           return left-- > 0 ? ::eventfd(value, flags) : (errno = EMFILE, -1);
         };
       }},
      {"a socket", EMFILE,
       [] {
         left = 1;
         sys.socket = [](int family, int type, int protocol) {
           return left-- > 0 ? ::socket(family, type, protocol) : (errno = EMFILE, -1);
         };
       }},
  };
  for (const Refusal& refusal : refusals) {
    INFO(refusal.what);
    run([&] {
      const PatchedSystem patched;
      refusal.begin();
      CHECK(errno_thrown_by([&] { start_workers(echo_lines, "127.0.0.1", 0, with_workers(3)); }) == refusal.error);
    });
  }
  const Folder folder;
  run([&] {
    const PatchedSystem patched;
    sys.fcntl = [](int fd, int command, int argument) {
      return command == F_DUPFD_CLOEXEC ? (errno = EMFILE, -1) : ::fcntl(fd, command, argument);
    };
    const auto start = [&] { start_workers(echo_lines, Address::unix_path(folder / "socket"), with_workers(2)); };
    CHECK(errno_thrown_by(start) == EMFILE);
    CHECK_FALSE(exists(folder / "socket"));
  });
}

TEST_CASE_METHOD(ServeTest, "options that do not fit, and calls outside a task, are the caller's errors") {
  CHECK_THROWS_AS(start_workers(echo_lines, "127.0.0.1", 0), InvalidStateError);
  CHECK_THROWS_AS(serve(echo_lines, "127.0.0.1", 0), InvalidStateError);
  run([&] {
    CHECK_THROWS_AS(start_workers(echo_lines, ServeOptions{}), std::invalid_argument);  // no socket
    CHECK_THROWS_AS(start_workers(echo_lines, Address(), ServeOptions{}), std::invalid_argument);
    CHECK_THROWS_AS(serve(echo_lines, *Address::parse("::1", 0), {.server = {.family = AF_INET}}),
                    std::invalid_argument);
  });
}

TEST_CASE_METHOD(ServeTest, "cancelling the start leaves no worker behind") {
  static std::atomic<bool> may_go_on;
  may_go_on = false;
  run([&] {
    ServeOptions options = with_workers(2);
    options.on_start = [] {
      while (!may_go_on) sleep(1ms);
    };
    auto starting = create_task([&] { start_workers(echo_lines, "127.0.0.1", 0, options); });
    let_others_run(3);
    REQUIRE_FALSE(starting.done());
    starting.cancel();
    may_go_on = true;
    CHECK_THROWS_AS(await(starting), FutureCancelledError);
  });
}

// The end.

TEST_CASE_METHOD(ServeTest, "stop lets what is under way end by itself, and accepts nothing new") {
  run([&] {
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
    std::vector<Peer> peers;
    for (int i = 0; i < 6; ++i) {
      peers.push_back(Peer::connect(workers.port()));
      exchange_line(peers.back(), "before\n");
    }
    workers.stop();
    workers.stop();
    for (Peer& peer : peers) exchange_line(peer, "after\n");
    CHECK(workers.statistics().connections_open == 6);
    for (Peer& peer : peers) peer.half_close();
    for (Peer& peer : peers) CHECK(all_from(std::move(peer)) == "after\n");
    workers.wait_closed();
    CHECK(workers.statistics().cut_off == 0);
    CHECK(workers.statistics().connections_open == 0);
    CHECK_THROWS_AS(open_connection("127.0.0.1", workers.port()), ConnectionRefusedError);
    workers.wait_closed();  // still
  });
}

TEST_CASE_METHOD(ServeTest, "what has not ended when the grace is over is cut off, and counted") {
  run([&] {
    ServeOptions options = with_workers(2);
    options.grace = 20ms;
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0, options);
    std::vector<Peer> peers;
    for (int i = 0; i < 5; ++i) {
      peers.push_back(Peer::connect(workers.port()));
      exchange_line(peers.back(), "hello\n");
    }
    end(workers);
    CHECK(workers.statistics().cut_off == 5);
    for (Peer& peer : peers) CHECK(all_from(std::move(peer)) == "hello\n");
  });
}

TEST_CASE_METHOD(ServeTest, "any thread may stop the workers, and ask how much they have done") {
  run([&] {
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
    std::thread elsewhere([workers]() mutable {
      Peer peer = Peer::connect(workers.port());
      peer.send("hello\n");
      while (peer.collect().size() < 6 || workers.statistics().bytes_sent < 6) std::this_thread::sleep_for(100us);
      workers.stop();
    });
    workers.serve_forever();
    elsewhere.join();
    CHECK(workers.statistics().connections_accepted == 1);
  });
}

TEST_CASE_METHOD(ServeTest,
                 "cancelling serve_forever stops the workers, and the cancellation comes when they have ended") {
  run([&] {
    Workers workers = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
    auto serving = create_task([&] { workers.serve_forever(); });
    let_others_run(2);
    Peer peer = Peer::connect(workers.port());
    exchange_line(peer, "before\n");
    serving.cancel();
    let_others_run(3);
    CHECK_FALSE(serving.done());
    exchange_line(peer, "in the grace\n");
    peer.half_close();
    CHECK_THROWS_AS(await(serving), FutureCancelledError);
    CHECK(workers.statistics().connections_open == 0);
    CHECK(workers.statistics().cut_off == 0);
  });
}

TEST_CASE_METHOD(ServeTest, "serve parks until SIGTERM, and returns what the workers have done") {
  const Folder folder;
  const std::string path = folder / "socket";
  run([&] {
    auto serving = create_task([&] { return serve(echo_lines, Address::unix_path(path), with_workers(2)); });
    while (!exists(path)) sleep(0s);
    sleep(0s);
    auto asking = create_task([&] {
      for (;;) {
        try {
          auto [reader, writer] = open_unix_connection(path);
          writer.write("hello\n");
          return reader.readline();
        } catch (const ConnectionRefusedError&) {  // it is bound, and does not listen yet
          sleep(0s);
        }
      }
    });
    CHECK(await(asking) == "hello\n");
    while (!is_termination_handled()) sleep(0s);
    std::raise(SIGTERM);
    const ServeStatistics statistics = await(serving);
    CHECK(statistics.connections_accepted == 1);
    CHECK(statistics.bytes_sent == 6);
    CHECK_FALSE(exists(path));
  });
}

TEST_CASE_METHOD(ServeTest, "SIGTERM stops everything that a loop serves, and its former disposition comes back") {
  run([&] {
    Workers first = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
    Workers second = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
    auto serving = create_task([&] { first.serve_forever(); });
    auto also_serving = create_task([&] { second.serve_forever(); });
    let_others_run(2);
    std::raise(SIGTERM);
    await(serving);
    await(also_serving);
    CHECK_FALSE(is_termination_handled());
    CHECK_THROWS_AS(open_connection("127.0.0.1", second.port()), ConnectionRefusedError);
  });
}

TEST_CASE_METHOD(ServeTest, "a worker that ends while it serves ends all, and serve_forever throws what ended it") {
  run([&] {
    const auto handler = [](StreamReader reader, StreamWriter) {
      reader.readline();
      get_event_loop().stop();
    };
    Workers workers = start_workers(handler, "127.0.0.1", 0, with_workers(3));
    Peer peer = Peer::connect(workers.port());
    peer.send("end\n");
    CHECK_THROWS_AS(workers.serve_forever(), InvalidStateError);
    CHECK_THROWS_AS(workers.wait_closed(), InvalidStateError);
  });
}

TEST_CASE_METHOD(ServeTest, "time that is virtual stands still while workers begin and end") {
  run([&] {
    const TimePoint begin = loop().time();
    with_timeout(1h, [&] {
      Workers workers = start_workers(echo_lines, "127.0.0.1", 0, with_workers(2));
      Peer peer = Peer::connect(workers.port());
      exchange_line(peer, "hello\n");
      peer.close();
      end(workers);
    });
    CHECK(loop().time() - begin < 1h);
  });
}

TEST_CASE("the end of run stops workers that nobody has stopped") {
  const std::size_t threads = thread_count(), fds = open_fd_count();
  std::optional<Workers> workers;
  run([&] {
    workers = start_workers(echo_lines, "127.0.0.1", 0, {.workers = 2});
    Peer peer = Peer::connect(workers->port());
    exchange_line(peer, "hello\n");
  });
  CHECK(thread_count() == threads);
  CHECK(workers->statistics().connections_accepted == 1);
  CHECK(workers->statistics().connections_open == 0);
  workers->stop();  // does no harm
  CHECK(open_fd_count() == fds);
}

TEST_CASE("the end of run cuts off workers that do not end in time") {
  const std::size_t threads = thread_count();
  static std::atomic<bool> was_cancelled;
  was_cancelled = false;
  const auto handler = [](StreamReader, StreamWriter writer) {
    writer.write("hello\n");
    try {
      sleep(1h);
    } catch (const CancelledError&) {
      was_cancelled = true;
      throw;
    }
  };
  Peer peer;
  run(
      [&] {
        Workers workers = start_workers(handler, "127.0.0.1", 0, {.workers = 2, .grace = 1h});
        peer = Peer::connect(workers.port());
        while (peer.collect().empty()) sleep(1ms);
      },
      {.drain = 50ms});
  CHECK(thread_count() == threads);
  CHECK(was_cancelled);
  CHECK(all_from(std::move(peer)) == "hello\n");
}

TEST_CASE("SIGTERM stops what is served, after which the program ends as it likes; Ctrl-C is a KeyboardInterrupt") {
  const auto serve_and_raise = [](int signal) {
    return run_main([signal] {
      Workers workers = start_workers(echo_lines, "127.0.0.1", 0, {.workers = 2});
      Peer peer = Peer::connect(workers.port());
      exchange_line(peer, "hello\n");
      peer.half_close();
      create_task([signal] { std::raise(signal); });
      workers.serve_forever();
      return workers.statistics().connections_accepted == 1 ? 7 : 8;
    });
  };
  CHECK(run_in_child([&] { std::_Exit(serve_and_raise(SIGTERM)); }).exited_with(7));
  CHECK(run_in_child([&] { std::_Exit(serve_and_raise(SIGINT)); }).exited_with(130));
}

TEST_CASE(
    "the second SIGTERM ends a program whose connections take their time, and a handler of its own is left alone") {
  const auto end = run_in_child([] {
    run([] {
      Workers workers = start_workers(echo_lines, "127.0.0.1", 0, {.workers = 2, .grace = 1h});
      const Peer peer = Peer::connect(workers.port());
      create_task([] {
        std::raise(SIGTERM);
        sleep(20ms);
        std::raise(SIGTERM);
      });
      workers.serve_forever();
    });
  });
  CHECK(end.died_of(SIGTERM));
  CHECK(run_in_child([] {
          ::signal(SIGTERM, [](int) { std::_Exit(9); });
          run([] {
            create_task([] { std::raise(SIGTERM); });
            serve(echo_lines, "127.0.0.1", 0, {.workers = 2});
          });
        }).exited_with(9));
}
