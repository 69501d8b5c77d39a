#include <tulp/loop_core.hpp>

namespace tulp {
namespace {

class Closed final : public Runnable {
 public:
  void run() noexcept override {}
};
constinit Closed closed;

}  // namespace

bool Inbox::push(Runnable& entry) noexcept {
  Runnable* newest = newest_.load(std::memory_order_relaxed);
  do {
    if (newest == &closed) return false;
    entry.next_ = newest;
  } while (!newest_.compare_exchange_weak(newest, &entry, std::memory_order_seq_cst, std::memory_order_relaxed));
  return true;
}

void Inbox::take(RunQueue& queue) noexcept {
  if (!empty()) move(newest_.exchange(nullptr, std::memory_order_seq_cst), queue);
}

void Inbox::close(RunQueue& queue) noexcept {
  Runnable* newest = newest_.exchange(&closed, std::memory_order_seq_cst);
  if (newest != &closed) move(newest, queue);
}

void Inbox::move(Runnable* newest, RunQueue& queue) noexcept {
  Runnable* oldest = nullptr;
  while (newest != nullptr) {
    Runnable* older = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = older;
  }
  while (oldest != nullptr) {
    Runnable* newer = oldest->next_;
    queue.push(*oldest);
    oldest = newer;
  }
}

}  // namespace tulp
