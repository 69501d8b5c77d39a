// An error that nobody takes note of is reported with the stack of its throw.
#include <tulp/tulp.hpp>

#include <stdexcept>
#include <string>
#include <thread>

#include "base/sanitizers.hpp"
#include "support/collected_log.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

const volatile bool shall_fail = true;  // the compiler must not know

[[gnu::noinline]] void fail_deep_down() {
  if (shall_fail) throw Boom();
}
constexpr int line_of_throw = __LINE__ - 2;
[[gnu::noinline]] void fail_below() {
  fail_deep_down();
  asm volatile("");  // no tail call
}

std::string place(int line) { return "lost_errors_test.cpp:" + std::to_string(line); }

[[gnu::noinline]] void fail_below(int depth) {
  if (depth > 0) fail_below(depth - 1);
  fail_deep_down();
}

/// The text of `report` from the line on that begins with `title`, to the next title.
std::string part(const std::string& report, const std::string& title) {
  const std::size_t begin = report.find("  " + title + "\n");
  if (begin == std::string::npos) return {};
  const std::size_t end = report.find("\n  awaited at", begin + 1);
  return report.substr(begin, end == std::string::npos ? end : end - begin);
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a failed task that nobody asks is reported with the stack of the throw, innermost first") {
  const int line_of_call = __LINE__ + 1;
  run([] { create_task([] { fail_below(); }); });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  REQUIRE(reports[0].trace != nullptr);
  CHECK(reports[0].trace->awaited_at.empty());
  CHECK_THAT(describe_code_address(reports[0].trace->thrown_at.at(0)), Catch::StartsWith(place(line_of_throw)));
  const std::string text = to_string(reports[0]);
  CAPTURE(text);
  const std::string stack = part(text, "thrown at");
  const auto thrown = stack.find(place(line_of_throw));
  const auto between = stack.find("fail_below()");
  const auto called = stack.find(place(line_of_call));
  CHECK(thrown < between);
  CHECK(between < called);
  CHECK(called != std::string::npos);
  CHECK(stack.find("tulp::detail::") == std::string::npos);  // neither the runtime's nor our own frames
  CHECK(stack.find("__cxa_throw") == std::string::npos);
}

TEST_CASE_METHOD(LoopTest,
                 "an error that goes through awaits keeps the stack of its throw, and tells where it was awaited") {
  int line_of_middle = 0, line_of_outer = 0;
  run([&] {
    auto inner = create_task([] { fail_below(); });
    line_of_middle = __LINE__ + 1;
    auto middle = create_task([inner] { await(inner); });
    line_of_outer = __LINE__ + 1;
    create_task([middle] { await(middle); });
  });
  let_pass(0s);
  for (int i = 0; i < 5; ++i) run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  const std::string text = to_string(reports[0]);
  CAPTURE(text);
  CHECK_THAT(part(text, "thrown at"), Catch::Contains(place(line_of_throw)));
  REQUIRE(reports[0].trace->awaited_at.size() == 2);
  const auto middle = text.find("tulp::await");
  CHECK(text.find(place(line_of_middle)) > middle);
  CHECK(text.rfind(place(line_of_outer)) > text.find(place(line_of_middle)));
}

TEST_CASE_METHOD(LoopTest, "what comes through gather, shield or a group keeps the stack of its throw") {
  run([] {
    create_task([] { await(gather(create_task(fail_deep_down))); });
    create_task([] { await(shield(create_task(fail_deep_down))); });
    create_task([] { with_task_group([](TaskGroup& group) { group.start([](TaskStatus<>) { fail_deep_down(); }); }); });
    create_task([] {
      with_task_group([](TaskGroup& group) {
        group.create_task(fail_deep_down);
        sleep(1h);
      });
    });
    for (int i = 0; i < 10; ++i) sleep(0s);
  });
  run_once();
  const auto reports = take_reports();
  CHECK(reports.size() == 4);
  for (const ExceptionContext& report : reports) {
    const std::string text = to_string(report);
    CAPTURE(text);
    CHECK(text.find(place(line_of_throw)) != std::string::npos);
  }
}

TEST_CASE_METHOD(LoopTest, "a chain of awaits is cut at eight") {
  run([] {
    Task<> last = create_task([] { fail_deep_down(); });
    for (int i = 0; i < 20; ++i) last = create_task([last] { await(last); });
    while (!last.done()) sleep(0s);
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].trace->awaited_at.size() == 8);
}

TEST_CASE_METHOD(LoopTest, "an error is never given the stack of another one, though it lies where that one lay") {
  run([] {
    for (int i = 0; i < 3; ++i) {
      {
        auto failed = create_task([] { fail_deep_down(); });
        CHECK_THROWS_AS(await(failed), Boom);  // the stack is known, and nobody takes it
      }
      Future<> stored;
      stored.set_exception(Boom());  // never thrown, at the same address most likely
    }
  });
  for (const ExceptionContext& report : take_reports()) CHECK(report.trace == nullptr);
  run([] {
    auto failed = create_task([] { fail_deep_down(); });
    CHECK_THROWS_AS(await(failed), Boom);
    failed = create_task([] {});
    create_task([] { throw Boom(); });
  });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(to_string(reports[0]), !Catch::Contains("fail_deep_down"));
}

TEST_CASE_METHOD(LoopTest, "destructors that park during the unwinding do not lose the stack") {
  run([&] {
    const auto task = create_task([] {
      struct Cleanup {
        ~Cleanup() { sleep(0s); }
      } cleanup;
      fail_deep_down();
    });
    const auto other = create_task([] { throw 42; });
    sleep(0s), sleep(0s), sleep(0s);
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 2);
  CHECK_THAT(to_string(reports[0]), !Catch::Contains("fail_deep_down"));
  CHECK_THAT(to_string(reports[1]), Catch::Contains("fail_deep_down"));
}

TEST_CASE_METHOD(LoopTest, "what throws an exception again becomes its place, for the first stack is gone by then") {
  int line_of_rethrow = 0;
  run([&] {
    create_task([&] {
      try {
        fail_deep_down();
      } catch (const Boom&) {
        line_of_rethrow = __LINE__ + 1;
        throw;
      }
    });
  });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(describe_code_address(reports[0].trace->thrown_at.at(0)), Catch::StartsWith(place(line_of_rethrow)));
}

TEST_CASE_METHOD(LoopTest, "thrown pointers and numbers have a stack too; a cancellation has none") {
  run([] {
    create_task([] { throw "a pointer"; });
    create_task([] { throw 7; });
    auto cancelled = create_task([] { sleep(1h); });
    sleep(0s);
    cancelled.cancel();
    sleep(0s);
  });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 2);
  for (const ExceptionContext& report : reports) {
    REQUIRE(report.trace != nullptr);
    CHECK_THAT(describe_code_address(report.trace->thrown_at.at(0)), Catch::StartsWith("lost_errors_test.cpp"));
  }
}

TEST_CASE_METHOD(LoopTest, "a callback that fails is reported with the stack of its throw, of whatever kind it is") {
  int pipe_ends[2];
  REQUIRE(::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) == 0);
  REQUIRE(::write(pipe_ends[1], "x", 1) == 1);
  loop().call_soon([] { fail_below(); });
  loop().call_later(0s, [] { fail_below(); });
  loop().add_reader(pipe_ends[0], [this, fd = pipe_ends[0]] {
    loop().remove_reader(fd);
    fail_below();
  });
  Future<> done(loop());
  done.add_done_callback([](const Future<>&) { fail_below(); });
  done.set_result();
  run([] { let_others_run(5); });
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
  const auto reports = take_reports();
  CHECK(reports.size() == 4);
  for (const ExceptionContext& report : reports) {
    const std::string text = to_string(report);
    CAPTURE(text);
    CHECK_THAT(text, Catch::Contains(place(line_of_throw)) && Catch::Contains("fail_below"));
    CHECK(text.find("run_forever") == std::string::npos);
  }
}

TEST_CASE_METHOD(LoopTest, "what fails in another thread brings its stack along") {
  run([&] { create_task([&] { await(loop().run_in_executor(nullptr, [] { fail_below(); })); }); });
  run([&] {
    while (report_count() == 0) sleep(1ms);
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(part(to_string(reports[0]), "thrown at"), Catch::Contains("fail_below"));
  CHECK(reports[0].trace->awaited_at.size() == 1);
}

TEST_CASE("a deep stack is cut, and still begins with the throw") {
  const auto loop = make_loop(LoopKind::epoll);
  std::vector<ExceptionContext> reports;
  loop->set_exception_handler([&](EventLoop&, const ExceptionContext& context) { reports.push_back(context); });
  loop->call_soon([] { fail_below(200); });
  loop->run_until_complete([] {});
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].trace->thrown_at.size() < 70);
  CHECK_THAT(to_string(reports[0]), Catch::Contains(place(line_of_throw)));
}

TEST_CASE("an ignored success is not reported, a task that outlives its loop's patience is") {
  const CollectedLog log;
  run([] { create_task([] { return 42; }); });
  CHECK(log.reports.empty());
#if defined(TULP_ASAN)
  return;  // the stack of the other one is leaked, as promised
#endif
  RunOptions impatient;
  impatient.drain = 0s;
  run(
      [] {
        create_task({.name = "stubborn"}, [] {
          const CancelShield shield;
          sleep(1h);
        });
        sleep(0s);
      },
      impatient);
  REQUIRE(log.reports.size() == 1);
  CHECK_THAT(log.reports[0], Catch::Contains("task 'stubborn'"));
}

TEST_CASE("every report goes to the log sink, whole, and to stderr when there is none") {
  const auto lose_an_error = [] {
    run([] {
      create_task([] { fail_deep_down(); });
      sleep(0s);
    });
  };
  {
    const CapturedStderr captured;
    const CollectedLog log;
    lose_an_error();
    REQUIRE(log.reports.size() == 1);
    CHECK_THAT(log.reports[0], Catch::StartsWith("tulp: task exception was never retrieved: boom\n") &&
                                   Catch::Contains("fail_deep_down") && Catch::EndsWith("\n"));
    CHECK(captured.text().empty());
  }
  const CapturedStderr captured;
  lose_an_error();
  CHECK_THAT(captured.text(), Catch::Contains("boom") && Catch::Contains("fail_deep_down"));
}

TEST_CASE("a sink that throws costs no report") {
  const CapturedStderr captured;
  set_log_sink([](std::string_view) { throw Boom(); });
  run([] {
    create_task([] { throw 1; });
    sleep(0s);
  });
  set_log_sink(nullptr);
  CHECK_THAT(captured.text(), Catch::Contains("never retrieved"));
}
