#include "testing/test_selector.hpp"

#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include <tulp/error.hpp>

#include "base/sys.hpp"

namespace tulp::testing {

TestSelector::TestSelector(std::unique_ptr<Selector> selector, TestHooks& hooks) noexcept
    : selector_(std::move(selector)), hooks_(hooks) {}

void TestSelector::add(int fd, Interest interest, Trigger trigger, std::uint64_t token) {
  selector_->add(fd, interest, trigger, token);
  registrations_.insert_or_assign(fd, Registration{token, interest, trigger, kind_of(fd)});
  note_io();
}

bool TestSelector::modify(int fd, Interest interest, std::uint64_t token) noexcept {
  const bool is_same_file = selector_->modify(fd, interest, token);
  const auto found = registrations_.find(fd);
  if (found == registrations_.end()) return is_same_file;
  found->second.interest = interest;
  found->second.token = token;
  return is_same_file;
}

void TestSelector::remove(int fd) noexcept {
  selector_->remove(fd);
  registrations_.erase(fd);
  std::erase(to_put_back_, fd);
  note_io();
}

bool TestSelector::start_over() {
  if (!selector_->start_over()) return false;
  registrations_.clear();
  to_put_back_.clear();
  return true;
}

TestSelector::Kind TestSelector::kind_of(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  if (sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
    return type == SOCK_STREAM ? Kind::stream : Kind::message;
  struct stat status {};
  return sys.fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) ? Kind::pipe : Kind::other;
}

// Waiting.

std::size_t TestSelector::wait(Duration timeout, std::span<SelectorEvent> events) {
  put_back();
  const bool may_wait = timeout > Duration::zero();
  Disturbance* disturbance = hooks_.disturbance();
  // An iteration that is empty and hurts nobody: no timer is due that what is ready has to come before.
  if (may_wait && disturbance != nullptr && empty_waits_.one_in(4, *disturbance)) return 0;
  has_ring_gone_on();
  const std::size_t count = disturb(events, selector_->wait(Duration::zero(), events));
  if (has_ring_gone_on() || count > 0 || !may_wait) return count;
  return disturb(events, wait_idle(timeout, events));
}

/// Nothing is ready.
std::size_t TestSelector::wait_idle(Duration timeout, std::span<SelectorEvent> events) {
  const TestOptions& options = hooks_.options();
  if (!timeout.is_never() && options.time == Time::real) return selector_->wait(timeout, events);
  if (hooks_.is_held()) return wait_really(Duration::max(), events).value_or(0);
  if (may_be_under_way()) {
    if (const auto count = wait_really(options.settle, events)) return *count;
  }
  has_done_io_ = false;
  if (hooks_.jump(timeout)) return 0;
  if (const auto count = wait_really(options.deadlock_after, events)) return *count;
  hooks_.throw_deadlock();
}

/// Until something is ready, however often a signal interrupts it.  What a ring receives it tells by itself.
std::optional<std::size_t> TestSelector::wait_really(Duration limit, std::span<SelectorEvent> events) {
  const TimePoint end = after(std::chrono::steady_clock::now(), limit);
  Duration left = limit;
  do {
    const std::size_t count = selector_->wait(left, events);
    if (has_ring_gone_on() || count > 0) return count;
    if (!limit.is_never()) left = end - std::chrono::steady_clock::now();
  } while (left > Duration::zero());
  return std::nullopt;
}

bool TestSelector::has_ring_gone_on() noexcept {
  const std::uint64_t now = selector_->ring_progress();
  if (now == ring_progress_) return false;
  ring_progress_ = now;
  note_io();
  return true;
}

bool TestSelector::may_be_under_way() noexcept {
  return has_done_io_ && std::any_of(registrations_.begin(), registrations_.end(),
                                     [](const auto& entry) { return entry.second.kind != Kind::other; });
}

// Disturbing.

std::size_t TestSelector::disturb(std::span<SelectorEvent> events, std::size_t count) {
  if (count > 0) note_io();
  Disturbance* disturbance = hooks_.disturbance();
  if (disturbance == nullptr) return count;
  if (count < events.size() && !registrations_.empty() && false_reports_.one_in(4, *disturbance)) {
    const auto chosen =
        std::next(registrations_.begin(), static_cast<std::ptrdiff_t>(disturbance->below(registrations_.size())));
    const auto is_chosen = [&](const SelectorEvent& event) { return event.token == chosen->second.token; };
    if (chosen->second.may_be_disturbed() && std::none_of(events.begin(), events.begin() + count, is_chosen))
      events[count++] = {.token = chosen->second.token, .readable = true, .writable = true, .exceptional = false};
  }
  const auto found = events.first(count);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.token < b.token; });
  disturbance->shuffle(found);
  return count;
}

TestSelector::Registration* TestSelector::find_to_disturb(int fd) noexcept {
  if (hooks_.disturbance() == nullptr) return nullptr;
  const auto found = registrations_.find(fd);
  return found != registrations_.end() && found->second.may_be_disturbed() ? &found->second : nullptr;
}

bool TestSelector::refuses(int fd) {
  note_io();
  if (find_to_disturb(fd) == nullptr || !hooks_.disturbance()->one_in(4)) return false;
  report_again(fd);
  return true;
}

std::size_t TestSelector::part_of(int fd, std::size_t size) {
  const Registration* registration = find_to_disturb(fd);
  if (registration == nullptr || registration->kind == Kind::message || size < 2) return size;
  // What a pipe takes whole or not at all stays so.
  if (registration->kind == Kind::pipe && size <= PIPE_BUF) return size;
  if (!hooks_.disturbance()->one_in(2)) return size;
  report_again(fd);
  return hooks_.disturbance()->part_of(size);
}

unsigned TestSelector::some_of(int fd, unsigned count) {
  if (find_to_disturb(fd) == nullptr || !hooks_.disturbance()->one_in(2)) return count;
  report_again(fd);
  return static_cast<unsigned>(hooks_.disturbance()->part_of(count));
}

void TestSelector::report_again(int fd) {
  if (selector_->has_edges() && std::find(to_put_back_.begin(), to_put_back_.end(), fd) == to_put_back_.end())
    to_put_back_.push_back(fd);
}

void TestSelector::put_back() {
  for (const int fd : std::exchange(to_put_back_, {})) {
    const Registration& registration = registrations_.at(fd);
    selector_->remove(fd);
    try {
      selector_->add(fd, registration.interest, registration.trigger, registration.token);
    } catch (const OsError&) {  // closed behind the loop's back: nothing more comes of it
    }
  }
}

}  // namespace tulp::testing
