"""Exception handlers: semantics row 48."""
from scenario import Oops, name_of, run_once, scenario


def fail(text="oops"):
    raise Oops(text)


@scenario
def each_kind_of_callback_is_reported_when_it_fails(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda _: fail("done callback"))
    future.set_result(None)
    loop.call_soon(fail, "callback")
    loop.call_at(loop.time() - 1, fail, "timer")
    loop.call_soon(trace, "goes on")
    run_once(loop)


@scenario
def the_handler_is_called_at_once_and_may_use_the_loop(loop, trace):
    def handler(same_loop, context):
        trace("handler", name_of(context["exception"]), same_loop is loop)
        loop.call_soon(trace, "given by the handler")
    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(trace, "next")
    run_once(loop)
    run_once(loop)


@scenario
def a_handler_that_fails_does_not_harm_the_loop(loop, trace):
    def handler(_loop, _context):
        trace("handler fails")
        fail("handler")
    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(trace, "next")
    loop.call_soon(fail)
    run_once(loop)
    trace("goes on")


@scenario
def a_handler_may_replace_itself(loop, trace):
    def second(_loop, context):
        trace("second", name_of(context["exception"]))
    def first(_loop, context):
        trace("first", name_of(context["exception"]))
        loop.set_exception_handler(second)
    loop.set_exception_handler(first)
    loop.call_soon(fail, "1")
    loop.call_soon(fail, "2")
    run_once(loop)


@scenario
def no_handler_means_the_default_one(loop, trace):
    loop.set_exception_handler(None)
    loop.call_soon(fail)
    loop.call_soon(trace, "next")
    run_once(loop)


@scenario
def anybody_may_report(loop, trace):
    loop.set_exception_handler(lambda _, context: trace(context["message"], name_of(context.get("exception"))))
    loop.call_exception_handler({"message": "something", "exception": Oops("oops")})
    loop.call_exception_handler({"message": "no exception"})
