// Small coroutines.
#pragma once
#include <tulp/coroutine.hpp>

namespace tulp::test {

// Static, for clang 14 with its undefined-behaviour sanitizer fails at an inline coroutine.

static Future<int> give(int number) { co_return number; }
static Future<> wait_until(Future<> future) { co_await future; }
static Future<> yield_times(int times) {
  for (int i = 0; i < times; ++i) co_await yield();
}

}  // namespace tulp::test
