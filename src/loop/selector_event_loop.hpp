// SelectorEventLoop: the loop of this library, over a Selector.  Floor 7, loop.
#pragma once
#include <tulp/event_loop.hpp>
#include <tulp/loop_host.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "base/wake_up.hpp"
#include "events/timer_queue.hpp"
#include "loop/loop_hooks.hpp"
#include "loop/watchdog.hpp"
#include "selector/selector.hpp"

namespace tulp {

/// One iteration: poll; queue what is ready; queue what is due; run exactly the entries that are there now.
class SelectorEventLoop final : public EventLoop {
 public:
  /// `hooks` is null but in tests.
  /// Throws: OsError - a descriptor or memory is missing.
  explicit SelectorEventLoop(std::unique_ptr<Selector> (*make_selector)(), std::unique_ptr<LoopHooks> hooks = nullptr);
  /// A loop that runs in `host`.
  /// Throws: std::invalid_argument - the selector has no descriptor; OsError; what `host` throws.
  SelectorEventLoop(std::unique_ptr<Selector> (*make_selector)(), std::unique_ptr<LoopHost> host);
  ~SelectorEventLoop() override;

  TimePoint time() const override { return hooks_ == nullptr ? std::chrono::steady_clock::now() : hooks_->now(); }
  void run_forever() override;
  void stop() override { is_stopping_ = true; }
  void close() override;

  void run_once(RunMode mode) override;
  int backend_fd() override;
  Duration next_timeout() const override;

  void enqueue(Runnable& entry) noexcept override;
  bool post_threadsafe(Runnable& entry) noexcept override;
  Runnable* take_task_step() noexcept override;
  void start_timer(Timer& timer) override;
  void stop_timer(Timer& timer) noexcept override;
  void add_fd(FdWatch& watch) override;
  void update_fd(FdWatch& watch) noexcept override;
  void remove_fd(FdWatch& watch) noexcept override;
  bool is_watched(int fd) const noexcept override;
  detail::Ring* ring() noexcept override { return selector_->ring(); }

  /// Before the first run.  Throws: OsError - there is no thread to be had.
  void watch_over(Duration limit) { watchdog_ = std::make_unique<Watchdog>(limit); }

  /// For so long it asks again and again before it sleeps.
  void set_spin(Duration limit) noexcept { spin_ = limit; }

  LoopHooks* hooks() const noexcept { return hooks_.get(); }

  // For a host.
  LoopHost* host() const noexcept { return host_.get(); }
  bool drives_host() const noexcept { return drives_host_; }
  void run_in_host() noexcept;
  void give_host_a_plan() noexcept;

 private:
  void on_fork() noexcept override;

  /// A watched descriptor.  The generation tells an event for what is watched from one for what the number was before.
  struct Slot {
    FdWatch* watch = nullptr;
    std::uint32_t generation = 0;
  };

  /// While one lives the loop runs, and nobody has to be told of what comes.
  class Awake {
   public:
    explicit Awake(SelectorEventLoop& loop) : loop_(loop) {}
    Awake(const Awake&) = delete;
    Awake& operator=(const Awake&) = delete;
    ~Awake() { loop_.leave_to_who_waits(); }

   private:
    SelectorEventLoop& loop_;
  };
  /// While one lives, the loop waits in its host, if it has one.
  class Driving {
   public:
    explicit Driving(SelectorEventLoop& loop);
    Driving(const Driving&) = delete;
    Driving& operator=(const Driving&) = delete;
    ~Driving();

   private:
    SelectorEventLoop& loop_;
  };

  std::unique_ptr<Selector> new_selector();
  void iterate(RunMode mode);
  void end_run();
  void poll(RunMode mode);
  std::size_t wait(Duration timeout);
  std::size_t spin(Duration timeout);
  std::size_t wait_in_host(Duration timeout);
  void look_for_due_timers();
  void move_due_timers_to(RunQueue& queue) noexcept;
  void run_batches();
  bool begin_batch() noexcept;
  bool resume_batch() noexcept;
  bool is_time_to_poll() noexcept;

  Duration time_to_wait() const;
  bool is_stuck() const noexcept;
  bool waits_for_descriptors() const noexcept;
  bool has_more_to_do() const noexcept;
  void move_into_host();
  void leave_to_who_waits() noexcept;
  void tell_who_waits() noexcept;
  void leave_host() noexcept;
  void forget_host() noexcept;
  void report_deadlock() noexcept;
  bool deliver(const SelectorEvent& event) noexcept;
  void make_room_for(FdWatch& watch) noexcept;
  void leave_behind(int ghost) noexcept;
  void hear_wake_up() noexcept;
  static std::uint64_t token_of(int fd, const Slot& slot) noexcept;
  static int fd_of(std::uint64_t token) noexcept;
  static Selector::Interest interest_of(const FdWatch& watch) noexcept;
  static void add_to(Selector& selector, const FdWatch& watch, const Slot& slot);

  const std::unique_ptr<LoopHooks> hooks_;
  std::unique_ptr<Selector> (*make_selector_)();
  std::unique_ptr<Selector> selector_;
  WakeUp wake_up_;
  std::vector<Slot> slots_;  // by descriptor
  std::array<SelectorEvent, 512> events_;
  TimerQueue timers_;
  std::optional<TimerKey> due_limit_;  // timers up to there belong to the batch, and are not queued yet
  RunQueue ready_;
  unsigned batch_limit_ = std::numeric_limits<unsigned>::max();  // how many may run between two polls
  unsigned batch_count_ = 0;                                     // since the last poll
  unsigned next_look_ = 0;                                       // the count at which to see whether it is time for one
  TimePoint poll_limit_{};                                       // after which there is one anyway
  bool is_stopping_ = false;
  bool may_report_deadlock_ = true;  // once
  std::unique_ptr<Watchdog> watchdog_;
  std::size_t watch_count_ = 0;
  bool was_posted_to_ = false;  // by other threads, before the last batch
  Duration spin_ = Duration::zero();
  std::unique_ptr<LoopHost> host_;
  bool drives_host_ = false;  // run_forever() is inside, and not the program in the host
  bool is_guest_ = false;     // the program waits for the selector's descriptor by itself
  alignas(64) Inbox inbox_;   // apart from what the loop's thread writes all the time
  /// Somebody waits, the loop, its host or the program, and is to be told of what comes.
  std::atomic<bool> is_asleep_ = false;
};

/// What LoopOptions::selector asks for.
/// Throws: std::invalid_argument - this system has no such selector, or TULP_SELECTOR names none.
const SelectorChoice& choose_selector(SelectorKind kind);
/// Makes what LoopOptions ask for, with `host` if that is not null.
std::unique_ptr<SelectorEventLoop> make_selector_event_loop(const LoopOptions& options, std::unique_ptr<LoopHost> host);

}  // namespace tulp
