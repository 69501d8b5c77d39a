// Exception handlers: errors.py says what is expected.
#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

SCENARIO(each_kind_of_callback_is_reported_when_it_fails) {
  Future<> future;
  future.add_done_callback([&](const Future<>&) { fail("done callback"); });
  future.set_result();
  loop.call_soon(fail, "callback");
  loop.call_at(loop.time() - 1s, fail, "timer");
  loop.call_soon(trace, "goes on");
  run_once(loop);
}

SCENARIO(the_handler_is_called_at_once_and_may_use_the_loop) {
  loop.set_exception_handler([&](EventLoop& same_loop, const ExceptionContext& context) {
    trace("handler", name_of(context.exception), &same_loop == &loop);
    loop.call_soon(trace, "given by the handler");
  });
  loop.call_soon(fail, "oops");
  loop.call_soon(trace, "next");
  run_once(loop);
  run_once(loop);
}

SCENARIO(a_handler_that_fails_does_not_harm_the_loop) {
  loop.set_exception_handler([&](EventLoop&, const ExceptionContext&) {
    trace("handler fails");
    fail("handler");
  });
  loop.call_soon(fail, "oops");
  loop.call_soon(trace, "next");
  loop.call_soon(fail, "oops");
  run_once(loop);
  trace("goes on");
}

SCENARIO(a_handler_may_replace_itself) {
  const auto second = [&](EventLoop&, const ExceptionContext& context) { trace("second", name_of(context.exception)); };
  loop.set_exception_handler([&](EventLoop&, const ExceptionContext& context) {
    trace("first", name_of(context.exception));
    loop.set_exception_handler(second);
  });
  loop.call_soon(fail, "1");
  loop.call_soon(fail, "2");
  run_once(loop);
}

SCENARIO(no_handler_means_the_default_one) {
  loop.set_exception_handler(nullptr);
  loop.call_soon(fail, "oops");
  loop.call_soon(trace, "next");
  run_once(loop);
}

SCENARIO(anybody_may_report) {
  loop.set_exception_handler(
      [&](EventLoop&, const ExceptionContext& context) { trace(context.message, name_of(context.exception)); });
  loop.call_exception_handler({.message = "something", .exception = std::make_exception_ptr(Oops("oops"))});
  loop.call_exception_handler({.message = "no exception"});
}
