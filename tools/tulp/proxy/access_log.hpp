// AccessLog: one line for each connection that is over, on standard output, and one for each that did not come about, on
// standard error.  Who does not read them holds up nobody.
#pragma once
#include <tulp/address.hpp>
#include <tulp/duration.hpp>

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "line_log.hpp"

namespace tool::proxy {

/// What is to be said of a connection.
struct Entry {
  tulp::Address client = {};
  std::string target = {};
  std::uint64_t up_bytes = 0;    // from the client to the target
  std::uint64_t down_bytes = 0;  // from the target to the client
  tulp::Duration time = {};
  std::string end = "ended";
};

/// Thread: any.
class AccessLog {
 public:
  explicit AccessLog(bool is_quiet);

  /// Nobody but ourselves writes control characters into it.
  void write(const Entry& entry);
  void write_line(std::string_view line);
  void complain(std::string_view what);
  /// Calls `stop()` when a line cannot be written, once, at once if that has been so.
  void on_failure(std::function<void()> stop);
  /// Writes what is left, after which there is no more to come.  Throws: WriteError - a line could not be written.
  void finish();

 private:
  void fail(int error);

  const bool is_quiet_;
  std::mutex mutex_;  // over the next two
  int error_ = 0;
  std::function<void()> stop_;
  std::optional<LineLog> lines_;
  LineLog complaints_;
};

}  // namespace tool::proxy
