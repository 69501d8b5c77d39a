#include <tulp/as_completed.hpp>

#include <string>

#include <tulp/error.hpp>

#include "tasks/timeout.hpp"

namespace tulp::detail {

Completions::Completions(const std::vector<Ref<FutureState>>& futures, Duration timeout)
    : left_count_(futures.size()), timeout_(timeout) {
  if (futures.empty()) return;
  EventLoop& loop = common_loop(futures, "as_completed");
  for (std::size_t i = 0; i < futures.size(); ++i) watch(*futures[i], i);
  if (timeout.is_never()) return;
  timer_ = loop.call_later(timeout, [this] {
    is_over_ = true;
    waiting_.wake_all();
  });
}

void Completions::on_end(Ref<FutureState>, std::size_t index) noexcept {
  ended_.push_back(index);
  waiting_.wake_one();
}

std::size_t Completions::next() {
  require_task("as_completed");
  while (ended_.empty()) {
    if (is_over_)
      throw TimeoutError("as_completed: " + std::to_string(left_count_) + " not done after " + in_seconds(timeout_));
    waiting_.wait("the next of several futures, in as_completed");
  }
  const std::size_t index = ended_.front();
  ended_.pop_front();
  --left_count_;
  return index;
}

}  // namespace tulp::detail
