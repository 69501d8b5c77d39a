// C++20 coroutines that are tasks: Future<T> as a return type, and co_await.  Floor 6, coroutines.
//
//   Future<int> sum(Future<int> a, Future<int> b) { co_return co_await a + co_await std::move(b); }
//
// A function with co_await or co_return in its body that returns a Future or a Task is a coroutine of tulp.  It is a task
// without a fiber: it begins when it is called, runs as far as the first co_await that has to wait, and goes on when the
// loop resumes it.  All that holds for tasks holds for it: it belongs to the loop, all_tasks() and dump_tasks() show it, a
// handle that is dropped detaches it, its failure is reported if nobody takes note of it, context variables travel, and at
// the end of the loop it is cancelled.  current_task() in it is itself.  What it held, its parameters too, is gone when
// others hear of its end.
//
// co_await takes any Future or Task of the loop, as await() does in a fiber, and with the same rules: it goes on at once
// if that is done, and else in its turn; a cancellation is a CancelledError at a co_await, once for each request, and is
// passed on to what is awaited, unless somebody else waits for that too.
//
// What may park throws InvalidStateError in a coroutine: it has no stack of its own to be left standing.  in_fiber() lends
// one, delay() and yield() are the sleep that does not park, and methods of EventLoop return Futures anyway.
//
// The parameters of a coroutine are what it keeps: one that takes a reference needs that to live on until its end, and so
// does a coroutine that is a lambda with captures need the lambda (create_task, run and TaskGroup::create_task keep what
// they are given).  Destructors and handlers cannot co_await; CancelShield is for the cleanup behind a handler.
// g++ 12 destroys twice what a conditional expression in a co_await makes (`co_await (a ? f() : g())`): use an if.
#pragma once
#include <tulp/delay.hpp>
#include <tulp/detail/coroutine_state.hpp>
#include <tulp/task.hpp>

#include <coroutine>
#include <utility>

template <class T, class... Args>
struct std::coroutine_traits<tulp::Future<T>, Args...> {
  using promise_type = tulp::detail::CoroutinePromise<tulp::Future<T>>;
};
template <class T, class... Args>
struct std::coroutine_traits<tulp::Task<T>, Args...> {
  using promise_type = tulp::detail::CoroutinePromise<tulp::Task<T>>;
};

namespace tulp {

/// `co_await yield()` lets everything run that is ready, once, as sleep(0s) does in a fiber.
/// Throws: CancelledError.  Allocates nothing.
inline detail::Yield yield() noexcept { return {}; }

/// Calls `f(args...)` on a fiber, at once, as far as its first park: for a coroutine, what makes a Future of a call that
/// parks.  If that does not park, co_await does not suspend either.
///
///   std::string line = co_await in_fiber([&] { return reader.readline(); });
///
/// It is create_task() with TaskOptions::eager.  Throws: as that.
template <class F, class... Args>
[[gnu::noinline]] auto in_fiber(F&& f, Args&&... args) {
  return detail::start_task(detail::loop_for_new_object(), {.eager = true}, TULP_CALLER,
                            detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
}

}  // namespace tulp
