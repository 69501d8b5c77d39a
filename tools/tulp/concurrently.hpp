// on_fibers and for_each_concurrently: many calls of one function, some of them at a time.
#pragma once
#include <tulp/task_group.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>

namespace tool {

/// Calls `f()` on so many fibers at once.
/// Parks: until all have ended.  If one throws, the others are cancelled, and its exception comes out.
template <class F>
void on_fibers(std::size_t fiber_count, F f) {
  std::exception_ptr error;
  tulp::with_task_group([&](tulp::TaskGroup& group) {
    for (std::size_t i = 0; i < fiber_count; ++i) {
      group.create_task([&] {
        try {
          f();
        } catch (const std::exception&) {
          if (!error) error = std::current_exception();
          group.cancel();
        }
      });
    }
  });
  if (error) std::rethrow_exception(error);
}

/// Calls `f(i)` for each i below `count`, in that order: `fiber_count` calls run at a time.  Otherwise as on_fibers().
template <class F>
void for_each_concurrently(std::size_t count, std::size_t fiber_count, F f) {
  std::size_t next = 0;
  on_fibers(std::min(count, fiber_count), [&] {
    while (next < count) f(next++);
  });
}

}  // namespace tool
