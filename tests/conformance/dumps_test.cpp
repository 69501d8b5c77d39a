// Where tasks stand: dump_tasks, print_stack, and the report of a deadlock.
#include <tulp/tulp.hpp>

#include <sys/socket.h>

#include <csignal>
#include <sstream>
#include <string>
#include <thread>

#include "support/collected_log.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// What a dump says of the task `name`.
std::string entry_of(const std::string& name) {
  const std::string text = dump();
  const std::size_t begin = text.find("task '" + name + "', ");
  if (begin == std::string::npos) return {};
  const std::size_t end = text.find("\ntask '", begin);
  return text.substr(begin, end == std::string::npos ? end : end - begin);
}

/// Parks a task that does `body`, and says what a dump tells of it.
template <class Body>
std::string entry_of_parked(Body body) {
  auto task = create_task({.name = "parked"}, body);
  let_others_run(2);
  const std::string entry = entry_of("parked");
  task.cancel();
  while (!task.done()) sleep(0s);
  return entry;
}

[[gnu::noinline]] void wait_below(Event& event) {
  event.wait();
  asm volatile("");
}

void take_both(Lock& first, Lock& second) {
  const std::lock_guard outer(first);
  sleep(0s);
  const std::lock_guard inner(second);
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a dump says of each task what it waits for") {
  run([] {
    Event event;
    CHECK_THAT(entry_of_parked([&] { event.wait(); }), Catch::Contains("waits for the event 0x"));
    Lock lock;
    lock.acquire();
    current_task().set_name("owner");
    CHECK_THAT(entry_of_parked([&] { lock.acquire(); }),
               Catch::Contains("waits for the lock 0x") && Catch::Contains(", held by task 'owner'"));
    Semaphore semaphore(0);
    CHECK_THAT(entry_of_parked([&] { semaphore.acquire(); }), Catch::Contains("waits for a place at the semaphore"));
    Queue<int> queue(1);
    CHECK_THAT(entry_of_parked([&] { queue.get(); }), Catch::Contains("waits for an item from the queue"));
    queue.put(1);
    CHECK_THAT(entry_of_parked([&] { queue.put(2); }), Catch::Contains("waits for room in the queue"));
    CHECK_THAT(entry_of_parked([&] { queue.join(); }), Catch::Contains("waits for the work on the items of the queue"));
    Condition condition(lock);
    lock.release();
    CHECK_THAT(entry_of_parked([&] {
                 const std::lock_guard guard(lock);
                 condition.wait();
               }),
               Catch::Contains("waits for the condition"));
    CHECK_THAT(entry_of_parked([&] { sleep(1h); }),
               Catch::Contains("waits for its timer, 3") && Catch::Contains(" s left"));
    Future<> future;
    CHECK_THAT(entry_of_parked([&] { await(future); }), Catch::Contains("waits for future created at dumps_test.cpp:"));
    auto other = create_task({.name = "other"}, [] { sleep(1h); });
    CHECK_THAT(entry_of_parked([&] { await(other); }), Catch::Contains("waits for task 'other'"));
    other.cancel();
    sleep(0s);
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "a dump names descriptors with their peers") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  run([&] {
    CHECK_THAT(entry_of_parked([&] { wait_readable(ends[0]); }),
               Catch::Contains("waits for descriptor " + std::to_string(ends[0]) + " to be readable"));
    Server server = start_server([](StreamReader reader, StreamWriter) { reader.read(); }, "127.0.0.1", 0);
    const Address address = server.addresses()[0];
    auto [reader, writer] = open_connection(address);
    const int fd = *writer.get_extra_info<int>("socket");
    const std::string place = address.to_string();
    CHECK_THAT(entry_of_parked([&reader = reader] { reader.readline(); }),
               Catch::Contains("waits for data from " + place + " (descriptor " + std::to_string(fd) + ")"));
    CHECK_THAT(entry_of_parked([&writer = writer] {
                 const std::string large(64 << 20, 'x');
                 writer.write(large);
               }),
               Catch::Contains("waits for room to write to " + place));
    writer.transport().abort();
    server.close();
    while (all_tasks().size() > 1) sleep(0s);
  });
  ::close(ends[0]);
  ::close(ends[1]);
  take_reports();  // bytes that were not sent
}

TEST_CASE_METHOD(LoopTest,
                 "a dump has the whole stack of a parked task, with lines, and can be taken any number of times") {
  Event event;
  const int line_of_call = __LINE__ + 1;
  auto task = loop().run_until_complete([&] { return create_task({.name = "deep"}, [&] { wait_below(event); }); });
  run([&] {
    sleep(0s);
    std::string first;
    for (int i = 0; i < 300; ++i) {
      const std::string entry = entry_of("deep");
      const std::string stack = entry.substr(entry.find("\n  at\n"));
      if (i == 0) {
        first = stack;
        CAPTURE(stack);
        CHECK(stack.find("tulp::Event::wait()") < stack.find("wait_below"));
        CHECK(stack.find("wait_below") < stack.find("dumps_test.cpp:" + std::to_string(line_of_call)));
        CHECK(stack.find("dumps_test.cpp:" + std::to_string(line_of_call)) != std::string::npos);
        CHECK(stack.find("tulp::Fiber::") == std::string::npos);
      }
      if (stack != first) FAIL_CHECK(stack);
    }
    event.set();
    await(task);
  });
}

TEST_CASE_METHOD(LoopTest, "tasks that were looked at go on as if nothing had been") {
  run([] {
    int sum = 0;
    std::vector<Task<>> tasks;
    for (int i = 0; i < 20; ++i) {
      tasks.push_back(create_task([&sum, i] {
        double half = i / 2.0;
        try {
          throw i;
        } catch (int thrown) {
          errno = i;
          sleep(0s);
          sleep(0s);
          CHECK(errno == i);
          CHECK(thrown == i);
          CHECK(half == i / 2.0);
          sum += thrown;
        }
      }));
    }
    while (!tasks.back().done()) {
      sleep(0s);
      static_cast<void>(dump());
    }
    CHECK(sum == 190);
  });
}

TEST_CASE_METHOD(LoopTest, "a task that runs, one that is ready and one that has not begun say so") {
  run([] {
    auto parked = create_task({.name = "ready"}, [] { sleep(0s); });
    sleep(0s);
    auto fresh = create_task({.name = "fresh"}, [] {});
    current_task().set_name("running");
    CHECK_THAT(entry_of("running"), Catch::Contains(" old, runs\n") && Catch::Contains("dump"));
    CHECK_THAT(entry_of("ready"), Catch::Contains(" old, is ready to go on\n") && Catch::Contains("\n  at\n"));
    CHECK_THAT(entry_of("fresh"), Catch::Contains(" old, has not begun\n") && !Catch::Contains("\n  at\n"));
    std::ostringstream own;
    parked.print_stack(own);
    CHECK_THAT(own.str(), Catch::StartsWith("task 'ready', "));
    await(parked);
    await(fresh);
    CHECK(dump().find("1 task\n") == 0);
  });
}

TEST_CASE_METHOD(LoopTest, "a task's age is told") {
  run([&] {
    auto task = create_task({.name = "old"}, [] { sleep(1h); });
    let_pass(3s);
    const std::string entry = entry_of("old"), before = "task 'old', ";
    REQUIRE_THAT(entry, Catch::StartsWith(before));
    const double age = std::stod(entry.substr(before.size()));
    CHECK(age >= 3);
    CHECK(age < 60);  // a busy machine takes longer to come to it
    task.cancel();
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "circles of tasks that wait for each other are spelled out, once each") {
  run([] {
    Lock left, right;
    auto a = create_task({.name = "a"}, [&] { take_both(left, right); });
    auto b = create_task({.name = "b"}, [&] { take_both(right, left); });
    auto c = create_task({.name = "c"}, [&] { await(a); });
    let_others_run(4);
    const std::string text = dump();
    CAPTURE(text);
    const std::size_t at =
        text.find("these wait for each other, and can never go on:\n  task 'a' waits for the lock 0x");
    REQUIRE(at != std::string::npos);
    const std::string circle = text.substr(at);
    CHECK_THAT(circle, Catch::Contains(", held by task 'b', which waits for the lock 0x") &&
                           Catch::EndsWith(", held by task 'a'\n"));
    CHECK(std::count(circle.begin(), circle.end(), '\n') == 2);
    c.cancel();
    a.cancel();
    b.cancel();
    let_others_run(4);
  });
}

TEST_CASE_METHOD(LoopTest, "a lock that its task takes twice is held by itself") {
  run([] {
    Lock lock;
    const std::string entry = entry_of_parked([&] {
      lock.acquire();
      lock.acquire();
    });
    CHECK_THAT(entry, Catch::Contains(", held by itself"));
  });
}

TEST_CASE("a signal sends the dump to the log, if the run asks for it") {
  const CollectedLog log;
  run(
      [] {
        create_task({.name = "sleeper"}, [] { sleep(1h); });
        sleep(0s);
        ::raise(SIGUSR2);
        sleep(10ms);
      },
      {.dump_signal = SIGUSR2});
  CHECK_THAT(log.text(), Catch::StartsWith("tulp: 2 tasks\n") && Catch::Contains("task 'sleeper'"));
}

TEST_CASE("TULP_DUMP_SIGNAL names the signal of a program that was not changed") {
  const CollectedLog log;
  const auto main = [] {
    ::raise(SIGUSR1);
    sleep(10ms);
  };
  for (const char* name : {"SIGUSR1", "USR1", "10"}) {
    ::setenv("TULP_DUMP_SIGNAL", name, 1);
    run(main);
  }
  ::setenv("TULP_DUMP_SIGNAL", "SIGNONSENSE", 1);
  CHECK_THROWS_AS(run([] {}), std::invalid_argument);
  ::unsetenv("TULP_DUMP_SIGNAL");
  const auto first = log.text().find("tulp: 1 task\n");
  const auto second = log.text().find("tulp: 1 task\n", first + 1);
  CHECK(second != std::string::npos);
  CHECK(log.text().find("tulp: 1 task\n", second + 1) != std::string::npos);
}

TEST_CASE("who can still be woken is not called stuck: by a timer, a descriptor, a signal or a thread") {
  const CollectedLog log;
  run([] {
    Event event;
    get_event_loop().call_later(10ms, [&] { event.set(); });
    event.wait();

    Event signalled;
    get_event_loop().add_signal_handler(SIGUSR1, [&] { signalled.set(); });
    auto raiser = std::thread([] {
      std::this_thread::sleep_for(20ms);
      ::kill(::getpid(), SIGUSR1);
    });
    signalled.wait();
    raiser.join();
    get_event_loop().remove_signal_handler(SIGUSR1);

    CHECK(to_thread([] {
            std::this_thread::sleep_for(20ms);
            return 1;
          }) == 1);

    Future<> posted;
    std::thread poster([&loop = get_event_loop(), posted] {
      std::this_thread::sleep_for(20ms);
      loop.call_soon_threadsafe([posted]() mutable { posted.set_result(); });
    });
    await(posted);
    poster.join();
  });
  CHECK(log.text().empty());
}
