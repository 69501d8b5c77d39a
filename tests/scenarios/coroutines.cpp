// C++20 coroutines: coroutines.py says what is expected.
#include <tulp/coroutine.hpp>
#include <tulp/gather.hpp>

#include <exception>
#include <functional>
#include <string>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

Task<int> number_after(int passes, int number) {
  for (int i = 0; i < passes; ++i) co_await yield();
  co_return number;
}
Task<int> failing_after(int passes) {
  for (int i = 0; i < passes; ++i) co_await yield();
  fail();
  co_return 0;
}
Task<> link(const Trace& trace, std::string name, Future<> before) {
  co_await before;
  trace(name);
}
Task<> cancelled_link(const Trace& trace, std::string name, Future<> before) {
  try {
    co_await before;
  } catch (const CancelledError&) {
    trace(name, "cancelled");
    throw;
  }
}

}  // namespace

SCENARIO(a_coroutine_that_is_awaited_runs_at_once_and_what_is_done_takes_no_pass) {
  const auto inner = [&](int number) -> Future<int> {
    trace("inner", number);
    co_return number;
  };
  loop.run_until_complete([&]() -> Future<> {
    loop.call_soon([&] { trace("callback"); });
    const int first = co_await inner(1);
    trace(first + co_await inner(2));
    Future<int> done;
    done.set_result(3);
    trace(co_await done);
    co_await yield();
    trace("a pass later");
  });
}

SCENARIO(coroutines_that_await_one_future_go_on_in_the_order_in_which_they_came) {
  Future<> future(loop);
  const auto waiter = [&](std::string name) -> Future<> {
    co_await future;
    trace(name);
    co_await yield();
    trace(name, "again");
  };
  loop.run_until_complete([&]() -> Future<> {
    auto first = waiter("first");
    co_await yield();
    future.add_done_callback([&](const auto&) { trace("callback"); });
    auto second = waiter("second");
    co_await yield();
    future.set_result();
    loop.call_soon([&] { trace("behind"); });
    trace("set");
    co_await first;
    trace("heard of the first");
    co_await second;
  });
}

SCENARIO(a_chain_of_coroutines_ends_a_link_in_each_pass) {
  Future<> future(loop);
  loop.run_until_complete([&]() -> Future<> {
    auto three = link(trace, "three", link(trace, "two", link(trace, "one", future)));
    co_await yield();
    mark_passes(loop, 5);
    future.set_result();
    co_await three;
    trace("end");
  });
}

SCENARIO(a_cancellation_goes_down_a_chain_of_coroutines_and_comes_back_up) {
  Future<> future(loop);
  loop.run_until_complete([&]() -> Future<> {
    auto one = cancelled_link(trace, "one", future);
    auto two = cancelled_link(trace, "two", one);
    auto three = cancelled_link(trace, "three", two);
    co_await yield();
    mark_passes(loop, 4);
    three.cancel();
    trace(ending(one), ending(three), future.cancelled());
    while (!three.done()) co_await yield();
    trace(ending(one), ending(two), ending(three));
  });
}

SCENARIO(a_coroutine_that_was_cancelled_may_clean_up_in_its_own_time) {
  const auto body = [&]() -> Task<> {
    std::exception_ptr cancelled;
    try {
      co_await Future<>();
    } catch (const CancelledError&) {
      cancelled = std::current_exception();
    }
    for (int number = 0; number < 3; ++number) {
      trace("cleaning", number);
      co_await yield();
    }
    std::rethrow_exception(cancelled);
  };
  loop.run_until_complete([&]() -> Future<> {
    auto task = body();
    co_await yield();
    task.cancel();
    mark_passes(loop, 5);
    while (!task.done()) co_await yield();
    trace(ending(task));
  });
}

SCENARIO(a_gather_of_coroutines_has_their_results_and_fails_with_the_first_failure) {
  loop.run_until_complete([&]() -> Future<> {
    auto two = number_after(2, 2);
    auto one = number_after(1, 1);
    mark_passes(loop, 3);
    const auto [a, b] = co_await gather(two, one);
    trace(a, b);
    auto late = number_after(4, 3);
    auto failing = failing_after(1);
    mark_passes(loop, 3);
    std::string end = "None";
    try {
      co_await gather(late, failing);
    } catch (const Oops& oops) {
      end = oops.what();
    }
    trace(end, ending(late));
    trace(co_await late);
  });
}
