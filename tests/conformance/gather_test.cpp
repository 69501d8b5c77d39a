// gather: the second list of semantics, row 4, row 32, and what the design says of its cancellation.
#include <tulp/wait.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

template <class T>
bool is_pending(const Future<T>& future) {
  return !future.done();
}

}  // namespace

static_assert(std::is_same_v<decltype(gather(Future<int>(), Task<>(), Future<std::string>())),
                             Future<std::tuple<int, std::monostate, std::string>>>);
static_assert(std::is_same_v<decltype(gather(std::vector<Task<int>>())), Future<std::vector<int>>>);
static_assert(std::is_same_v<decltype(gather(std::vector<Future<>>())), Future<>>);

TEST_CASE_METHOD(InVirtualTime<>,
                 "gather gives the results in the order of its arguments, whatever the order of the ends") {
  run([] {
    CHECK(await(gather(number_after(3ms, 1), number_after(1ms, 2), number_after(2ms, 3))) == std::tuple(1, 2, 3));
    const std::vector<Task<int>> tasks{number_after(2ms, 4), number_after(1ms, 5)};
    CHECK(await(gather(tasks)) == std::vector{4, 5});
    const auto [text, nothing, number] = await(
        gather(create_task([] { return std::string("text"); }), create_task([] { sleep(0s); }), number_after(0s, 6)));
    CHECK(text == "text");
    CHECK(nothing == std::monostate());
    CHECK(number == 6);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "gather of nothing is done at once") {
  run([] {
    CHECK(gather().done());
    CHECK(gather(std::vector<Future<int>>()).result().empty());
    CHECK(gather(std::vector<Task<>>()).done());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "gather does not park, and futures that are done already count in the next pass") {
  run([] {
    Future<int> done;
    done.set_result(1);
    const auto both = gather(done, done);
    CHECK(is_pending(both));
    CHECK(await(both) == std::tuple(1, 1));
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a future that is gathered twice counts once, and gives its result twice") {
  run([] {
    auto task = number_after(1ms, 7);
    CHECK(await(gather(std::vector{task, task, task})) == std::vector{7, 7, 7});
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "results that can only be moved are taken, and others are not copied from last references") {
  run([] {
    const auto made = await(gather(create_task([] { return std::make_unique<int>(1); }),
                                   create_task([] { return std::make_unique<int>(2); })));
    CHECK(*std::get<0>(made) + *std::get<1>(made) == 3);
    std::vector<Task<std::unique_ptr<int>>> tasks;
    tasks.push_back(create_task([] { return std::make_unique<int>(3); }));
    CHECK(*await(gather(tasks)).front() == 3);
    struct Counted {
      Counted() = default;
      Counted(const Counted& other) : copies(other.copies + 1) {}
      Counted(Counted&&) = default;
      int copies = 0;
    };
    const auto begin = [] { return gather(create_task([] { return Counted(); })); };
    CHECK(std::get<0>(await(begin())).copies == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "gather fails with the first failure at once; the others run on, and their failures are nobody's") {
  run([] {
    Future<> go_on;
    bool ran_on = false;
    auto late = create_task([&] { await(go_on), ran_on = true; });
    auto failing = create_task([] { sleep(1ms), throw Boom("first"); });
    auto failing_too = create_task([&] { await(go_on), throw Boom("second"); });
    CHECK_THROWS_WITH(await(gather(late, failing, failing_too)), "first");
    CHECK(is_pending(late));
    go_on.set_result();
    await(late);
    CHECK(ran_on);
    let_others_run(2);
  });
  CHECK(report_count() == 0);
}

TEST_CASE_METHOD(InVirtualTime<>, "failures that come in the same pass as the first are nobody's either") {
  run([] {
    const auto fail = [] { throw Boom(); };
    CHECK_THROWS_AS(await(gather(create_task(fail), create_task(fail), create_task(fail))), Boom);
    let_others_run(3);
  });
  CHECK(report_count() == 0);
}

TEST_CASE_METHOD(InVirtualTime<>, "a gather that failed and that nobody asked is reported, once") {
  run([] {
    const auto fail = [] { sleep(0s), throw Boom(); };
    auto both = gather(create_task(fail), create_task(fail));
    let_others_run(6);
    CHECK(both.done());
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].object == "gather");
}

TEST_CASE_METHOD(InVirtualTime<>, "a gather that is dropped cancels nothing, and each failure is reported by itself") {
  run([] {
    bool ran = false;
    static_cast<void>(
        gather(create_task([&] { sleep(0s), ran = true; }), create_task([] { sleep(0s), throw Boom(); })));
    static_cast<void>(gather(Future<>()));  // and a future that nobody will ever set is not kept
    let_others_run(6);
    CHECK(ran);
  });
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "gather fails with FutureCancelledError if one of them is cancelled, and is not cancelled itself") {
  run([] {
    Future<> future;
    auto other = number_after(1h, 1);
    auto both = gather(future, other);
    future.cancel("enough");
    CHECK_THROWS_WITH(await(both), Catch::Contains("enough"));
    CHECK_FALSE(both.cancelled());
    CHECK(is_pending(other));
    other.cancel();
    let_others_run(3);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "with return_exceptions gather waits for all, and errors stay in their futures") {
  run([] {
    Future<int> cancelled;
    std::vector<Future<int>> futures{number_after(2ms, 1), create_task([]() -> int { throw Boom(); }), cancelled};
    cancelled.cancel();
    CHECK(await(gather(futures, {.return_exceptions = true})) == std::vector{1, 0, 0});
    CHECK_THROWS_AS(futures[1].result(), Boom);
    std::vector<Task<>> tasks{create_task([] { throw Boom("nobody asks for it"); })};
    await(gather(tasks, {.return_exceptions = true}));
    tasks.clear();
    struct Bare {
      explicit Bare(int) {}
    };
    CHECK_THROWS_AS(gather(std::vector<Task<Bare>>(), {.return_exceptions = true}), std::invalid_argument);
  });
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(InVirtualTime<>, "gather of futures of different loops throws InvalidStateError") {
  const auto other = new_event_loop();
  Future<> here, there(*other);
  CHECK_THROWS_AS(gather(here, there), InvalidStateError);
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "cancelling a gather cancels all that are not done, and it is cancelled when these have ended") {
  run([] {
    Trace trace;
    auto slow = create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError& error) {
        const CancelShield shield;
        let_others_run(3);
        trace.push_back("slow: " + error.message());
        throw;
      }
    });
    auto quick = number_after(1h, 1);
    auto both = gather(slow, quick, number_after(0s, 2));
    let_others_run(3);
    CHECK(both.cancel("why"));
    CHECK(is_pending(both));
    CHECK_THROWS_WITH(await(both), Catch::Contains("why"));
    CHECK(both.cancelled());
    CHECK(quick.cancelled());
    CHECK(trace == Trace{"slow: why"});
    CHECK_FALSE(both.cancel());
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a task that is cancelled while it waits for a gather goes on when all children have ended") {
  run([] {
    Trace trace;
    auto parent = create_task([&] {
      std::string local = "a local";
      const auto use = [&](int passes) {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          const CancelShield shield;
          let_others_run(passes);
          trace.push_back(local);
          throw;
        }
      };
      try {
        await(gather(create_task(use, 1), create_task(use, 5)));
      } catch (const CancelledError& error) {
        trace.push_back(error.message());
        throw;
      }
    });
    let_others_run(2);
    parent.cancel("stop");
    CHECK_THROWS_AS(await(parent), FutureCancelledError);
    CHECK(parent.cancelled());
    CHECK(trace == Trace{"a local", "a local", "stop"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "an error that comes in answer to the cancellation wins over it, and so do the results") {
  run([] {
    const auto answer_with = [](std::function<int()> answer) {
      return create_task([=] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
        }
        return answer();
      });
    };
    auto failing = create_task([&] { await(gather(number_after(1h, 1), answer_with([]() -> int { throw Boom(); }))); });
    auto giving =
        create_task([&] { return await(gather(answer_with([] { return 1; }), answer_with([] { return 2; }))); });
    let_others_run(2);
    failing.cancel();
    giving.cancel();
    CHECK_THROWS_AS(await(failing), Boom);
    CHECK(await(giving) == std::tuple(1, 2));
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a cancelled gather leaves those alone that somebody else waits for") {
  run([] {
    Future<int> shared, own;
    auto other = create_task([=] { return await(shared); });
    auto parent = create_task([=] { await(gather(shared, own)); });
    auto only_shared = create_task([=] { await(gather(std::vector{shared})); });
    let_others_run(2);
    parent.cancel();
    only_shared.cancel();
    CHECK_THROWS_AS(await(parent), FutureCancelledError);
    CHECK_THROWS_AS(await(only_shared), FutureCancelledError);
    CHECK(parent.cancelled());
    CHECK(own.cancelled());
    shared.set_result(3);
    CHECK(await(other) == 3);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "gathers may be nested to any depth, and be cancelled all at once") {
  run([] {
    constexpr int depth = 2000;
    auto innermost = create_task([] { sleep(1h); });
    Future<> nested = innermost;
    for (int i = 0; i < depth; ++i) nested = gather(std::vector{nested});
    auto waiting = create_task([nested] { await(nested); });
    nested = Future<>();
    let_others_run();
    waiting.cancel();
    CHECK_THROWS_AS(await(waiting), FutureCancelledError);
    CHECK(innermost.cancelled());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a ring of tasks that wait for each other through a gather can be cancelled") {
  run([] {
    Future<> begin;
    Future<> first;
    std::vector<Task<>> tasks;
    tasks.push_back(create_task([&] {
      await(begin);
      await(gather(std::vector{tasks[1]}));
    }));
    tasks.push_back(create_task([&] {
      await(begin);
      await(gather(std::vector{tasks[0]}));
    }));
    let_others_run();
    begin.set_result();
    let_others_run(3);
    tasks[0].cancel();
    for (const auto& task : tasks) CHECK_THROWS_AS(await(shield(Future<>(task))), FutureCancelledError);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a result that the user sets ends a gather, and what its children do does not disturb it") {
  run([] {
    auto both = gather(create_task([] { return 1; }), create_task([]() -> int { throw Boom(); }));
    both.set_result({5, 6});
    CHECK(await(both) == std::tuple(5, 6));
    let_others_run(3);
  });
  CHECK(report_count() == 0);
}
