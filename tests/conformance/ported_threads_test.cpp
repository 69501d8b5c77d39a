// thread, mutex, condition_variable: what a program finds that was written for std's.
#include <tulp/condition_variable.hpp>
#include <tulp/error.hpp>
#include <tulp/mutex.hpp>
#include <tulp/no_park_scope.hpp>
#include <tulp/run.hpp>
#include <tulp/thread.hpp>

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <sstream>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

static_assert(!std::is_copy_constructible_v<tulp::thread> && std::is_nothrow_move_constructible_v<tulp::thread>);
static_assert(!std::is_copy_constructible_v<tulp::mutex> && !std::is_copy_constructible_v<tulp::condition_variable>);

namespace {

constinit tulp::mutex made_before_main;
constinit tulp::condition_variable made_before_main_too;

/// A line of work between producers and consumers of whatever kind.
class Jobs {
 public:
  void put(int job) {
    {
      const std::lock_guard guard(mutex_);
      jobs_.push_back(job);
    }
    change_.notify_one();
  }
  int take() {
    std::unique_lock lock(mutex_);
    change_.wait(lock, [this] { return !jobs_.empty(); });
    const int job = jobs_.front();
    jobs_.pop_front();
    return job;
  }

 private:
  tulp::mutex mutex_;
  tulp::condition_variable change_;
  std::deque<int> jobs_;
};

}  // namespace

TEST_CASE_METHOD(LoopTest, "a thread runs its function with its arguments, and is joined when that has returned") {
  run([] {
    int sum = 0;
    tulp::thread adder([](int& into, int a, std::unique_ptr<int> b) { sleep(1ms), into = a + *b; }, std::ref(sum), 1,
                       std::make_unique<int>(2));
    CHECK(adder.joinable());
    CHECK(sum == 0);
    adder.join();
    CHECK(sum == 3);
    CHECK_FALSE(adder.joinable());
    CHECK_THROWS_AS(adder.join(), std::system_error);
    CHECK_THROWS_AS(adder.detach(), std::system_error);
  });
}

TEST_CASE_METHOD(LoopTest, "what a thread's function holds is gone when it is joined") {
  run([] {
    const auto held = std::make_shared<int>();
    tulp::thread holder([held] {});
    holder.join();
    CHECK(held.use_count() == 1);
  });
}

TEST_CASE("a thread that is detached goes on, and the end of the run cancels it") {
  bool has_gone_on = false;
  bool was_cancelled = false;
  tulp::run([&] {
    tulp::thread([&] {
      sleep(0s);
      has_gone_on = true;
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        was_cancelled = true;
        throw;
      }
    }).detach();
    sleep(1ms);
  });
  CHECK(has_gone_on);
  CHECK(was_cancelled);
}

TEST_CASE_METHOD(LoopTest, "threads are told apart by their ids, from each other and from true threads") {
  run([] {
    std::unordered_set<tulp::thread::id> ids = {tulp::this_thread::get_id(), tulp::thread::id()};
    std::vector<tulp::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] { CHECK(ids.insert(tulp::this_thread::get_id()).second); });
    }
    tulp::thread::id id = threads.back().get_id();
    for (auto& each : threads) each.join();
    CHECK(ids.count(id) == 1);
    std::thread([&] { id = tulp::this_thread::get_id(); }).join();
    CHECK(ids.insert(id).second);
    CHECK(ids.size() == 6);
    std::ostringstream text;
    text << tulp::thread::id() << ' ' << tulp::this_thread::get_id();
    CHECK(text.str().find(':') != std::string::npos);
  });
}

TEST_CASE_METHOD(LoopTest, "a thread cannot join itself") {
  run([] {
    tulp::thread self;
    self = tulp::thread([&] { CHECK_THROWS_AS(self.join(), std::system_error); });
    sleep(0s);
    self.join();
  });
}

TEST_CASE("where no loop runs, a tulp::thread is refused") {
  CHECK_THROWS_AS(tulp::thread([] {}), InvalidStateError);
}

TEST_CASE_METHOD(LoopTest, "a join that is cancelled leaves the thread as it was, and joinable") {
  run([] {
    Event awaited;
    tulp::thread sleeper([&] { awaited.wait(); });
    auto joiner = create_task([&] { sleeper.join(); });
    sleep(0s);
    joiner.cancel();
    CHECK_THROWS_AS(await(joiner), FutureCancelledError);
    CHECK(sleeper.joinable());
    awaited.set();
    sleeper.join();
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a cancellation that unwinds a task takes its threads along, instead of ending the process") {
  run([] {
    int ended_count = 0;
    auto parent = create_task([&] {
      std::vector<tulp::thread> threads;
      for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
          struct End {
            int& count;
            ~End() { ++count; }
          } const end{ended_count};
          sleep(1h);
        });
      for (auto& each : threads) each.join();
    });
    sleep(0s);
    sleep(0s);
    parent.cancel();
    CHECK_THROWS_AS(await(parent), FutureCancelledError);
    CHECK(ended_count == 3);
  });
}

TEST_CASE_METHOD(LoopTest, "a jthread asks its function to stop, and joins") {
  run([] {
    bool has_stopped = false;
    {
      const tulp::jthread worker(
          [&](const std::stop_token& token, int) {
            while (!token.stop_requested()) tulp::this_thread::yield();
            has_stopped = true;
          },
          1);
      sleep(0s);
    }
    CHECK(has_stopped);
  });
}

TEST_CASE("sleeping and yielding are the thread's own outside a task") {
  const auto begin = std::chrono::steady_clock::now();
  tulp::this_thread::sleep_for(2ms);
  tulp::this_thread::sleep_until(begin + 4ms);
  tulp::this_thread::sleep_until(std::chrono::system_clock::now() + 1ms);
  tulp::this_thread::yield();
  CHECK(std::chrono::steady_clock::now() >= begin + 5ms);
}

TEST_CASE_METHOD(LoopTest, "a mutex goes to whoever has waited longest") {
  run([&] {
    tulp::mutex mutex;
    Trace trace;
    std::vector<tulp::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (int turn = 0; turn < 2; ++turn) {
          const std::lock_guard guard(mutex);
          trace.push_back(std::to_string(i));
          sleep(0s);
        }
      });
    }
    for (auto& each : threads) each.join();
    CHECK(trace == Trace{"0", "1", "2", "3", "0", "1", "2", "3"});
  });
}

TEST_CASE_METHOD(LoopTest, "a mutex that is free is had without a park, by callbacks too; else those are refused") {
  run([&] {
    bool others_ran = false;
    loop().call_soon([&] {
      others_ran = true;
      CHECK_FALSE(made_before_main.try_lock());
      CHECK_THROWS_AS(made_before_main.lock(), InvalidStateError);
    });
    made_before_main.lock();
    CHECK_FALSE(others_ran);
    sleep(0s);
    CHECK(others_ran);
    {
      const no_park_scope nothing_parks;
      CHECK_THROWS_AS(made_before_main.lock(), InvalidStateError);
    }
    made_before_main.unlock();
    CHECK(made_before_main.try_lock());
    made_before_main.unlock();
    CHECK_THROWS_AS(made_before_main.unlock(), InvalidStateError);
    made_before_main_too.notify_all();
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a mutex is locked by who is cancelled all the same: the cancellation comes at the next park") {
  run([] {
    tulp::mutex mutex;
    mutex.lock();
    Trace trace;
    auto task = create_task([&] {
      mutex.lock();
      trace.push_back("locked");
      mutex.unlock();
      sleep(0s);
      trace.push_back("not cancelled");
    });
    sleep(0s);
    task.cancel();
    sleep(0s);
    CHECK(trace.empty());
    mutex.unlock();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(trace == Trace{"locked"});
    CHECK(mutex.try_lock());
    mutex.unlock();
  });
}

TEST_CASE_METHOD(LoopTest, "a timed mutex is waited for no longer than one likes to") {
  run([] {
    tulp::timed_mutex mutex;
    CHECK(mutex.try_lock_for(0s));
    await(create_task([&] {
      CHECK_FALSE(mutex.try_lock_for(0s));
      CHECK_FALSE(mutex.try_lock_for(1ms));
      CHECK_FALSE(mutex.try_lock_until(std::chrono::system_clock::now() + 1ms));
    }));
    bool has_it = false;
    tulp::thread other([&] {
      has_it = mutex.try_lock_for(1h);
      mutex.unlock();
    });
    sleep(0s);
    mutex.unlock();
    other.join();
    CHECK(has_it);
    CHECK(mutex.try_lock());
    mutex.unlock();
  });
}

TEST_CASE_METHOD(LoopTest, "a recursive mutex is its owner's as often as it likes, and nobody else's") {
  run([] {
    tulp::recursive_mutex mutex;
    mutex.lock();
    CHECK(mutex.try_lock());
    auto other = create_task([&] {
      CHECK_FALSE(mutex.try_lock());
      CHECK_THROWS_AS(mutex.unlock(), InvalidStateError);
      const std::lock_guard guard(mutex);
    });
    sleep(0s);
    mutex.unlock();
    sleep(0s);
    CHECK_FALSE(other.done());
    mutex.unlock();
    await(other);
  });
}

TEST_CASE_METHOD(LoopTest, "a condition variable wakes in the order of arrival, one or all") {
  run([] {
    tulp::mutex mutex;
    tulp::condition_variable change;
    Trace trace;
    std::vector<tulp::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        std::unique_lock lock(mutex);
        change.wait(lock);
        CHECK(lock.owns_lock());
        trace.push_back(std::to_string(i));
      });
    }
    let_others_run();
    change.notify_one();
    let_others_run();
    CHECK(trace == Trace{"0"});
    change.notify_all();
    for (auto& each : threads) each.join();
    CHECK(trace == Trace{"0", "1", "2", "3"});
    change.notify_one();  // nobody there
    std::unique_lock<tulp::mutex> nothing;
    CHECK_THROWS_AS(change.wait(nothing), InvalidStateError);
  });
}

TEST_CASE_METHOD(LoopTest, "a wait with a limit says how it ended, and has the mutex again") {
  run([&] {
    tulp::mutex mutex;
    tulp::condition_variable change;
    std::unique_lock lock(mutex);
    CHECK(change.wait_for(lock, 1ms) == cv_status::timeout);
    CHECK(change.wait_until(lock, loop().time() + 1ms) == cv_status::timeout);
    CHECK_FALSE(change.wait_until(lock, std::chrono::system_clock::now() + 1ms, [] { return false; }));
    CHECK_FALSE(change.wait_for(lock, 1ms, [] { return false; }));
    CHECK(change.wait_for(lock, 0s, [] { return true; }));
    CHECK(lock.owns_lock());
    create_task([&] { change.notify_one(); });
    CHECK(change.wait_for(lock, 1h) == cv_status::no_timeout);
    CHECK_FALSE(mutex.try_lock());
  });
}

TEST_CASE_METHOD(LoopTest, "a wait that is cancelled has the mutex when the CancelledError leaves it") {
  run([] {
    tulp::mutex mutex;
    tulp::condition_variable change;
    bool had_it = false;
    auto task = create_task([&] {
      std::unique_lock lock(mutex);
      try {
        change.wait(lock);
      } catch (const CancelledError&) {
        had_it = lock.owns_lock() && !mutex.try_lock();
        throw;
      }
    });
    sleep(0s);
    mutex.lock();
    task.cancel();
    let_others_run();
    CHECK_FALSE(task.done());  // the mutex is ours
    mutex.unlock();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(had_it);
    CHECK(mutex.try_lock());
    mutex.unlock();
  });
}

TEST_CASE_METHOD(LoopTest, "a notification is not lost with who is cancelled behind it, nor taken by who was before") {
  run([] {
    tulp::mutex mutex;
    tulp::condition_variable change;
    Trace trace;
    const auto waiter = [&](const char* name) {
      return create_task([&, name] {
        std::unique_lock lock(mutex);
        change.wait(lock);
        trace.push_back(name);
      });
    };
    auto cancelled_before = waiter("a"), cancelled_behind = waiter("b"), third = waiter("c");
    let_others_run();
    cancelled_before.cancel();
    change.notify_one();
    cancelled_behind.cancel();
    let_others_run();
    CHECK(trace == Trace{"b"});
    change.notify_one();
    await(third);
    CHECK(trace == Trace{"b", "c"});
    CHECK_THROWS_AS(await(cancelled_before), FutureCancelledError);
  });
}

TEST_CASE("mutex and condition variable work between tasks of several loops and plain threads") {
  constexpr int job_count = 3000;
  Jobs jobs, results;
  std::atomic<int> sum = 0;
  const auto work = [&] {
    while (const int job = jobs.take()) results.put(job);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back(work);
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      tulp::run([&] {
        std::vector<tulp::thread> workers;
        for (int k = 0; k < 20; ++k) workers.emplace_back(work);
        for (auto& each : workers) each.join();
      });
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < job_count; ++i) sum += results.take();
    for (int i = 0; i < 42; ++i) jobs.put(0);
  });
  for (int i = 1; i <= job_count; ++i) jobs.put(i);
  for (auto& each : threads) each.join();
  CHECK(sum == job_count * (job_count + 1) / 2);
}

TEST_CASE("with limits, cancellations and wake-ups all at once, no lock and no notification is lost") {
  tulp::timed_mutex mutex;
  tulp::mutex line;
  tulp::condition_variable change;
  int entered_count = 0;  // under the mutex
  int tokens = 0;         // under the line
  std::atomic<int> inside = 0, taken_count = 0;
  const auto enter = [&](int turn) {
    if (!mutex.try_lock_for(std::chrono::microseconds(turn % 7 * 20))) return;
    if (inside.fetch_add(1) != 0) std::abort();
    ++entered_count;
    if (turn % 3 == 0) tulp::this_thread::yield();
    inside.fetch_sub(1);
    mutex.unlock();
  };
  const auto give_and_take = [&](int turn) {
    std::unique_lock lock(line);
    if (turn % 2 == 0) {
      ++tokens;
      change.notify_one();
    } else if (change.wait_for(lock, std::chrono::microseconds(turn % 5 * 30), [&] { return tokens > 0; })) {
      --tokens;
      ++taken_count;
    }
  };
  const auto loop_of_tasks = [&] {
    tulp::run([&] {
      std::vector<tulp::thread> workers;
      for (int k = 0; k < 8; ++k)
        workers.emplace_back([&, k] {
          for (int turn = k; turn < k + 200; ++turn) enter(turn), give_and_take(turn);
        });
      for (int k = 0; k < 100; ++k) {
        auto victim = create_task([&] {
          std::unique_lock lock(line);
          change.wait(lock, [&] { return tokens > 1'000'000; });
        });
        sleep(std::chrono::microseconds(50));
        victim.cancel();
        CHECK_THROWS_AS(await(victim), FutureCancelledError);
      }
      for (auto& each : workers) each.join();
    });
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back(loop_of_tasks);
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      for (int turn = 0; turn < 400; ++turn) enter(turn), give_and_take(turn);
    });
  for (auto& each : threads) each.join();
  CHECK(mutex.try_lock());
  CHECK(line.try_lock());
  CHECK(tokens + taken_count == 2 * 8 * 100 + 2 * 200);
  mutex.unlock();
  line.unlock();
}

TEST_CASE("an exception that leaves a thread, and a thread that nobody has joined, end the process") {
  const auto thrown = run_in_child(
      [] { tulp::run([] { tulp::thread([] { throw std::runtime_error("nobody catches this"); }).join(); }); });
  CHECK(thrown.died_of(SIGABRT));
  CHECK(thrown.errors.find("an exception has left a tulp::thread") != std::string::npos);
  CHECK(thrown.errors.find("nobody catches this") != std::string::npos);
  const auto forgotten = run_in_child([] { tulp::run([] { const tulp::thread nobody_joins([] {}); }); });
  CHECK(forgotten.died_of(SIGABRT));
}
