// staggered_race: the second list of semantics, row 29.
#include <tulp/staggered_race.hpp>
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

using Attempts = std::vector<std::function<int()>>;

}  // namespace

TEST_CASE_METHOD(InVirtualTime<>, "the first attempt that returns wins, and the others are cancelled and have ended") {
  run([] {
    Trace trace;
    const auto slow = [&] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        const CancelShield shield;
        let_others_run(3);
        trace.push_back("slow one ended");
        throw;
      }
      return 1;
    };
    const auto race = staggered_race(Attempts{slow, [] { return 2; }, [] { return 3; }}, 1ms);
    CHECK(race.winner == 2);
    CHECK(race.index == 1U);
    REQUIRE(race.errors.size() == 2);  // the third one never began
    CHECK_THROWS_AS(std::rethrow_exception(race.errors[0]), FutureCancelledError);
    CHECK(race.errors[1] == nullptr);
    CHECK(trace == Trace{"slow one ended"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "an attempt begins when the one before it has failed, or when its delay is over") {
  run([&] {
    const TimePoint start = loop().time();
    TimePoint third_at;
    const auto race = staggered_race(Attempts{[]() -> int { throw Boom("first"); }, [] { return sleep(1h), 2; },
                                              [&] { return third_at = loop().time(), 3; }},
                                     5ms);
    CHECK(race.winner == 3);
    CHECK(describe(race.errors[0]) == "first");
    CHECK(third_at >= start + 5ms);
    CHECK(third_at < start + 30min);
    // Without a delay only a failure lets the next one begin.
    const auto patient = staggered_race(Attempts{[] { return sleep(20ms), 1; }, [] { return 2; }}, Duration::max());
    CHECK(patient.winner == 1);
    CHECK(patient.errors.size() == 1);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "if all fail there is no winner, and every error is told") {
  run([] {
    const auto race = staggered_race(Attempts{[]() -> int { throw Boom("a"); }, []() -> int { throw Boom("b"); }}, 1h);
    CHECK_FALSE(race.winner);
    CHECK_FALSE(race.index);
    REQUIRE(race.errors.size() == 2);
    CHECK(describe(race.errors[0]) + describe(race.errors[1]) == "ab");
    CHECK_FALSE(staggered_race(Attempts(), 1h).index);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "attempts may return nothing, or what can only be moved") {
  run([] {
    CHECK(staggered_race(std::vector<std::function<void()>>{[] {}}, 1ms).winner);
    const auto make = [] { return std::make_unique<int>(4); };
    CHECK(**staggered_race(std::vector{make}, 1ms).winner == 4);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a cancelled race cancels its attempts, begins no more, and waits for them") {
  run([] {
    Trace trace;
    auto task = create_task([&] {
      std::string local = "ended";
      const auto attempt = [&] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          const CancelShield shield;
          let_others_run(3);
          trace.push_back(local);
          throw;
        }
        return 1;
      };
      staggered_race(Attempts{attempt, attempt, attempt}, 0s);
    });
    let_others_run(2);
    task.cancel("enough");
    CHECK_THROWS_WITH(await(task), Catch::Contains("enough"));
    CHECK(task.cancelled());
    CHECK_FALSE(trace.empty());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a winner wins over a cancellation, which comes at the next park") {
  run([] {
    auto task = create_task([] {
      const auto race = staggered_race(Attempts{[] {
                                         try {
                                           sleep(1h);
                                         } catch (const CancelledError&) {
                                         }
                                         return 6;
                                       }},
                                       1h);
      CHECK(race.winner == 6);
      sleep(1h);
    });
    let_others_run(3);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "staggered_race outside a task throws InvalidStateError") {
  CHECK_THROWS_AS(staggered_race(Attempts{[] { return 1; }}, 1s), InvalidStateError);
}
