// You learn: the loop calls plain functions, soon or later, and there is no fiber anywhere.
#include <tulp/tulp.hpp>

#include <chrono>
#include <iostream>

using namespace std::chrono_literals;

void say(const char* what) { std::cout << what << '\n'; }

int main() {
  tulp::EventLoop& loop = tulp::get_event_loop();
  loop.call_later(100ms, say, "world");
  loop.call_soon(say, "hello");
  loop.call_later(200ms, [&] { loop.stop(); });
  loop.run_forever();
}
