#include <tulp/wait.hpp>

#include <stdexcept>

#include <tulp/detail/wait_queue.hpp>

namespace tulp::detail {
namespace {

class SeveralEnds final : private FutureWatch {
 public:
  SeveralEnds(const std::vector<Ref<FutureState>>& futures, ReturnWhen return_when)
      : pending_count_(futures.size()), return_when_(return_when) {
    for (const auto& future : futures) watch(*future, 0);
  }
  void wait() { waiting_.wait("the ends of several futures, in wait"); }
  void stop_waiting() noexcept { waiting_.wake_all(); }

 private:
  void on_end(Ref<FutureState> future, std::size_t) noexcept override {
    --pending_count_;
    if (pending_count_ == 0 || return_when_ == FIRST_COMPLETED ||
        (return_when_ == FIRST_EXCEPTION && future->status() == FutureState::Status::failed))
      stop_waiting();
  }

  std::size_t pending_count_;
  ReturnWhen return_when_;
  WaitQueue waiting_;
};

}  // namespace

void wait_for_several(const std::vector<Ref<FutureState>>& futures, const WaitOptions& options) {
  TaskControl& me = require_task("wait");
  if (futures.empty()) throw std::invalid_argument("wait: nothing to wait for");
  if (&common_loop(futures, "wait") != &me.loop())
    throw InvalidStateError("wait: the futures belong to a different event loop");
  throw_if_cancelled();
  SeveralEnds ends(futures, options.return_when);
  struct Limit {
    ~Limit() { timer.cancel(); }
    TimerHandle timer;
  } limit;
  if (!options.timeout.is_never())
    limit.timer = me.loop().call_later(options.timeout, [&ends] { ends.stop_waiting(); });
  ends.wait();
}

}  // namespace tulp::detail
