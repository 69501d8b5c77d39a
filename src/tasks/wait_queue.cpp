#include <tulp/detail/wait_queue.hpp>

#include <cstdio>

namespace tulp::detail {
namespace {

class PlainEntry final : public WaitEntry {
 public:
  PlainEntry(TaskControl& task, const WaitQueue& queue, const char* what, const std::uint64_t* holder) noexcept
      : WaitEntry(task), queue_(queue), what_(what), holder_(holder) {}
  std::string description() const override { return describe_object(what_, &queue_); }
  std::uint64_t holder() const noexcept override { return holder_ != nullptr ? *holder_ : 0; }

 private:
  const WaitQueue& queue_;
  const char* what_;
  const std::uint64_t* holder_;
};

}  // namespace

std::string describe_object(const char* what, const void* object) {
  char address[2 + 2 * sizeof object + 1];
  std::snprintf(address, sizeof address, "%p", object);
  return std::string(what) + " " + address;
}

void WaitQueue::wait(const char* what, const std::uint64_t* holder) {
  PlainEntry entry(*running_task(), *this, what, holder);
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
