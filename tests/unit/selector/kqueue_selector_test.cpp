// What kqueue does and the others do not; what all do is in selector_test.cpp.
#include <tulp/error.hpp>

#include <sys/event.h>
#include <sys/socket.h>

#include <array>
#include <vector>

#include "base/unique_fd.hpp"
#include "selector/selector.hpp"
#include "support/catch.hpp"

using namespace tulp;
using namespace std::chrono_literals;

namespace {
using Trigger = Selector::Trigger;

/// A kernel that may refuse to add the filter for writing.
struct KqueueTest {
  KqueueTest() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
    refusal = 0;
    sys.kevent = [](int queue, const struct kevent* changes, int change_count, struct kevent* events, int capacity,
                    const timespec* timeout) {
      const bool is_refused = change_count > 0 && changes->filter == EVFILT_WRITE && (changes->flags & EV_ADD) != 0;
      if (is_refused && refusal != 0) return errno = refusal, -1;
      return original.kevent(queue, changes, change_count, events, capacity, timeout);
    };
  }
  ~KqueueTest() { sys = original; }

  std::vector<SelectorEvent> wait() {
    std::vector<SelectorEvent> events(16);
    events.resize(selector->wait(0s, events));
    return events;
  }

  static inline int refusal;
  static inline const SystemCalls original = sys;
  const std::unique_ptr<Selector> selector = make_kqueue_selector();
  UniqueFd here, there;
};
}  // namespace

TEST_CASE_METHOD(KqueueTest,
                 "a descriptor that cannot be written to any more, as kqueue finds, is watched for reading") {
  refusal = EPIPE;
  selector->add(here.get(), {.read = true, .write = true}, Trigger::edge, 1);
  CHECK(wait().empty());
  CHECK(::send(there.get(), "x", 1, 0) == 1);
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].readable);
  selector->remove(here.get());
}

TEST_CASE_METHOD(KqueueTest, "a filter that is refused for any other reason is an OsError, and nothing stays watched") {
  for (const auto trigger : {Trigger::edge, Trigger::level}) {
    refusal = ENOMEM;
    CHECK_THROWS_AS(selector->add(here.get(), {.read = true, .write = true}, trigger, 1), OsError);
    CHECK(wait().empty());
    refusal = 0;
    selector->add(here.get(), {.read = true, .write = true}, trigger, 2);
    CHECK(wait().size() == 1);
    selector->remove(here.get());
  }
}

TEST_CASE_METHOD(KqueueTest, "what modify() cannot ask for is ready at once, until it need not be asked for") {
  selector->add(here.get(), {.read = true}, Trigger::level, 1);
  refusal = EPIPE;
  selector->modify(here.get(), {.read = true, .write = true}, 2);
  for (int round = 0; round < 2; ++round) {
    const auto events = wait();
    REQUIRE(events.size() == 1);
    CHECK(events[0].token == 2);
    CHECK(events[0].writable);
    CHECK(events[0].exceptional);
  }
  std::array<SelectorEvent, 4> events;
  CHECK(selector->wait(Duration::max(), events) == 1);
  selector->modify(here.get(), {.read = true}, 3);
  CHECK(wait().empty());
  selector->modify(here.get(), {.write = true}, 4);
  selector->remove(here.get());
  CHECK(wait().empty());
}
