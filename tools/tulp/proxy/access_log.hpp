// AccessLog: one line for each connection that is over, on standard output.
#pragma once
#include <tulp/duration.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>

namespace tool::proxy {

/// What is to be said of a connection.
struct Entry {
  std::string client = {};
  std::string target = {};
  std::uint64_t up_bytes = 0;    // from the client to the target
  std::uint64_t down_bytes = 0;  // from the target to the client
  tulp::Duration time = {};
  std::string end = "ended";
};

/// Thread: any.
class AccessLog {
 public:
  explicit AccessLog(bool is_quiet) : is_quiet_(is_quiet) {}

  /// Nobody but ourselves writes control characters into it.
  void write(const Entry& entry);
  void write_line(const std::string& line);
  /// Calls `stop()` when a line cannot be written, once, at once if that has been so.
  void on_failure(std::function<void()> stop);
  /// Throws: WriteError - a line could not be written.
  void check() const;

 private:
  const bool is_quiet_;
  mutable std::mutex mutex_;
  std::exception_ptr failure_;
  std::function<void()> stop_;
};

}  // namespace tool::proxy
