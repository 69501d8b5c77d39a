// What a loop can be given to run.
#pragma once
#include <tulp/event_loop.hpp>

namespace tulp::test {

struct Nothing : Runnable {
  void run() noexcept override {}
};
inline Nothing nothing;

}  // namespace tulp::test
