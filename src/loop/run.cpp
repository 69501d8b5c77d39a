#include <tulp/run.hpp>

#include <tulp/error.hpp>

namespace tulp::detail {

Runner::Runner(const RunOptions& options) : drain_(options.drain) {
  if (get_running_loop() != nullptr) throw InvalidStateError("run() was called while an event loop runs in this thread");
  loop_ = new_event_loop(options.loop);
}

Runner::~Runner() = default;

void Runner::run(FutureState& main) {
  const auto keep = Ref<FutureState>::share(&main);
  const auto stopper = main.add_done_callback([this](FutureState&) { loop_->stop(); });
  loop_->run_forever();
  main.remove_done_callback(stopper);
  loop_->shut_down(drain_);
  loop_->close();
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
