// What the library's upper floors ask of a loop: deferred work and services.
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <functional>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
struct Work : detail::Deferred {
  explicit Work(std::function<void()> f) : what(std::move(f)) {}
  void run_deferred() noexcept override { what(); }
  std::function<void()> what;
};

struct Service : detail::LoopService {
  Service(EventLoop&, Trace& t, std::string n) : trace(t), name(std::move(n)) {}
  ~Service() override { trace.push_back(name + " destroyed"); }
  void shut_down(Shutdown phase) override {
    trace.push_back(name + (phase == Shutdown::refuse   ? " refuses"
                            : phase == Shutdown::finish ? " finishes"
                                                        : " aborts"));
    if (phase == Shutdown::abort) quiet = true;
  }
  bool is_quiet() const override { return quiet; }
  Trace& trace;
  std::string name;
  bool quiet = true;
};
struct OtherService : Service {
  using Service::Service;
};
}  // namespace

TEST_CASE_METHOD(
    LoopTest,
    "deferred work is done when the task that deferred it parks, before anything else runs, and belongs to no task") {
  Trace trace;
  run([&] {
    Work work([&] {
      trace.push_back("work");
      CHECK_FALSE(current_task());
      CHECK_THROWS_AS(sleep(0s), InvalidStateError);
    });
    auto other = create_task([&] { trace.push_back("other"); });
    loop().defer(work);
    CHECK(trace.empty());
    sleep(0s);
    CHECK(trace == Trace{"work", "other"});
    CHECK(current_task());
    sleep(0s);
    CHECK(trace.size() == 2);
  });
}

TEST_CASE_METHOD(LoopTest, "deferred work of callbacks is done at the end of their batch, and may defer more") {
  Trace trace;
  Work second([&] { trace.push_back("second work"); });
  Work first([&] {
    trace.push_back("first work");
    loop().defer(second);
  });
  loop().call_soon([&] { loop().defer(first); });
  loop().call_soon([&] { trace.push_back("callback"); });
  run_once();
  CHECK(trace == Trace{"callback", "first work", "second work"});
}

TEST_CASE_METHOD(LoopTest, "deferred work that dies before its turn is forgotten") {
  loop().call_soon([&] {
    Work gone([] { FAIL("it ran"); });
    loop().defer(gone);
  });
  run_once();
}

TEST_CASE_METHOD(
    LoopTest, "a service is made when it is first asked for, told of the end in order, and destroyed youngest first") {
  Trace trace;
  auto& first = loop().service<Service>(trace, "first");
  CHECK(&loop().service<Service>(trace, "unused") == &first);
  loop().service<OtherService>(trace, "second");
  SECTION("what is quiet is not waited for") {
    const TimePoint start = loop().time();
    loop().close();
    CHECK(loop().time() < start + 1s);
  }
  SECTION("what does not end within the limit is asked to finish, then aborted") {
    first.quiet = false;
    loop().shut_down(1ms);
    const auto place_of = [&](const char* what) { return std::find(trace.begin(), trace.end(), what) - trace.begin(); };
    CHECK(place_of("first refuses") < place_of("first finishes"));
    CHECK(place_of("first finishes") < place_of("first aborts"));
    CHECK(place_of("first aborts") < static_cast<std::ptrdiff_t>(trace.size()));
    loop().close();
  }
  CHECK(Trace(trace.begin(), trace.begin() + 2) == Trace{"first refuses", "second refuses"});
  CHECK(Trace(trace.end() - 2, trace.end()) == Trace{"second destroyed", "first destroyed"});
}

TEST_CASE_METHOD(LoopTest,
                 "a timer that is due when something else has queued its target already does not queue it twice") {
  struct Counter final : Runnable {
    void run() noexcept override { ++runs; }
    int runs = 0;
  } target;
  Timer timer(target);
  timer.set_when(loop().time());
  loop().start_timer(timer);
  loop().post(target);
  run_once();
  CHECK(target.runs == 1);
  CHECK_FALSE(timer.is_scheduled());
}
