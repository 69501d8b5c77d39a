#include <tulp/testing/test_loop.hpp>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <tulp/error.hpp>

#include "loop/selector_event_loop.hpp"
#include "testing/seed.hpp"
#include "testing/system_calls.hpp"
#include "testing/test_hooks.hpp"

namespace tulp::testing {

std::unique_ptr<EventLoop> new_test_loop(const TestOptions& options) {
  disturb_system_calls();
  auto hooks = std::make_unique<TestHooks>(options);
  TestHooks& kept_hooks = *hooks;
  auto loop = std::make_unique<SelectorEventLoop>(choose_selector(options.loop.selector).make, std::move(hooks));
  kept_hooks.attach(*loop);
  return loop;
}

namespace {

/// The hooks of a loop whose time can be moved by `delay`.
TestHooks& hooks_to_move(EventLoop& loop, Duration delay) {
  TestHooks& hooks = hooks_of(loop);
  if (hooks.options().time == Time::real) throw InvalidStateError("the time of this event loop is real");
  if (delay < Duration::zero() || after(hooks.now(), delay) == TimePoint::max())
    throw std::invalid_argument("time can be moved forwards alone, and not for ever");
  return hooks;
}

}  // namespace

void advance_time(EventLoop& loop, Duration delay) {
  TestHooks& hooks = hooks_to_move(loop, delay);
  if (loop.is_running())
    throw InvalidStateError("advance_time: the event loop is running; sleep() lets time pass there");
  const TestHooks::Advance advance(hooks, after(hooks.now(), delay));
  while (!advance.has_arrived()) loop.run_forever();
}

void skip_time(EventLoop& loop, Duration delay) { hooks_to_move(loop, delay).move_clock(delay); }

std::optional<std::uint64_t> seed_of(const EventLoop& loop) { return hooks_of(loop).seed(); }

std::optional<std::uint64_t> seed_from_environment() {
  const char* text = std::getenv("TULP_SEED");
  if (text == nullptr || *text == '\0') return std::nullopt;
  std::uint64_t seed = 0;
  const char* end = text + std::strlen(text);
  if (const auto [rest, error] = std::from_chars(text, end, seed); error != std::errc() || rest != end)
    throw std::invalid_argument(std::string("TULP_SEED: '") + text + "' is not a number that can be a seed");
  return seed;
}

std::vector<std::uint64_t> seeds(std::size_t count) {
  if (const auto seed = seed_from_environment()) return {*seed};
  std::vector<std::uint64_t> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = i + 1;
  return all;
}

}  // namespace tulp::testing
