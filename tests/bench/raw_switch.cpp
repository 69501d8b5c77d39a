// The floor of a switch: bare Boost.Context, with no scheduler, no exception state and no cancellation around it.
// A round trip is two switches, into the fiber and back.
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fiber.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

namespace {

namespace context = boost::context;

constexpr int round_trip_count = 10'000'000;

alignas(64) std::array<char, 64 * 1024> stack;

void jump_back_for_ever(context::detail::transfer_t from) {
  for (;;) from = context::detail::jump_fcontext(from.fctx, nullptr);
}

void fcontext_round_trips() {
  context::detail::fcontext_t other =
      context::detail::make_fcontext(stack.data() + stack.size(), stack.size(), jump_back_for_ever);
  for (int i = 0; i < round_trip_count; ++i) other = context::detail::jump_fcontext(other, nullptr).fctx;
}

void fiber_round_trips() {
  bool done = false;
  context::fiber other([&done](context::fiber&& back) {
    while (!done) back = std::move(back).resume();
    return std::move(back);
  });
  for (int i = 0; i < round_trip_count; ++i) other = std::move(other).resume();
  done = true;
  other = std::move(other).resume();
}

void report(const char* name, void (*round_trips)()) {
  std::array<double, 5> nanoseconds;
  for (double& result : nanoseconds) {
    auto start = std::chrono::steady_clock::now();
    round_trips();
    std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - start;
    result = passed.count() / round_trip_count;
  }
  std::sort(nanoseconds.begin(), nanoseconds.end());
  std::printf("%s_round_trip %.2f ns\n%s_switch %.2f ns\n", name, nanoseconds[2], name, nanoseconds[2] / 2);
}

}  // namespace

int main() {
  report("raw_fcontext", fcontext_round_trips);
  report("raw_fiber", fiber_round_trips);
}
