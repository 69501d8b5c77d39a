#include "loop/selector_event_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <new>
#include <string>
#include <string_view>

#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>

#include "loop/environment.hpp"
#include "tasks/dump.hpp"

namespace tulp {
namespace {

constexpr std::uint64_t wake_up_token = ~std::uint64_t{0};
/// In tokens of watches of modes `single` and `once`, which may be reported when nobody watches any more.
constexpr std::uint64_t may_be_late_bit = std::uint64_t{1} << 31;

// While entries keep coming, batches may run for so long before the next poll.  The clock is looked at after so many of
// them, and then each time after twice as many.
constexpr std::chrono::microseconds time_per_poll{50};
constexpr unsigned batches_to_first_look = 4;

constexpr int timers_at_a_time = 256;

bool is_single_threaded() noexcept { return TULP_SINGLE_THREADED; }

/// How long a loop that seems stuck waits before it says so: a thread of the program's may be about to post something.
Duration patience() noexcept { return is_single_threaded() ? Duration::zero() : std::chrono::seconds(10); }

/// steady_clock, to some milliseconds, for less.
TimePoint coarse_time() noexcept {
#ifdef CLOCK_MONOTONIC_COARSE
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return TimePoint(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
#else
  return std::chrono::steady_clock::now();
#endif
}

}  // namespace

SelectorEventLoop::SelectorEventLoop(std::unique_ptr<Selector> (*make_selector)(), std::unique_ptr<LoopHooks> hooks)
    : hooks_(std::move(hooks)), make_selector_(make_selector), selector_(new_selector()) {
  selector_->add(wake_up_.fd(), {.read = true}, Selector::Trigger::edge, wake_up_token);
}

SelectorEventLoop::SelectorEventLoop(std::unique_ptr<Selector> (*make_selector)(), std::unique_ptr<LoopHost> host)
    : SelectorEventLoop(make_selector) {
  host_ = std::move(host);
  move_into_host();
}

SelectorEventLoop::~SelectorEventLoop() { close(); }

std::unique_ptr<Selector> SelectorEventLoop::new_selector() {
  return hooks_ == nullptr ? make_selector_() : hooks_->around(make_selector_());
}

// Running.

void SelectorEventLoop::run_forever() {
  const RunScope running(*this, &ready_);
  const Awake awake(*this);
  const Watchdog::Run watched(watchdog_);
  const Driving driving(*this);
  if (hooks_ != nullptr) inbox_.take(ready_);  // this thread's own posts, which come in their turn
  do iterate(RunMode::wait);
  while (!is_stopping_);
  end_run();
}

void SelectorEventLoop::run_once(RunMode mode) {
  const RunScope running(*this, &ready_);
  const Awake awake(*this);
  const Watchdog::Run watched(watchdog_);
  const Driving driving(*this);
  iterate(mode);
  end_run();
}

void SelectorEventLoop::end_run() {
  is_stopping_ = false;
  check_not_forked();
  selector_->push();
}

void SelectorEventLoop::iterate(RunMode mode) {
  poll(mode);
  look_for_due_timers();
  run_batches();
}

/// Sleeps only if nothing is ready, and queues what the selector and other threads have.  After other threads have posted
/// something it looks once more before it sleeps: they often go on, and each would have to wake a sleeping thread, which
/// costs as much as a hundred posts.
[[gnu::hot]] void SelectorEventLoop::poll(RunMode mode) {
  Duration timeout = was_posted_to_ || mode == RunMode::nowait ? Duration::zero() : time_to_wait();
  const bool may_be_stuck = timeout.is_never() && is_stuck();
  if (may_be_stuck) timeout = patience();
  const TimePoint end_of_patience = may_be_stuck ? after(time(), timeout) : TimePoint::max();
  if (watchdog_ != nullptr) watchdog_->rest();
  std::size_t count = 0;
  if (spin_ > Duration::zero() && timeout > Duration::zero()) [[unlikely]]
    count = spin(timeout);
  if (count == 0) {
    is_asleep_.store(timeout > Duration::zero(), std::memory_order_seq_cst);
    count = wait(inbox_.empty() ? timeout : Duration::zero());
  }
  if (watchdog_ != nullptr) watchdog_->resume();
  is_asleep_.store(false, std::memory_order_relaxed);
  set_recent_time(hooks_ == nullptr ? coarse_time() : time());
  int ghost = -1;
  for (std::size_t i = 0; i < count; ++i)
    if (!deliver(events_[i])) ghost = fd_of(events_[i].token);
  was_posted_to_ = inbox_.take(ready_);
  if (ghost >= 0) leave_behind(ghost);
  if (may_be_stuck && count == 0 && !was_posted_to_ && time() >= end_of_patience)
    report_deadlock();  // no signal woke it
}

std::size_t SelectorEventLoop::wait(Duration timeout) {
  if (drives_host_) [[unlikely]]
    return wait_in_host(timeout);
  return selector_->wait(timeout, events_);
}

/// Does not sleep; 0 if nothing has come in the time for that, or something from another thread or a ring has.
std::size_t SelectorEventLoop::spin(Duration timeout) {
  if (hooks_ != nullptr || host_ != nullptr) return 0;
  const TimePoint end = after(time(), std::min(spin_, timeout));
  do {
    if (const std::size_t count = selector_->wait(Duration::zero(), events_)) return count;
  } while (inbox_.empty() && ready_.empty() && time() < end);
  return 0;
}

/// Nothing that the loop knows of can make a task go on.
bool SelectorEventLoop::is_stuck() const noexcept {
  return may_report_deadlock_ && has_tasks() && !is_expecting_post() && hooks_ == nullptr && host_ == nullptr &&
         !waits_for_descriptors();
}

/// What is watched but not waited for counts too: to ask each descriptor would cost too much for so rare a case.
bool SelectorEventLoop::waits_for_descriptors() const noexcept {
  if (watch_count_ != 1) return watch_count_ > 1;
  return std::any_of(slots_.begin(), slots_.end(),
                     [](const Slot& slot) { return slot.watch != nullptr && slot.watch->keeps_loop_going; });
}

/// It goes on waiting: a signal handler of the program's, or a thread, may still post something.
void SelectorEventLoop::report_deadlock() noexcept {
  may_report_deadlock_ = false;
  try {
    std::string text = "nothing is ready, no timer is set and no descriptor is watched, so that no task can ever go on";
    if (!is_single_threaded()) text += ", unless another thread calls call_soon_threadsafe()";
    text += "\n" + detail::describe_tasks(*this);
    text.pop_back();
    call_exception_handler({.message = std::move(text)});
  } catch (const std::bad_alloc&) {  // there is nobody to tell
  }
}

[[gnu::hot]] Duration SelectorEventLoop::time_to_wait() const {
  if (!ready_.empty() || is_stopping_) return Duration::zero();
  if (timers_.empty() || timers_.next() == TimePoint::max()) return Duration::max();
  const TimePoint now = time();
  return timers_.next() > now ? Duration(timers_.next() - now) : Duration::zero();
}

void SelectorEventLoop::look_for_due_timers() {
  if (timers_.empty()) return;
  due_limit_ = timers_.due_by(time());
  move_due_timers_to(ready_);
}

/// So many that they stay in the cache until their turn.
void SelectorEventLoop::move_due_timers_to(RunQueue& queue) noexcept {
  for (int room = timers_at_a_time; timers_.has_due(*due_limit_);) {
    Runnable& target = timers_.pop().target();
    if (target.is_queued()) continue;  // something else has woken it first
    queue.push(target);
    if (--room == 0) return;
  }
  due_limit_.reset();
}

[[gnu::hot]] void SelectorEventLoop::run_batches() {
  batch_count_ = 0;
  if (hooks_ != nullptr) batch_limit_ = hooks_->batches_before_poll();
  next_look_ = hooks_ != nullptr ? batch_limit_ : std::min(batch_limit_, batches_to_first_look);
  while (begin_batch()) {
    while (ready_.is_in_batch()) run(ready_.pop());
    run_deferred();
  }
}

/// The entries that are there now are the next batch; those that they add wait for the one after.  False if it is time
/// for a poll.
[[gnu::hot]] bool SelectorEventLoop::begin_batch() noexcept {
  if (due_limit_ && batch_count_ > 0 && resume_batch()) [[unlikely]]
    return true;
  if (ready_.empty() || (is_stopping_ && batch_count_ > 0)) return false;
  if (batch_count_ == next_look_ && is_time_to_poll()) [[unlikely]]
    return false;
  ++batch_count_;
  ready_.begin_batch();
  return true;
}

/// Goes on with the timers that were due when the batch began.
bool SelectorEventLoop::resume_batch() noexcept {
  RunQueue due;
  move_due_timers_to(due);
  if (due.empty()) return false;
  ready_.resume_batch(due);
  return true;
}

/// The clock is asked ever more seldom, as the batches turn out to be short.  Whoever asks after a yes gets a yes.
bool SelectorEventLoop::is_time_to_poll() noexcept {
  if (batch_count_ == batch_limit_) return true;
  const TimePoint now = std::chrono::steady_clock::now();
  if (batch_count_ == batches_to_first_look) poll_limit_ = now + time_per_poll;
  if (now >= poll_limit_) return true;
  next_look_ = 2 * batch_count_;
  return false;
}

/// A task that leaves may begin a batch too: so tasks hand over to each other without coming back to the loop's stack.
[[gnu::hot]] Runnable* SelectorEventLoop::take_task_step() noexcept {
  if (debug() || (!ready_.is_in_batch() && !begin_batch())) return nullptr;
  return ready_.pop_task_step();
}

void SelectorEventLoop::close() {
  if (!begin_close()) return;
  destroy_services();
  inbox_.close(ready_);
  while (!timers_.empty()) {
    Runnable& target = timers_.pop().target();
    if (!target.is_queued()) ready_.push(target);
  }
  while (!ready_.empty()) ready_.pop().discard();
  leave_host();
  selector_.reset();  // but not wake_up_: a thread whose entry has just been taken may still be writing to it
}

/// The iteration that is under way in the parent ends here without doing anything more.
void SelectorEventLoop::on_fork() noexcept {
  ready_.end_batch();
  due_limit_.reset();
  is_stopping_ = true;
  static_cast<void>(watchdog_.release());  // its thread is the parent's
  forget_host();
}

// Queueing.

void SelectorEventLoop::enqueue(Runnable& entry) noexcept {
  if (is_closed() && selector_ == nullptr) return entry.discard();
  if (!is_closed()) inbox_.take(ready_);  // this thread's own calls of post_threadsafe() among them: they came first
  tell_who_waits();
  ready_.push(entry);
}

bool SelectorEventLoop::post_threadsafe(Runnable& entry) noexcept {
  if (!inbox_.push(entry)) return false;
  // Read first: what it lies in stays in every poster's cache.
  if (is_asleep_.load(std::memory_order_seq_cst) && is_asleep_.exchange(false, std::memory_order_seq_cst))
    wake_up_.ring();
  return true;
}

void SelectorEventLoop::start_timer(Timer& timer) {
  if (!is_running()) [[unlikely]]
    tell_who_waits();
  timers_.push(timer);
}

void SelectorEventLoop::stop_timer(Timer& timer) noexcept {
  if (!timer.is_scheduled()) return;
  if (!is_running()) [[unlikely]]
    tell_who_waits();
  timers_.remove(timer);
}

// Descriptors.

std::uint64_t SelectorEventLoop::token_of(int fd, const Slot& slot) noexcept {
  const bool may_be_late = slot.watch != nullptr && slot.watch->mode() != FdWatch::Mode::level;
  return std::uint64_t{slot.generation} << 32 | (may_be_late ? may_be_late_bit : 0) | static_cast<std::uint32_t>(fd);
}

int SelectorEventLoop::fd_of(std::uint64_t token) noexcept {
  return static_cast<int>(static_cast<std::uint32_t>(token & ~may_be_late_bit));
}

Selector::Interest SelectorEventLoop::interest_of(const FdWatch& watch) noexcept {
  return {.read = watch.is_armed(Direction::read),
          .write = watch.is_armed(Direction::write),
          .hang_up = watch.awaits_hang_up()};
}

void SelectorEventLoop::add_to(Selector& selector, const FdWatch& watch, const Slot& slot) {
  const auto trigger = watch.mode() == FdWatch::Mode::once     ? Selector::Trigger::edge
                       : watch.mode() == FdWatch::Mode::single ? Selector::Trigger::once
                                                               : Selector::Trigger::level;
  selector.add(watch.fd(), interest_of(watch), trigger, token_of(watch.fd(), slot));
}

void SelectorEventLoop::add_fd(FdWatch& watch) {
  const auto number = static_cast<std::size_t>(watch.fd());
  if (watch.fd() < 0) throw_os_error(EBADF, "watching descriptor " + std::to_string(watch.fd()));
  if (watch.mode() == FdWatch::Mode::once) make_room_for(watch);
  const Slot former = number < slots_.size() ? slots_[number] : Slot();
  if (former.watch != nullptr)
    throw InvalidStateError("descriptor " + std::to_string(watch.fd()) + " is watched by this event loop already");
  const Slot slot{&watch, former.generation + 1};
  add_to(*selector_, watch, slot);
  // Only now: the selector has refused a number that is no descriptor, however large.
  if (number >= slots_.size()) slots_.resize(std::max(number + 1, 2 * slots_.size()));
  slots_[number] = slot;
  ++watch_count_;
  if (!is_running()) tell_who_waits();
  watch.is_edge_triggered = watch.mode() == FdWatch::Mode::once && selector_->has_edges();
}

/// A socket of the loop's own has the number of one that tasks still wait for: the program has closed that, or has given
/// it to a transport.
void SelectorEventLoop::make_room_for(FdWatch& watch) noexcept {
  if (!is_watched(watch.fd())) return;
  FdWatch& former = *slots_[static_cast<std::size_t>(watch.fd())].watch;
  if (former.mode() != FdWatch::Mode::single) return;
  former.was_replaced = true;
  former.notify(*this, {.readable = true, .writable = true, .exceptional = true});
  remove_fd(former);
}

void SelectorEventLoop::update_fd(FdWatch& watch) noexcept {
  if (belongs_to_parent()) return;  // the kernel's side of the selector is shared
  Slot& slot = slots_[static_cast<std::size_t>(watch.fd())];
  if (slot.watch != &watch) return;  // it had to make room
  ++slot.generation;                 // the number may be another file's by now, and the former one be reported still
  const bool is_same_file = selector_->modify(watch.fd(), interest_of(watch), token_of(watch.fd(), slot));
  if (!is_same_file) watch.was_replaced = true;
}

void SelectorEventLoop::remove_fd(FdWatch& watch) noexcept {
  if (belongs_to_parent()) return;
  Slot& slot = slots_[static_cast<std::size_t>(watch.fd())];
  if (slot.watch != &watch) return;  // it had to make room
  if (watch.is_closing && watch.is_edge_triggered)
    selector_->forget(watch.fd());
  else
    selector_->remove(watch.fd());
  slot.watch = nullptr;
  --watch_count_;
  if (!is_running()) tell_who_waits();
}

bool SelectorEventLoop::is_watched(int fd) const noexcept {
  const auto number = static_cast<std::size_t>(fd);
  return number < slots_.size() && slots_[number].watch != nullptr;
}

/// False if it is about something that is not watched any more, and will be reported again.
bool SelectorEventLoop::deliver(const SelectorEvent& event) noexcept {
  if (event.token == wake_up_token) return hear_wake_up(), true;
  const int fd = fd_of(event.token);
  const Slot& slot = slots_[static_cast<std::size_t>(fd)];
  if (slot.watch == nullptr || event.token != token_of(fd, slot)) return (event.token & may_be_late_bit) != 0;
  slot.watch->notify(*this, {.readable = event.readable, .writable = event.writable, .exceptional = event.exceptional});
  return true;
}

/// What is closed behind its back stays in an epoll set for as long as it has a duplicate, and no call takes it out: its
/// readiness would keep the loop awake for ever.  So all the others move to a new set.
void SelectorEventLoop::leave_behind(int ghost) noexcept {
  try {
    std::unique_ptr<Selector> fresh = selector_->start_over() ? nullptr : new_selector();
    Selector& selector = fresh == nullptr ? *selector_ : *fresh;
    selector.add(wake_up_.fd(), {.read = true}, Selector::Trigger::edge, wake_up_token);
    for (const Slot& slot : slots_) {
      if (slot.watch == nullptr) continue;
      try {
        add_to(selector, *slot.watch, slot);
      } catch (const OsError&) {  // closed as well: nothing more comes of it
      }
    }
    if (host_ != nullptr) host_->watch(selector.fd());
    if (fresh != nullptr) selector_ = std::move(fresh);
  } catch (...) {
    return;  // no descriptor for it now; the ghost will be back
  }
  call_exception_handler({.message = "descriptor " + std::to_string(ghost) +
                                     " was closed while this event loop watched it, and has a duplicate; tulp::close() "
                                     "takes it from the loop first"});
}

void SelectorEventLoop::hear_wake_up() noexcept {
  if (!selector_->has_edges() || !wake_up_.is_bottomless()) wake_up_.drain();
}

// Making one.

namespace {

std::string_view name_of(SelectorKind kind) {
  switch (kind) {
    case SelectorKind::epoll: return "epoll";
    case SelectorKind::poll: return "poll";
    case SelectorKind::select: return "select";
    case SelectorKind::kqueue: return "kqueue";
    case SelectorKind::io_uring: return "io_uring";
    case SelectorKind::best: break;
  }
  return "best";
}

const SelectorChoice& choose_selector(std::string_view name, const char* who_asks) {
  const auto choices = selector_choices();
  if (name.empty() || name == "best") return choices.front();
  std::string names;
  for (const SelectorChoice& choice : choices) {
    if (choice.name == name) return choice;
    names.append(names.empty() ? "" : ", ").append(choice.name);
  }
  throw std::invalid_argument(std::string(who_asks) + ": there is no selector '" + std::string(name) +
                              "' here; there are " + names);
}

}  // namespace

const SelectorChoice& choose_selector(SelectorKind kind) {
  if (kind != SelectorKind::best) return choose_selector(name_of(kind), "new_event_loop");
  const char* name = std::getenv("TULP_SELECTOR");
  return choose_selector(name != nullptr ? name : "", "TULP_SELECTOR");
}

std::unique_ptr<SelectorEventLoop> make_selector_event_loop(const LoopOptions& options,
                                                            std::unique_ptr<LoopHost> host) {
  const auto make_selector = choose_selector(options.selector).make;
  auto loop = host == nullptr ? std::make_unique<SelectorEventLoop>(make_selector)
                              : std::make_unique<SelectorEventLoop>(make_selector, std::move(host));
  Duration limit = options.watchdog;
  if (limit <= Duration::zero())
    limit = duration_from_environment("TULP_WATCHDOG", std::chrono::milliseconds(1), "milliseconds");
  if (limit > Duration::zero()) loop->watch_over(limit);
  Duration spin = options.spin;
  if (spin <= Duration::zero())
    spin = duration_from_environment("TULP_SPIN", std::chrono::microseconds(1), "microseconds");
  loop->set_spin(spin);
  return loop;
}

std::unique_ptr<EventLoop> EventLoopPolicy::new_event_loop(const LoopOptions& options) {
  return make_selector_event_loop(options, nullptr);
}

}  // namespace tulp
