// Programs that have come to a stop, or do not stop, for those who look into them from outside.
//
//   stuck deadlock          two tasks that hold what the other one wants, and nothing else
//   stuck thread            a task that another thread wakes after 700 ms
//   stuck tasks             prints "ready", and has tasks that wait for several things until it is killed
//   stuck block             prints "ready", and a task that computes without a park until standard input ends
//   stuck block-callback    the same in a callback
//   stuck spin              prints "ready" while a task computes, until it is killed
#include <tulp/tulp.hpp>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>

using namespace tulp;
using namespace std::chrono_literals;

namespace {

[[gnu::noinline]] void take_both(Lock& first, Lock& second) {
  const std::lock_guard outer(first);
  sleep(1ms);
  const std::lock_guard inner(second);
}

[[gnu::noinline]] void wait_at_the_bottom(Event& event, int depth) {
  if (depth == 0)
    event.wait();
  else
    wait_at_the_bottom(event, depth - 1);
  asm volatile("");  // no tail call
}

void say_ready() {
  std::puts("ready");
  std::fflush(stdout);
}

[[gnu::noinline]] void compute() {
  std::atomic<bool> is_over = false;
  std::thread reader([&is_over] {
    for (char byte; ::read(STDIN_FILENO, &byte, 1) > 0;) continue;
    is_over = true;
  });
  while (!is_over) asm volatile("");
  reader.join();
}

[[gnu::noinline]] void compute_for_ever() {
  say_ready();
  for (volatile bool goes_on = true; goes_on;) asm volatile("");
}

void have_tasks() {
  static Event event;  // outlives the tasks, also when Ctrl-C ends this one first
  static Lock lock;
  create_task({.name = "deep"}, [] { wait_at_the_bottom(event, 5); });
  create_task({.name = "sleeper"}, [] { sleep(1h); });
  create_task({.name = "holder"}, [] {
    const std::lock_guard guard(lock);
    event.wait();
  });
  create_task({.name = "waiter"}, [] { const std::lock_guard guard(lock); });
  get_event_loop().call_later(10ms, say_ready);  // when this task is parked as well
  sleep(1h);
}

void be_in_deadlock() {
  static Lock left, right;
  auto a = create_task({.name = "a"}, [] { take_both(left, right); });
  auto b = create_task({.name = "b"}, [] { take_both(right, left); });
  await(a);
}

void be_woken_by_thread() {
  Future<> posted;
  std::thread poster([&loop = get_event_loop(), posted] {
    std::this_thread::sleep_for(700ms);
    loop.call_soon_threadsafe([posted]() mutable { posted.set_result(); });
  });
  await(posted);
  poster.join();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  return run_main([what] {
    if (what == "deadlock") {
      be_in_deadlock();
    } else if (what == "thread") {
      be_woken_by_thread();
    } else if (what == "tasks") {
      have_tasks();
    } else if (what == "block") {
      say_ready();
      auto task = create_task({.name = "busy"}, compute);
      await(task);
    } else if (what == "spin") {
      auto task = create_task({.name = "busy"}, compute_for_ever);
      await(task);
    } else if (what == "block-callback") {
      say_ready();
      Future<> computed;
      get_event_loop().call_soon([computed]() mutable {
        compute();
        computed.set_result();
      });
      await(computed);
    } else {
      throw std::invalid_argument("usage: stuck deadlock|thread|tasks|block|block-callback|spin");
    }
  });
}
