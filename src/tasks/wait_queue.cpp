#include <tulp/detail/wait_queue.hpp>

namespace tulp::detail {
namespace {

class PlainEntry final : public WaitEntry {
 public:
  using WaitEntry::WaitEntry;
};

}  // namespace

void WaitQueue::wait() {
  PlainEntry entry(*running_task());
  waiting_.push_back(entry);
  park(entry);
}

void WaitQueue::wake_one() noexcept {
  if (!waiting_.empty()) waiting_.pop_front().wake();
}

void WaitQueue::wake_all() noexcept {
  while (!waiting_.empty()) wake_one();
}

}  // namespace tulp::detail
