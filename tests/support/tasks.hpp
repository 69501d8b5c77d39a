// Small tasks, and what they fail with.
#pragma once
#include <tulp/task.hpp>

#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/loops.hpp"

namespace tulp::test {

struct Boom : std::runtime_error {
  explicit Boom(const std::string& text = "boom") : std::runtime_error(text) {}
};

/// What dump_tasks() writes.
inline std::string dump() {
  std::ostringstream text;
  dump_tasks(text);
  return text.str();
}

/// Calls `what` when it goes, which may throw.
struct AtEnd {
  std::function<void()> what;
  ~AtEnd() noexcept(false) { what(); }
};

inline Task<int> number_after(Duration delay, int number) {
  return create_task([=] { return sleep(delay), number; });
}

/// Tasks that call body(0), body(1) and so on, begun and thus waiting in this order.
template <class F>
std::vector<Task<>> begun(int count, F body) {
  std::vector<Task<>> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back(create_task([body, i] { body(i); }));
  let_others_run();
  return tasks;
}

}  // namespace tulp::test
