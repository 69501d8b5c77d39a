// Promise: futures that any thread completes, as callbacks of C libraries do.
#include <tulp/promise.hpp>
#include <tulp/tulp.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Runs `work` in a thread that ends before this does.
class Thread {
 public:
  template <class F>
  explicit Thread(F work) : thread_(std::move(work)) {}
  ~Thread() { thread_.join(); }

 private:
  std::thread thread_;
};

// A library in C.
using Callback = void (*)(int answer, void* user);
std::thread ask(int question, Callback callback, void* user) {
  return std::thread([=] { callback(question + 1, user); });
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a promise is completed by another thread, with a result or an error") {
  run([] {
    Promise<int> number;
    auto future = number.get_future();
    const Thread one([promise = std::move(number)]() mutable { promise.set_result(5); });
    CHECK_FALSE(number);
    CHECK(await(future) == 5);
    Promise<> nothing;
    auto done = nothing.get_future();
    const Thread two([promise = std::move(nothing)]() mutable { promise.set_result(); });
    await(done);
    Promise<std::unique_ptr<int>> failing;
    auto failed = failing.get_future();
    const Thread three([promise = std::move(failing)]() mutable { promise.set_exception(Boom()); });
    CHECK_THROWS_AS(await(failed), Boom);
  });
}

TEST_CASE_METHOD(LoopTest, "on the loop's own thread it is done at once, and its waiters in their turn") {
  run([] {
    Promise<int> promise;
    auto future = promise.get_future();
    bool has_heard = false;
    future.add_done_callback([&](const auto&) { has_heard = true; });
    promise.set_result(1);
    CHECK(future.done());
    CHECK_FALSE(has_heard);
    let_others_run();
    CHECK(has_heard);
  });
}

TEST_CASE_METHOD(LoopTest, "a promise is completed once") {
  run([] {
    Promise<int> promise;
    promise.set_result(1);
    CHECK_THROWS_AS(promise.set_result(2), InvalidStateError);
    CHECK_THROWS_AS(promise.set_exception(Boom()), InvalidStateError);
    CHECK_THROWS_AS(promise.set_cancelled(), InvalidStateError);
    CHECK_THROWS_AS(promise.get_future(), InvalidStateError);
    CHECK_THROWS_AS(Promise<>().set_exception(std::exception_ptr()), std::invalid_argument);
  });
}

TEST_CASE_METHOD(LoopTest, "a promise that is dropped, on whatever thread, fails its future") {
  run([] {
    auto future = Promise<>().get_future();
    CHECK_THROWS_WITH(await(future), Catch::Contains("dropped without a result"));
    Promise<> promise;
    auto other = promise.get_future();
    const Thread thread([taken = std::optional(std::move(promise))]() mutable { taken.reset(); });
    CHECK_THROWS_AS(await(other), InvalidStateError);
    Promise<int> assigned;
    auto lost = assigned.get_future();
    assigned = Promise<int>();
    CHECK_THROWS_AS(await(lost), InvalidStateError);
    assigned.set_result(1);
    const Promise<> nobody_waits_for_it;
  });
}

TEST_CASE_METHOD(LoopTest, "without a listener a cancellation ends the future at once, and the result is dropped") {
  run([&] {
    Promise<int> promise;
    auto future = promise.get_future();
    CHECK_FALSE(promise.is_cancelled());
    CHECK(future.cancel());
    CHECK(future.cancelled());
    CHECK(promise.is_cancelled());
    promise.set_result(1);
    Promise<int> failing;
    failing.get_future().cancel();
    CHECK(report_count() == 0);
    failing.set_exception(Boom());
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK_THAT(reports[0].message, Catch::Contains("after its future was cancelled"));
  });
}

TEST_CASE_METHOD(LoopTest, "a listener hears of a cancellation once, in its turn, and decides when the future ends") {
  run([] {
    const auto listening = [](int& calls) {
      Promise<int> promise;
      promise.on_cancel([&] { ++calls; });
      return promise;
    };
    int calls = 0;
    auto stopped = listening(calls);
    auto waiter = create_task([future = stopped.get_future()] { await(future); });
    let_others_run();
    waiter.cancel("enough");
    CHECK(calls == 0);
    CHECK(stopped.get_future().cancel());
    let_others_run(2);
    CHECK(calls == 1);
    CHECK_FALSE(waiter.done());  // what it lent is still in use
    stopped.set_cancelled();
    CHECK_THROWS_AS(await(waiter), FutureCancelledError);
    CHECK(waiter.cancelled());

    auto won = listening(calls);
    auto result = won.get_future();
    result.cancel();
    won.set_result(7);
    CHECK(await(result) == 7);

    auto future = [&] {
      auto dropped = listening(calls);
      auto its = dropped.get_future();
      its.cancel();
      return its;
    }();
    CHECK(future.cancelled());
    let_others_run();
  });
}

TEST_CASE_METHOD(LoopTest, "a promise outlives its loop") {
  std::optional<Promise<std::string>> promise;
  auto future = run([&] {
    promise.emplace();
    return std::optional(promise->get_future());
  });
  loop().close();
  const Thread thread([taken = std::move(*promise)]() mutable { taken.set_result("too late"); });
}

TEST_CASE_METHOD(LoopTest, "the recipe for a C library: the promise goes through the user pointer") {
  run([] {
    std::thread worker;
    const auto look_up = [&](int question) {
      auto promise = std::make_unique<Promise<int>>();
      Future<int> future = promise->get_future();
      const Callback call_back = [](int answer, void* user) {
        const std::unique_ptr<Promise<int>> done(static_cast<Promise<int>*>(user));
        done->set_result(answer);
      };
      worker = ask(question, call_back, promise.get());
      promise.release();
      return future;
    };
    CHECK(await(look_up(41)) == 42);
    worker.join();
  });
}
