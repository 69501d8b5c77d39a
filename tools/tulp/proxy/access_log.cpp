#include "proxy/access_log.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <utility>

#include "output.hpp"
#include "terminal.hpp"

namespace tool::proxy {
namespace {

/// "2026-11-28T12:00:00.123Z".
std::string now_in_utc() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = milliseconds / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%FT%T", &parts);
  std::snprintf(text.data() + size, text.size() - size, ".%03dZ", static_cast<int>(milliseconds % 1000));
  return text.data();
}

std::string line_of(const Entry& entry) {
  std::array<char, 32> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%.3f", entry.time.seconds());
  return now_in_utc() + ' ' + printable(entry.client.to_string()) + " -> " + printable(entry.target) + " up " +
         std::to_string(entry.up_bytes) + " down " + std::to_string(entry.down_bytes) + " in " + seconds.data() +
         " s: " + printable(entry.end);
}

}  // namespace

AccessLog::AccessLog(bool is_quiet) : is_quiet_(is_quiet), complaints_(STDERR_FILENO, [](int) {}) {
  lines_.emplace(STDOUT_FILENO, [this](int error) { fail(error); });
}

void AccessLog::write(const Entry& entry) {
  if (!is_quiet_) write_line(line_of(entry));
}

void AccessLog::write_line(std::string_view line) { lines_->add(line); }

void AccessLog::complain(std::string_view what) { complaints_.add("tulp proxy: " + printable(what)); }

void AccessLog::fail(int error) {
  const std::lock_guard guard(mutex_);
  error_ = error;
  if (stop_) stop_();
}

void AccessLog::on_failure(std::function<void()> stop) {
  const std::lock_guard guard(mutex_);
  stop_ = std::move(stop);
  if (error_ != 0) stop_();
}

void AccessLog::finish() {
  lines_.reset();
  if (error_ != 0) throw WriteError(error_, "stdout");
}

}  // namespace tool::proxy
