// What is under way, for a person: a line with a bar for each, and the lines at the bottom of a terminal where they stand.
#pragma once
#include <tulp/event_loop.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// How fast something has been going of late.
class Rate {
 public:
  /// Called several times a second, with all that is done so far.
  void note(std::uint64_t done_bytes, tulp::TimePoint now);
  double bytes_per_second() const;

 private:
  struct Point {
    tulp::TimePoint time;
    std::uint64_t done_bytes;
  };
  std::deque<Point> points_;  // of the last seconds
};

/// How far one thing is.
struct Meter {
  std::string name;
  std::uint64_t done_bytes = 0;
  std::optional<std::uint64_t> total_bytes = std::nullopt;
  double bytes_per_second = 0;
};

/// "big.iso  [=====>      ]  45 %  450.0 MB  120.3 MB/s  0:05 left", or less of it where there is less room.
std::string to_line(const Meter& meter, std::size_t width);

/// Lines at the bottom of the terminal behind a descriptor, which is no other program's meanwhile.  Without a terminal
/// that can move its cursor nothing is shown.
class StatusLines {
 public:
  explicit StatusLines(int fd);
  StatusLines(const StatusLines&) = delete;
  StatusLines& operator=(const StatusLines&) = delete;
  ~StatusLines() { clear(); }

  bool is_visible() const noexcept { return is_visible_; }
  /// How many characters a line has room for, and how many lines there is room for.
  std::size_t width() const;
  std::size_t height() const;
  /// In the place of those that are shown; no longer or more than there is room for.
  void show(const std::vector<std::string>& lines);
  void clear();

 private:
  std::string to_first_line() const;

  const int fd_;
  const bool is_visible_;
  std::vector<std::size_t> shown_;  // the width of each line
};

}  // namespace tool
