// with_task_group: the second list of semantics, rows 8 and 9, and what the design adds.
#include <tulp/wait.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Sleeps for ever; says how that ended.
void sleep_until_cancelled(Trace& trace, const std::string& name, int cleanup_passes = 0) {
  try {
    sleep(1h);
  } catch (const CancelledError&) {
    const CancelShield shield;
    let_others_run(cleanup_passes);
    trace.push_back(name + " cancelled");
    throw;
  }
}

/// What `call` throws, as text.
template <class F>
std::string what_of(F&& call) {
  try {
    call();
  } catch (...) {
    return describe(std::current_exception());
  }
  return "nothing";
}

}  // namespace

TEST_CASE_METHOD(InVirtualTime<>, "with_task_group returns what its body returned, when all of its tasks have ended") {
  run([] {
    Trace trace;
    const int value = with_task_group([&](TaskGroup& group) {
      group.create_task([&] { sleep(2ms), trace.push_back("slow"); });
      group.create_task([&](const std::string& name) { sleep(1ms), trace.push_back(name); }, "quick");
      trace.push_back("body");
      return 7;
    });
    CHECK(value == 7);
    CHECK(trace == Trace{"body", "quick", "slow"});
    with_task_group([](TaskGroup&) {});
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a task of a group may create others, also when the body has ended") {
  run([] {
    int count = 0;
    std::function<void(TaskGroup&, int)> branch = [&](TaskGroup& group, int depth) {
      sleep(0s);
      ++count;
      for (int i = 0; i < 2 && depth > 0; ++i) group.create_task(branch, std::ref(group), depth - 1);
    };
    with_task_group([&](TaskGroup& group) { group.create_task(branch, std::ref(group), 4); });
    CHECK(count == 31);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a task of a group gives its result, and has the options that it was given") {
  run([] {
    with_task_group([](TaskGroup& group) {
      const auto task = group.create_task(TaskOptions{.name = "crawl"}, [] { return 3; });
      CHECK(task.name() == "crawl");
      CHECK(await(task) == 3);
    });
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "the first failure cancels the siblings and the body, and is thrown when all have ended") {
  run([] {
    Trace trace;
    const auto body = [&](TaskGroup& group) {
      group.create_task([&] { sleep_until_cancelled(trace, "sibling", 5); });
      group.create_task([] { sleep(1ms), throw Boom(); });
      sleep_until_cancelled(trace, "body");
    };
    CHECK_THROWS_WITH(with_task_group(body), "failures in a task group (1): boom");
    CHECK(trace == Trace{"body cancelled", "sibling cancelled"});
    CHECK(current_task().cancelling() == 0);
    sleep(0s);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "all failures are in the ExceptionGroup, and those of groups within it can be visited") {
  run([] {
    const auto body = [](TaskGroup& group) {
      group.create_task([] { throw Boom("first"); });
      group.create_task([] { with_task_group([](TaskGroup&) { throw Boom("inner"); }); });
      group.create_task([] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          throw InvalidStateError("in answer");
        }
      });
      sleep(1h);
    };
    try {
      with_task_group(body);
      FAIL("nothing was thrown");
    } catch (const ExceptionGroup& group) {
      CHECK(group.exceptions().size() == 3);
      CHECK(std::string(group.what()) ==
            "failures in a task group (3): first; failures in a task group (1): inner; in answer");
      Trace booms;
      CHECK(group.visit<Boom>([&](const Boom& boom) { booms.push_back(boom.what()); }) == 2);
      CHECK(booms == Trace{"first", "inner"});
      CHECK(group.visit<OsError>([](const OsError&) {}) == 0);
    }
  });
}

TEST_CASE("an ExceptionGroup of nothing is an error") {
  CHECK_THROWS_AS(ExceptionGroup("nothing", {}), std::invalid_argument);
}

TEST_CASE_METHOD(InVirtualTime<>, "a body that throws cancels the tasks; what it throws is in the ExceptionGroup") {
  run([] {
    Trace trace;
    const auto body = [&](TaskGroup& group) {
      group.create_task([&] { sleep_until_cancelled(trace, "task"); });
      let_others_run(2);
      throw Boom("body");
    };
    CHECK(what_of([&] { with_task_group(body); }) == "failures in a task group (1): body");
    CHECK(trace == Trace{"task cancelled"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a failure that the body was waiting for is in the ExceptionGroup once") {
  run([] {
    const auto body = [](TaskGroup& group) { await(group.create_task([] { throw Boom(); })); };
    CHECK(what_of([&] { with_task_group(body); }) == "failures in a task group (1): boom");
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a task of a group that is cancelled is no failure, nor is what its cancellation has cancelled") {
  run([] {
    with_task_group([](TaskGroup& group) {
      auto cancelled = group.create_task([] { sleep(1h); });
      Future<> shared;
      auto other = group.create_task([=] { await(shield(shared)); });
      let_others_run(2);
      cancelled.cancel();
      other.cancel();
      // It ends with a FutureCancelledError, and its own cancellation it was.
      auto late = group.create_task([=] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          throw FutureCancelledError("on my way out");
        }
      });
      let_others_run();
      late.cancel();
    });
    // Of another's it is an ordinary failure.
    const auto body = [](TaskGroup& group) {
      Future<> future;
      future.cancel();
      group.create_task([=] { await(future); });
    };
    CHECK_THROWS_AS(with_task_group(body), ExceptionGroup);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a group that ends, or has ended, takes no more tasks") {
  run([] {
    const auto refused = [](TaskGroup& group) { CHECK_THROWS_AS(group.create_task([] {}), InvalidStateError); };
    const auto body = [&](TaskGroup& group) {
      group.create_task([] { throw Boom(); });
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        refused(group);
        throw;
      }
    };
    CHECK_THROWS_AS(with_task_group(body), ExceptionGroup);
    with_task_group([&](TaskGroup& group) {
      group.cancel();
      refused(group);
    });
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "group.cancel() ends tasks and body early, and that is no error") {
  run([] {
    Trace trace;
    with_task_group([&](TaskGroup& group) {
      group.create_task([&] { sleep_until_cancelled(trace, "task"); });
      group.create_task([&] {
        sleep(1ms);
        group.cancel();
        group.cancel();
      });
      sleep_until_cancelled(trace, "body");
      trace.push_back("not reached");
    });
    CHECK(trace == Trace{"task cancelled", "body cancelled"});
    CHECK(current_task().cancelling() == 0);
    sleep(0s);
    // By the body itself, which is cancelled at its next park, if there is one.
    with_task_group([&](TaskGroup& group) { group.cancel(); });
    sleep(0s);
    CHECK(with_task_group([&](TaskGroup& group) {
            group.create_task([] { sleep(1h); });
            group.cancel();
            return 5;
          }) == 5);
    sleep(0s);
    const auto cut_short = [](TaskGroup& group) {
      group.cancel();
      sleep(0s);
      return 5;
    };
    CHECK_THROWS_AS(with_task_group(cut_short), FutureCancelledError);
    CHECK(current_task().cancelling() == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a failure while a group ends early is thrown all the same") {
  run([] {
    const auto body = [](TaskGroup& group) {
      group.create_task([] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          throw Boom();
        }
      });
      let_others_run(2);
      group.cancel();
    };
    CHECK_THROWS_AS(with_task_group(body), ExceptionGroup);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a cancellation from outside reaches the body and the tasks, and comes out when all have ended") {
  run([] {
    Trace trace;
    bool body_ends_early = false;
    SECTION("while the body runs") {}
    SECTION("when the body has ended") { body_ends_early = true; }
    auto task = create_task([&] {
      std::string local = "task";
      try {
        with_task_group([&](TaskGroup& group) {
          group.create_task([&] { sleep_until_cancelled(trace, local, 4); });
          if (!body_ends_early) sleep(1h);
        });
      } catch (const CancelledError& error) {
        trace.push_back(error.message());
        CHECK(error.asked_at() != nullptr);
        throw;
      }
    });
    let_others_run(3);
    task.cancel("from outside");
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(task.cancelled());
    CHECK(trace == Trace{"task cancelled", "from outside"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a failure wins over a cancellation from outside, which comes at the next park") {
  run([] {
    Trace trace;
    auto task = create_task([&] {
      try {
        with_task_group([&](TaskGroup& group) {
          group.create_task([] {
            try {
              sleep(1h);
            } catch (const CancelledError&) {
              throw Boom();
            }
          });
          sleep(1h);
        });
      } catch (const ExceptionGroup&) {
        trace.push_back("failed");
      }
      sleep_until_cancelled(trace, "next park");
    });
    let_others_run(3);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(trace == Trace{"failed", "next park cancelled"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a result that no cancellation has cut short wins, and the cancellation comes at the next park") {
  run([] {
    Trace trace;
    auto task = create_task([&] {
      const int value = with_task_group([&](TaskGroup& group) {
        group.create_task([] {
          try {
            sleep(1h);
          } catch (const CancelledError&) {
          }
        });
        return 3;
      });
      trace.push_back(std::to_string(value));
      sleep_until_cancelled(trace, "next park");
    });
    let_others_run(3);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(trace == Trace{"3", "next park cancelled"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a failure and a cancellation from outside together end the task as cancelled if nobody catches") {
  run([] {
    auto task = create_task([] {
      with_task_group([&](TaskGroup& group) {
        group.create_task([] {
          let_others_run(2);
          throw Boom();
        });
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          current_task().cancel("from outside");
          throw;
        }
      });
    });
    CHECK_THROWS_AS(await(task), ExceptionGroup);
    CHECK(task.cancelling() == 1);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "whoever awaits a task of a group cancels it, for the group does not count as waiting") {
  run([] {
    with_task_group([](TaskGroup& group) {
      auto task = group.create_task([] { sleep(1h); });
      CHECK_THROWS_AS(wait_for(task, 1ms), TimeoutError);
      CHECK(task.cancelled());
    });
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "KeyboardInterrupt ends a group and comes out alone; other failures are reported") {
  run([] {
    const auto by_task = [](TaskGroup& group) {
      group.create_task([] { throw KeyboardInterrupt(); });
      group.create_task([] { throw Boom("reported"); });
      sleep(1h);
    };
    CHECK_THROWS_AS(with_task_group(by_task), KeyboardInterrupt);
    const auto by_body = [](TaskGroup&) { throw KeyboardInterrupt(); };
    CHECK_THROWS_AS(with_task_group(by_body), KeyboardInterrupt);
    CHECK(current_task().cancelling() == 0);
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(describe(reports[0].exception) == "reported");
}

TEST_CASE_METHOD(InVirtualTime<>, "groups may be nested to any depth, and be cancelled all at once") {
  run([] {
    std::function<void(int)> nest = [&](int left) {
      with_task_group([&](TaskGroup& group) {
        if (left > 0)
          group.create_task(nest, left - 1);
        else
          sleep(1h);
      });
    };
    auto task = create_task(nest, 300);
    let_others_run(310);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(task.cancelled());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a limit within a group, and a group within a limit, know their own cancellations") {
  run([] {
    Trace trace;
    CHECK_THROWS_AS(with_timeout(1ms,
                                 [&] {
                                   with_task_group([&](TaskGroup& group) {
                                     group.create_task([&] { sleep_until_cancelled(trace, "task"); });
                                   });
                                 }),
                    TimeoutError);
    const auto body = [](TaskGroup& group) {
      group.create_task([] { sleep(1ms), throw Boom(); });
      with_timeout(1h, [] { sleep(1h); });
    };
    CHECK_THROWS_AS(with_task_group(body), ExceptionGroup);
    with_task_group([&](TaskGroup&) { CHECK_THROWS_AS(with_timeout(1ms, [] { sleep(1h); }), TimeoutError); });
    CHECK(trace == Trace{"task cancelled"});
    CHECK(current_task().cancelling() == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "start() waits until the task says that it has started, and gives what that says") {
  run([] {
    Trace trace;
    with_task_group([&](TaskGroup& group) {
      const int port = group.start<int>([&](TaskStatus<int> status) {
        sleep(1ms);
        status.started(8080);
        CHECK_THROWS_AS(status.started(1), InvalidStateError);
        sleep(1ms);
        trace.push_back("served");
      });
      trace.push_back(std::to_string(port));
      group.start([](const TaskStatus<>& status) { status.started(); });
    });
    CHECK(trace == Trace{"8080", "served"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "what a task throws before it has started is thrown by start(), and the group goes on") {
  run([] {
    with_task_group([](TaskGroup& group) {
      CHECK_THROWS_AS(group.start<int>([](TaskStatus<int>) { sleep(0s), throw Boom(); }), Boom);
      CHECK_THROWS_AS(group.start([](TaskStatus<>) {}), InvalidStateError);
      sleep(0s);
    });
    const auto fails_later = [](TaskGroup& group) {
      group.start([](TaskStatus<> status) {
        status.started();
        throw Boom();
      });
      sleep(1h);
    };
    CHECK_THROWS_AS(with_task_group(fails_later), ExceptionGroup);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "cancelling who waits in start() cancels the task, and waits for its end") {
  run([] {
    for (const int passes : {1, 2, 3}) {  // before the task's first step, too
      Trace trace;
      auto starter = create_task([&] {
        std::string local = "starting";
        with_task_group(
            [&](TaskGroup& group) { group.start([&](TaskStatus<>) { sleep_until_cancelled(trace, local, 3); }); });
      });
      let_others_run(passes);
      starter.cancel("no more");
      CHECK_THROWS_WITH(await(starter), Catch::Contains("no more"));
      CHECK(starter.cancelled());
      CHECK(trace == (passes == 1 ? Trace{} : Trace{"starting cancelled"}));
    }
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "with_task_group outside a task throws InvalidStateError") {
  CHECK_THROWS_AS(with_task_group([](TaskGroup&) {}), InvalidStateError);
}
