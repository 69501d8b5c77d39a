// Signal handlers: signals.py says what is expected.
#include <csignal>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

void run_thrice(EventLoop& loop) {
  for (int i = 0; i < 3; ++i) run_once(loop);
}

}  // namespace

SCENARIO(a_signal_handler_is_an_ordinary_callback) {
  bool heard = false;
  const auto handler = [&](const char* word) {
    trace("handler", word);
    heard = true;
    loop.call_soon(trace, "called soon");
  };
  loop.add_signal_handler(SIGUSR1, handler, "argument");
  ::raise(SIGUSR1);
  trace("raised");
  run_until(loop, [&] { return heard; });
  trace("-");
  run_once(loop);
}

SCENARIO(two_quick_signals_are_two_calls) {
  loop.add_signal_handler(SIGUSR1, trace, "handler");
  ::raise(SIGUSR1);
  ::raise(SIGUSR1);
  run_thrice(loop);
}

SCENARIO(signals_are_heard_in_the_order_of_their_arrival) {
  loop.add_signal_handler(SIGUSR1, trace, "USR1");
  loop.add_signal_handler(SIGUSR2, trace, "USR2");
  for (const int signal : {SIGUSR2, SIGUSR1, SIGUSR2}) ::raise(signal);
  run_thrice(loop);
}

SCENARIO(adding_a_handler_again_replaces_the_former) {
  loop.add_signal_handler(SIGUSR1, trace, "former");
  loop.add_signal_handler(SIGUSR1, trace, "handler");
  ::raise(SIGUSR1);
  run_thrice(loop);
}

SCENARIO(remove_says_whether_there_was_a_handler) {
  trace(loop.remove_signal_handler(SIGUSR1));
  loop.add_signal_handler(SIGUSR1, trace, "handler");
  const bool was_there = loop.remove_signal_handler(SIGUSR1);
  trace(was_there, loop.remove_signal_handler(SIGUSR1));
}

SCENARIO(a_handler_removes_the_one_that_is_queued_behind_it) {
  loop.add_signal_handler(SIGUSR1, [&] { trace("USR1", loop.remove_signal_handler(SIGUSR2)); });
  loop.add_signal_handler(SIGUSR2, trace, "USR2");
  ::raise(SIGUSR1);
  ::raise(SIGUSR2);
  run_thrice(loop);
}

SCENARIO(signals_that_cannot_be_are_refused) {
  trace("0:", outcome([&] { loop.add_signal_handler(0, trace, "never"); }));
  trace("1000:", outcome([&] { loop.add_signal_handler(1000, trace, "never"); }));
  trace("KILL:", outcome([&] { loop.add_signal_handler(SIGKILL, trace, "never"); }));
}

SCENARIO(a_signal_handler_that_fails_is_reported) {
  loop.add_signal_handler(SIGUSR1, [&] {
    trace("handler");
    fail();
  });
  for (int i = 0; i < 2; ++i) {
    ::raise(SIGUSR1);
    run_thrice(loop);
  }
}

SCENARIO(a_signal_handler_stops_the_loop) {
  loop.add_signal_handler(SIGUSR1, [&] {
    trace("handler");
    loop.stop();
  });
  loop.call_soon([] { ::raise(SIGUSR1); });
  loop.run_forever();
  trace("stopped");
}
