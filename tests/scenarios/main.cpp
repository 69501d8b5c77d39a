// Plays the scenarios: each on a loop of its own, with its name in brackets before its trace.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "scenarios/scenario.hpp"
#include "support/hosts.hpp"
#include "support/poll_event_loop.hpp"

namespace {

using namespace tulp;
using scenarios::Scenario;

std::unique_ptr<EventLoop> make_loop(std::string_view kind) {
  if (kind == "epoll") return new_event_loop({.selector = SelectorKind::epoll});
  if (kind == "poll") return new_event_loop({.selector = SelectorKind::poll});
  if (kind == "select") return new_event_loop({.selector = SelectorKind::select});
  if (kind == "foreign") return std::make_unique<test::PollEventLoop>(test::PollEventLoop::Clock::real);
  return test::make_host_policy(kind)->new_event_loop({});
}

void play(const Scenario& scenario, std::string_view kind) {
  const scenarios::Trace trace;
  const auto loop = make_loop(kind);
  set_event_loop(loop.get());
  loop->set_exception_handler(
      [&](EventLoop&, const ExceptionContext& context) { trace("reported", scenarios::name_of(context.exception)); });
  try {
    scenario.body(*loop, trace);
  } catch (...) {
    trace("escaped", scenarios::name_of(std::current_exception()));
  }
  if (const auto left = all_tasks().size()) trace("tasks left:", left);
  set_event_loop(nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s epoll|poll|select|foreign|uv|asio|glib [SCENARIO...]\n", argv[0]);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::signal(SIGPIPE, SIG_IGN);  // as Python does
  std::signal(SIGINT, SIG_DFL);   // whatever a shell has left
  for (const Scenario& scenario : scenarios::all_scenarios()) {
    const bool is_wanted = argc == 2 || std::any_of(argv + 2, argv + argc, [&](const char* name) {
                             return std::strcmp(name, scenario.name) == 0;
                           });
    if (!is_wanted) continue;
    std::printf("[%s]\n", scenario.name);
    play(scenario, argv[1]);
  }
  return 0;
}
