#include "events/fd_callbacks.hpp"

#include <array>
#include <string>

#include "events/repeated_callback.hpp"

namespace tulp::detail {

struct FdCallbacks::Entry {
  explicit Entry(int fd) : watch(fd, FdWatch::Mode::level) {}
  FdWatch watch;
  std::array<RepeatedCallback*, 2> callbacks{};

  RepeatedCallback*& callback(Direction d) { return callbacks[static_cast<std::size_t>(d)]; }
};

FdCallbacks::FdCallbacks(EventLoop& loop) : loop_(loop) {}

FdCallbacks::~FdCallbacks() {
  while (!entries_.empty()) {
    const int fd = entries_.begin()->first;
    remove(fd, Direction::read);
    remove(fd, Direction::write);
  }
}

void FdCallbacks::add(int fd, Direction direction, const void* created_at, UniqueFunction<void()> function) {
  const std::string what =
      (direction == Direction::read ? "reader of descriptor " : "writer of descriptor ") + std::to_string(fd);
  auto callback = Ref<RepeatedCallback>::adopt(
      new RepeatedCallback(loop_, {.what = what, .created_at = created_at}, std::move(function)));
  auto found = entries_.find(fd);
  if (found == entries_.end()) {
    auto entry = std::make_unique<Entry>(fd);
    entry->watch.arm_before_adding(direction, *callback);
    loop_.add_fd(entry->watch);
    found = entries_.emplace(fd, std::move(entry)).first;
  }
  Entry& entry = *found->second;
  RepeatedCallback* former = std::exchange(entry.callback(direction), callback.release());
  entry.watch.arm(loop_, direction, *entry.callback(direction));
  if (former != nullptr) former->remove();
}

bool FdCallbacks::remove(int fd, Direction direction) {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return false;
  Entry& entry = *found->second;
  RepeatedCallback* callback = std::exchange(entry.callback(direction), nullptr);
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
