#include "events/fd_callbacks.hpp"

#include <tulp/error.hpp>

namespace tulp::detail {

/// Removed while it stands in the ready queue, a callback belongs to the queue, which drops it in its turn.
class FdCallbacks::Callback final : public RefCounted, public Runnable {
 public:
  Callback(EventLoop& loop, UniqueFunction<void()> function) : loop_(loop), function_(std::move(function)) {}

  void run() noexcept override {
    if (is_removed_) return drop_ref();
    const auto keep = Ref<Callback>::share(this);   // the callback may remove itself
    try {
      function_();
    } catch (...) {
      loop_.call_exception_handler({.message = "a reader or writer callback failed",
                                    .exception = std::current_exception(),
                                    .object = "callback"});
    }
  }
  void discard() noexcept override {
    if (is_removed_) drop_ref();
  }
  /// Takes the entry's reference.
  void remove() noexcept {
    is_removed_ = true;
    if (!is_queued()) return drop_ref();
    function_ = nullptr;
  }

 private:
  EventLoop& loop_;
  UniqueFunction<void()> function_;
  bool is_removed_ = false;
};

struct FdCallbacks::Entry {
  explicit Entry(int fd) : watch(fd, FdWatch::Mode::level) {}
  FdWatch watch;
  std::array<Callback*, 2> callbacks{};

  Callback*& callback(Direction d) { return callbacks[static_cast<std::size_t>(d)]; }
};

FdCallbacks::FdCallbacks(EventLoop& loop) : loop_(loop) {}

FdCallbacks::~FdCallbacks() {
  while (!entries_.empty()) {
    const int fd = entries_.begin()->first;
    remove(fd, Direction::read);
    remove(fd, Direction::write);
  }
}

void FdCallbacks::add(int fd, Direction direction, UniqueFunction<void()> function) {
  auto callback = Ref<Callback>::adopt(new Callback(loop_, std::move(function)));
  auto found = entries_.find(fd);
  if (found == entries_.end()) {
    auto entry = std::make_unique<Entry>(fd);
    loop_.add_fd(entry->watch);
    found = entries_.emplace(fd, std::move(entry)).first;
  }
  Entry& entry = *found->second;
  Callback* former = std::exchange(entry.callback(direction), callback.release());
  entry.watch.arm(loop_, direction, *entry.callback(direction));
  if (former != nullptr) former->remove();
}

bool FdCallbacks::remove(int fd, Direction direction) {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return false;
  Entry& entry = *found->second;
  Callback* callback = std::exchange(entry.callback(direction), nullptr);
  if (entry.callbacks[0] == nullptr && entry.callbacks[1] == nullptr) {
    loop_.remove_fd(entry.watch);
    entries_.erase(found);
  } else {
    entry.watch.disarm(loop_, direction);
  }
  if (callback == nullptr) return false;
  callback->remove();
  return true;
}

}  // namespace tulp::detail
