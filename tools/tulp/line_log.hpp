// LineLog: lines to a file, a pipe or a terminal, written in batches by a thread of its own, so that a reader who is slow or
// has stopped holds up nobody.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace tool {

class LineLog {
 public:
  /// What waits to be written; beyond that lines are dropped, and counted in a line when there is room again.
  static constexpr std::size_t most_bytes = 1024 * 1024;

  /// `on_failure(errno)` is called once, in the log's thread, if `fd` takes nothing any more.
  LineLog(int fd, std::function<void(int)> on_failure);
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;
  /// Writes what is left, but does not wait long for a reader.
  ~LineLog();

  /// `line` has no end yet.  Thread: any.
  void add(std::string_view line);

 private:
  void run();
  void write_all(std::string_view text);
  bool wait_for_room() const;

  const int fd_;
  const bool is_file_;
  const std::function<void(int)> on_failure_;
  std::mutex mutex_;  // over the next three
  std::condition_variable changed_;
  std::string pending_;
  std::size_t dropped_count_ = 0;
  std::atomic<bool> is_ending_ = false;
  bool has_failed_ = false;  // of the thread
  std::thread thread_;
};

}  // namespace tool
