// You learn: a C++20 coroutine that returns a Future is a task without a fiber; it co_awaits what fibers await, and they it.
#include <tulp/tulp.hpp>

#include <chrono>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

tulp::Future<std::string> greet(std::string name, std::chrono::milliseconds pause) {
  co_await tulp::delay(pause);  // sleep() would park, and a coroutine has no stack to leave behind
  std::cout << "hello " << name << '\n';
  co_return name;
}

tulp::Future<> greet_all() {
  auto slow = greet("tortoise", 20ms);  // they have begun, both
  auto fast = greet("hare", 10ms);
  std::cout << co_await fast << " and " << co_await slow << " have been greeted\n";

  // A fiber for what parks: a read from a stream, a lock, a time limit.
  auto limited = tulp::create_task([] { return tulp::wait_for(greet("snail", 1h), 10ms); });
  try {
    co_await limited;
  } catch (const tulp::TimeoutError&) {
    std::cout << "the snail is not here yet\n";
  }
  const int sum = co_await tulp::in_fiber([] { return tulp::to_thread([] { return 40 + 2; }); });
  std::cout << "a thread has added: " << sum << '\n';
}

int main() { return tulp::run_main(greet_all); }
