#include "loop/selector_event_loop.hpp"
#include "support/catch.hpp"

using namespace tulp;

TEST_CASE("the shell of a selector compiles, and a loop on it runs everything but descriptors") {
  SelectorEventLoop loop(make_shell_selector);
  bool has_run = false;
  loop.call_soon([&] { loop.call_later(std::chrono::milliseconds(1), [&] { loop.stop(); }); });
  loop.call_soon([&] { has_run = true; });
  loop.run_forever();
  CHECK(has_run);
}
