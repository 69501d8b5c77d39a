#include "posix/blocking_watch.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <tulp/posix.hpp>

#include "base/call_stack.hpp"
#include "base/code_address.hpp"
#include "base/log.hpp"

namespace tulp {
namespace detail {
namespace {

constexpr std::int64_t never = Duration::max().nanoseconds();
constinit std::atomic<std::int64_t> blocking_limit = never;

std::string describe_running_task() {
  const TaskControl* const me = running_task();
  if (me == nullptr) return "a callback";
  std::string text = me->state().description();
  if (me->state().created_at() != nullptr) text += ", created at " + describe_code_address(me->state().created_at());
  return text;
}

std::string describe_present_stack(std::string_view title) {
  std::array<const void*, most_frames> frames;
  return describe_call_stack(title, {frames.data(), capture_call_stack(frames)});
}

/// A mutex that a task holds.
struct Held {
  const TaskControl* task;
  std::uint64_t task_number;
  void* mutex;
  std::array<const void*, 24> frames;
  std::size_t frame_count;
  bool is_reported;
};
[[gnu::tls_model("initial-exec")]] constinit thread_local bool is_noting = false;
thread_local std::vector<Held> held;

/// What is noted may itself lock mutexes.
class Noting {
 public:
  Noting() noexcept : is_outermost_(!is_noting) { is_noting = true; }
  Noting(const Noting&) = delete;
  Noting& operator=(const Noting&) = delete;
  ~Noting() {
    if (is_outermost_) is_noting = false;
  }
  bool is_outermost() const noexcept { return is_outermost_; }

 private:
  bool is_outermost_;
};

bool is_held_by(const Held& one, const TaskControl& task) noexcept {
  return one.task == &task && one.task_number == task.number();
}

void report_held_mutex(const Held& one) {
  char address[32];
  std::snprintf(address, sizeof address, "%p", one.mutex);
  log("tulp: " + describe_running_task() + " parks while it holds the mutex " + address +
      ", for which others of its thread would wait for ever\n" +
      describe_call_stack("locked at", {one.frames.data(), one.frame_count}) + describe_present_stack("parks at"));
}

void report_held_mutexes(const TaskControl& task) noexcept {
  const Noting noting;
  try {
    for (Held& one : held)
      if (is_held_by(one, task) && !std::exchange(one.is_reported, true)) report_held_mutex(one);
  } catch (const std::bad_alloc&) {  // there is nobody to tell
  }
}

/// Before main(), so that it holds for all that the program does.
[[maybe_unused]] const bool is_asked_for_by_environment = [] {
  const auto text_of = [](const char* name) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::string_view(text) : std::string_view();
  };
  if (const auto text = text_of("TULP_MUTEX_REPORT"); !text.empty() && text != "0") posix::report_held_mutexes(true);
  const auto text = text_of("TULP_BLOCKING_REPORT");
  if (text.empty()) return true;
  unsigned milliseconds = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), milliseconds);
  if (error == std::errc() && rest == text.data() + text.size())
    posix::report_blocking_calls(std::chrono::milliseconds(milliseconds));
  else
    log("tulp: TULP_BLOCKING_REPORT: '" + std::string(text) + "' is no number of milliseconds\n");
  return true;
}();

}  // namespace

bool are_blocking_calls_watched() noexcept {
  return blocking_limit.load(std::memory_order_relaxed) != never && get_running_loop() != nullptr;
}

void report_blocking_call(const char* name, std::int64_t nanoseconds) noexcept {
  if (nanoseconds < blocking_limit.load(std::memory_order_relaxed)) return;
  const Noting noting;
  try {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.3g", static_cast<double>(nanoseconds) / 1e9);
    log(std::string("tulp: ") + name + "() has held up the event loop for " + seconds + " s in " +
        describe_running_task() + '\n' + describe_present_stack("at"));
  } catch (const std::bad_alloc&) {  // there is nobody to tell
  }
}

void note_mutex_locked(void* mutex) noexcept {
  TaskControl* const me = running_task();
  const Noting noting;
  if (me == nullptr || !noting.is_outermost()) return;
  try {
    Held& one = held.emplace_back(Held{me, me->number(), mutex, {}, 0, false});
    one.frame_count = capture_call_stack(one.frames);
    me->watch_parks(true);
  } catch (const std::bad_alloc&) {
  }
}

void note_mutex_unlocked(void* mutex) noexcept {
  const Noting noting;
  if (!noting.is_outermost()) return;
  const auto found = std::find_if(held.rbegin(), held.rend(), [&](const Held& one) { return one.mutex == mutex; });
  if (found == held.rend()) return;
  held.erase(std::next(found).base());
  TaskControl* const me = running_task();
  if (me == nullptr) return;
  me->watch_parks(std::any_of(held.begin(), held.end(), [&](const Held& one) { return is_held_by(one, *me); }));
}

}  // namespace detail

bool posix::report_blocking_calls(Duration limit) {
  detail::blocking_limit = limit.nanoseconds();
  return detail::use_blocking_library();
}

bool posix::report_held_mutexes(bool is_on) {
  if (!detail::use_blocking_library()) return false;
  detail::on_watched_park = detail::report_held_mutexes;
  detail::find_blocking_library()->watch_mutexes(is_on);
  return true;
}

}  // namespace tulp
