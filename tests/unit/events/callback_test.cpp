#include <tulp/event_loop.hpp>
#include <tulp/handle.hpp>

#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Tells how many of its kind exist.
struct Counted {
  explicit Counted(int& count) : alive(count) { ++alive; }
  Counted(const Counted& other) : alive(other.alive) { ++alive; }
  ~Counted() { --alive; }
  int& alive;
};

}  // namespace

TEST_CASE_METHOD(LoopTest, "a callable is destroyed once, however its callback ends") {
  int alive = 0;
  int runs = 0;
  const auto call = [&] { return [counted = Counted(alive), &runs] { ++runs; }; };
  SECTION("it runs") {
    const Handle soon = loop().call_soon(call());
    const Handle timed = loop().call_later(-1s, call());
    const Handle posted = loop().call_soon_threadsafe(call());
    run_once();
    run_once();
    CHECK(runs == 3);
    CHECK(alive == 0);
  }
  SECTION("it is cancelled, and its turn comes") {
    for (Handle handle : {loop().call_soon(call()), Handle(loop().call_later(-1s, call()))}) {
      handle.cancel();
      handle.cancel();
    }
    CHECK(alive == 0);
    run_once();
    CHECK(runs == 0);
  }
  SECTION("its handle outlives the loop's interest") {
    Handle handle = loop().call_soon(call());
    run_once();
    CHECK(alive == 0);
    handle.cancel();
    CHECK(runs == 1);
  }
  SECTION("its loop is closed") {
    const Handle soon = loop().call_soon(call());
    loop().call_later(1h, call());
    loop().call_soon_threadsafe(call());
    loop().close();
    CHECK(alive == 0);
    CHECK_THROWS_AS(loop().call_soon(call()), InvalidStateError);
    CHECK_THROWS_AS(loop().call_later(1h, call()), InvalidStateError);
    CHECK_THROWS_AS(loop().call_soon_threadsafe(call()), InvalidStateError);
    CHECK(runs == 0);
  }
  CHECK(alive == 0);
}

TEST_CASE_METHOD(LoopTest, "a callable whose move throws is not scheduled, and nothing is left of it") {
  struct Stubborn {
    Stubborn() = default;
    Stubborn(const Stubborn& other) : copies_left(other.copies_left - 1) {
      if (copies_left < 0) throw std::runtime_error("will not be copied");
    }
    void operator()() const {}
    int copies_left = 1;
  };
  const Stubborn stubborn;
  CHECK_THROWS_AS(loop().call_soon(stubborn), std::runtime_error);
  CHECK_THROWS_AS(loop().call_later(1s, stubborn), std::runtime_error);
  CHECK_THROWS_AS(loop().call_soon_threadsafe(stubborn), std::runtime_error);
  run_once();
}

TEST_CASE_METHOD(LoopTest, "a callable of any size and alignment can be called") {
  struct alignas(128) Wide {
    bool operator()() const { return reinterpret_cast<std::uintptr_t>(this) % 128 == 0; }
  };
  struct Large {
    char bytes[1000] = {};
  };
  int right = 0;
  loop().call_soon([&, wide = Wide()] { right += wide() ? 1 : 0; });
  loop().call_later(-1s, [&, wide = Wide()] { right += wide() ? 1 : 0; });
  loop().call_soon([&, large = Large()] { right += large.bytes[999] == 0 ? 1 : 0; });
  loop().call_later(-1s, [&, large = Large()] { right += large.bytes[999] == 0 ? 1 : 0; });
  run_once();
  CHECK(right == 4);
}

TEST_CASE_METHOD(LoopTest, "small callbacks and timers allocate nothing in a steady state") {
  if (!AllocationCount::is_counting()) return;
  if (kind() == LoopKind::foreign) return;  // which keeps its timers in a std::map
  int runs = 0;
  const auto turn = [&] {
    loop().call_soon([&runs] { ++runs; });
    loop().call_later(-1s, [&runs] { ++runs; });
    loop().call_later(1h, [&runs] { ++runs; }).cancel();
    loop().call_soon_threadsafe([&runs] { ++runs; });
    run_once();
  };
  turn();
  const AllocationCount allocations;
  for (int i = 0; i < 100; ++i) turn();
  CHECK(allocations.count() == 0);
  CHECK(runs == 303);
}

TEST_CASE_METHOD(LoopTest, "a handle may be dropped on another thread while its callback runs") {
  int runs = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<Handle> handles;
    for (int n = 0; n < 50; ++n) handles.push_back(loop().call_soon([&] { ++runs; }));
    std::thread other([mine = std::move(handles)]() mutable { mine.clear(); });
    run_once();
    other.join();
  }
  CHECK(runs == 200 * 50);
}
