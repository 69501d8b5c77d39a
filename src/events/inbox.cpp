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

[[gnu::hot]] bool Inbox::take(RunQueue& queue) noexcept {
  if (empty()) return false;
  move(newest_.exchange(nullptr, std::memory_order_seq_cst), queue);
  return true;
}

void Inbox::close(RunQueue& queue) noexcept {
  Runnable* newest = newest_.exchange(&closed, std::memory_order_seq_cst);
  if (newest != &closed) move(newest, queue);
}

/// Turns the list round, in one pass, because it may be long and in nobody's cache.
void Inbox::move(Runnable* newest, RunQueue& queue) noexcept {
  if (newest == nullptr) return;
  Runnable& last = *newest;
  Runnable* first = nullptr;
  for (Runnable* entry = newest; entry != nullptr;) {
    Runnable* const older = entry->next_;
    TULP_ASSERT(!entry->is_queued_);
    entry->is_queued_ = true;
    entry->next_ = first;
    first = entry;
    entry = older;
  }
  queue.append(*first, last);
}

}  // namespace tulp
