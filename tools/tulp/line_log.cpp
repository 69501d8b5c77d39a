#include "line_log.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

namespace tool {
namespace {

using namespace std::chrono_literals;

constexpr auto batch_time = 50ms;
constexpr int end_time_ms = 500;

bool is_regular(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

LineLog::LineLog(int fd, std::function<void(int)> on_failure)
    : fd_(fd), is_file_(is_regular(fd)), on_failure_(std::move(on_failure)), thread_([this] { run(); }) {}

LineLog::~LineLog() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void LineLog::add(std::string_view line) {
  const std::lock_guard lock(mutex_);
  if (pending_.size() + line.size() > most_bytes) {
    ++dropped_count_;
    return;
  }
  if (pending_.empty()) changed_.notify_one();
  pending_.append(line).append("\n");
}

void LineLog::run() {
  std::string batch;
  for (std::unique_lock lock(mutex_);;) {
    changed_.wait(lock, [this] { return !pending_.empty() || is_ending_; });
    if (pending_.empty() && is_ending_) return;
    batch.clear();
    batch.swap(pending_);
    if (dropped_count_ > 0) batch += std::to_string(std::exchange(dropped_count_, 0)) + " lines were dropped here\n";
    lock.unlock();
    write_all(batch);
    lock.lock();
    changed_.wait_for(lock, batch_time, [this] { return is_ending_.load(); });
  }
}

/// Room for one more piece, or an error; false if the end came first.
bool LineLog::wait_for_room() const {
  pollfd room{fd_, POLLOUT, 0};
  while (!is_ending_)
    if (::poll(&room, 1, 100) != 0) return true;
  return ::poll(&room, 1, end_time_ms) != 0;
}

void LineLog::write_all(std::string_view text) {
  while (!text.empty()) {
    if (!is_file_ && !wait_for_room()) return;
    const std::size_t most = is_file_ ? text.size() : PIPE_BUF;  // a pipe with room takes so much without waiting
    const ssize_t size = ::write(fd_, text.data(), std::min(text.size(), most));
    if (size >= 0) {
      text.remove_prefix(static_cast<std::size_t>(size));
      has_failed_ = false;
    } else if (errno != EINTR && errno != EAGAIN) {
      if (!std::exchange(has_failed_, true)) on_failure_(errno);
      return;
    }
  }
}

}  // namespace tool
