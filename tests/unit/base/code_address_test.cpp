#include "base/code_address.hpp"

#include <tulp/task.hpp>

#include "support/catch.hpp"

using namespace tulp;

namespace {
[[gnu::noinline]] std::string place_of_caller() { return describe_code_address(__builtin_return_address(0)); }
}  // namespace

TEST_CASE("a code address is described by file, line and function of the call, where libdw is there") {
  const int line = __LINE__ + 1;
  const std::string place = place_of_caller();
  CHECK(place.find("code_address_test.cpp:" + std::to_string(line)) == 0);
}

TEST_CASE("an address that belongs to no code, and null, are described too") {
  CHECK(describe_code_address(nullptr) == "an unknown place");
  CHECK_FALSE(describe_code_address(reinterpret_cast<const void*>(16)).empty());
  int local = 0;
  CHECK_FALSE(describe_code_address(&local).empty());
}

TEST_CASE("objects know where the program made them: futures, callbacks, and tasks within tasks") {
  const auto loop = new_event_loop();
  set_event_loop(loop.get());
  const auto line_of = [](const void* address) { return describe_code_address(address); };
  const auto expected = [](int line) { return "code_address_test.cpp:" + std::to_string(line); };
  const auto body = [&] {
    const int inner_line = __LINE__ + 1;
    auto inner = create_task([] {});
    CHECK_THAT(line_of(inner.state()->created_at()), Catch::StartsWith(expected(inner_line)));
    await(inner);
  };
  const int outer_line = __LINE__ + 1;
  auto outer = create_task(body);
  const int future_line = __LINE__ + 1;
  const Future<int> future;
  CHECK_THAT(line_of(future.state()->created_at()), Catch::StartsWith(expected(future_line)));
  CHECK_THAT(line_of(outer.state()->created_at()), Catch::StartsWith(expected(outer_line)));
  const void* callback_made_at = nullptr;
  loop->set_exception_handler(
      [&](EventLoop&, const ExceptionContext& context) { callback_made_at = context.created_at; });
  const int callback_line = __LINE__ + 1;
  loop->call_soon([] { throw 1; });
  loop->run_until_complete(outer);
  CHECK_THAT(line_of(callback_made_at), Catch::StartsWith(expected(callback_line)));
  set_event_loop(nullptr);
}
