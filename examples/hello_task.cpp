// You learn: a task is a function on a fiber of its own; sleep() and await() park it, and others run meanwhile.
#include <tulp/tulp.hpp>

#include <chrono>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

std::string greet(const std::string& name, std::chrono::milliseconds pause) {
  tulp::sleep(pause);
  std::cout << "hello " << name << '\n';
  return name;
}

void greet_both() {
  auto slow = tulp::create_task(greet, "tortoise", 200ms);
  auto fast = tulp::create_task(greet, "hare", 100ms);  // both sleep at the same time: 200 ms in all, not 300
  std::cout << tulp::await(slow) << " and " << tulp::await(fast) << " have been greeted\n";
}

int main() { return tulp::run_main(greet_both); }
