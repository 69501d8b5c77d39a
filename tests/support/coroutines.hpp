// Small coroutines.
#pragma once
#include <tulp/coroutine.hpp>

namespace tulp::test {

inline Future<int> give(int number) { co_return number; }
inline Future<> wait_until(Future<> future) { co_await future; }
inline Future<> yield_times(int times) {
  for (int i = 0; i < times; ++i) co_await yield();
}

}  // namespace tulp::test
