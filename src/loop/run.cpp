#include <tulp/run.hpp>

#include <csignal>

#include <tulp/error.hpp>

#include "base/main_thread.hpp"
#include "base/sys.hpp"
#include "events/signal_handlers.hpp"
#include "tasks/dump.hpp"

namespace tulp::detail {
namespace {

/// While it lives, the first Ctrl-C cancels the main task and the second one ends the process.  On the main thread alone,
/// and not where the program has a handler of its own for SIGINT, or ignores it.
class InterruptScope {
 public:
  InterruptScope(EventLoop& loop, FutureState& main) : loop_(loop) {
    struct sigaction present {};
    if (!is_main_thread() || sys.sigaction(SIGINT, nullptr, &present) != 0 || (present.sa_flags & SA_SIGINFO) != 0 ||
        present.sa_handler != SIG_DFL)
      return;
    is_active_ = true;
    const auto on_interrupt = [this, &main] {
      was_interrupted_ = true;
      main.cancel({"Ctrl-C"});
    };
    handlers().add(SIGINT, nullptr, on_interrupt, SignalHandlers::Purpose::watching);
    handlers().target().end_process_at_second_interrupt(true);
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
  ~InterruptScope() {
    if (!is_active_) return;
    handlers().target().end_process_at_second_interrupt(false);
    loop_.remove_signal_handler(SIGINT);
  }

  bool was_interrupted() const noexcept { return was_interrupted_; }

 private:
  SignalHandlers& handlers() { return loop_.service<SignalHandlers>(); }

  EventLoop& loop_;
  bool is_active_ = false;
  bool was_interrupted_ = false;
};

}  // namespace

Runner::Runner(const RunOptions& options) : Runner(new_event_loop(options.loop), options.drain, options.dump_signal) {}

Runner::Runner(std::unique_ptr<EventLoop> loop, Duration drain, int dump_signal)
    : loop_(std::move(loop)), drain_(drain) {
  if (get_running_loop() != nullptr)
    throw InvalidStateError("run() was called while an event loop runs in this thread");
  if (const int signal = dump_signal != 0 ? dump_signal : dump_signal_from_environment(); signal != 0)
    dump_tasks_on_signal(*loop_, signal);
}

Runner::~Runner() = default;

void Runner::run(FutureState& main) {
  const auto keep = Ref<FutureState>::share(&main);
  bool was_interrupted = false;
  bool was_stopped = false;
  {
    const InterruptScope interrupts(*loop_, main);
    const auto stopper = main.add_done_callback([this](FutureState&) { loop_->stop(); });
    loop_->run_forever();
    main.remove_done_callback(stopper);
    was_interrupted = interrupts.was_interrupted();
    was_stopped = !main.is_done();
    loop_->shut_down(drain_);
  }
  loop_->close();
  if (was_stopped) throw InvalidStateError("the event loop was stopped before main was done");
  if (was_interrupted && main.status() == FutureState::Status::cancelled) throw KeyboardInterrupt();
}

int exit_code_of(UniqueFunction<int()> main) noexcept {
  try {
    return main();
  } catch (const KeyboardInterrupt&) {
    return 130;
  } catch (...) {
    std::fprintf(stderr, "error: %s\n", describe(std::current_exception()).c_str());
    return 1;
  }
}

}  // namespace tulp::detail
