#include "progress.hpp"

#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "format.hpp"
#include "output.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

constexpr auto rate_window = 5s;
constexpr std::size_t full_width = 60;  // with less there is no bar
constexpr std::size_t most_name_width = 24;

winsize size_of(int fd) {
  winsize size{};
  const bool is_known = ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
  return is_known ? size : winsize{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
}

/// Its first `width` characters, and spaces behind them.
std::string fit(std::string_view text, std::size_t width) {
  std::string kept;
  for (const char c : text) {
    const bool begins_character = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (begins_character && columns_of(kept) == width) break;
    kept += c;
  }
  return kept + std::string(width - columns_of(kept), ' ');
}

/// "0:05", "12:34", "1:02:03".
std::string in_clock_time(double seconds) {
  if (!(seconds < 100 * 3600)) return "long";
  const int whole = static_cast<int>(std::ceil(seconds));
  if (whole < 3600) return format("%d:%02d", whole / 60, whole % 60);
  return format("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string left_time(const Meter& meter) {
  if (!meter.total_bytes || meter.bytes_per_second <= 0) return "";
  const auto left = *meter.total_bytes - std::min(meter.done_bytes, *meter.total_bytes);
  return in_clock_time(static_cast<double>(left) / meter.bytes_per_second);
}

double share_of(const Meter& meter) {
  if (*meter.total_bytes == 0) return 1;
  return std::min(static_cast<double>(meter.done_bytes) / static_cast<double>(*meter.total_bytes), 1.0);
}

/// Where the end is not known an arrow goes to and fro, as long as something comes.
std::string bar(const Meter& meter, std::size_t width) {
  if (!meter.total_bytes) {
    constexpr std::string_view arrow = "<=>";
    const std::size_t way = width - arrow.size();
    const std::size_t step = meter.done_bytes / (64 * 1024) % (2 * way);
    std::string text(width, ' ');
    return text.replace(step < way ? step : 2 * way - step, arrow.size(), arrow);
  }
  const auto filled = static_cast<std::size_t>(share_of(meter) * static_cast<double>(width));
  std::string text = std::string(filled, '=') + std::string(width - filled, ' ');
  if (filled > 0 && filled < width) text[filled - 1] = '>';
  return text;
}

}  // namespace

void Rate::note(std::uint64_t done_bytes, tulp::TimePoint now) {
  points_.push_back({now, done_bytes});
  while (points_.size() > 2 && now - points_.front().time > rate_window) points_.pop_front();
}

double Rate::bytes_per_second() const {
  if (points_.size() < 2) return 0;
  const std::chrono::duration<double> time = points_.back().time - points_.front().time;
  return time.count() > 0 ? static_cast<double>(points_.back().done_bytes - points_.front().done_bytes) / time.count()
                          : 0;
}

std::string to_line(const Meter& meter, std::size_t width) {
  const std::string percent = meter.total_bytes ? format("%3.0f %%", std::floor(share_of(meter) * 100)) : "";
  const std::string rate = in_bytes(static_cast<std::uint64_t>(meter.bytes_per_second)) + "/s";
  const std::string left = left_time(meter);
  std::string right = format("  %5s", percent.c_str());
  if (width >= full_width) right += format("  %8s", in_bytes(meter.done_bytes).c_str());
  right += format("  %10s", rate.c_str());
  if (width >= full_width) {
    right += format("  %10s", (left.empty() ? left : left + " left").c_str());
  } else {
    right += format("  %5s", left.c_str());
  }
  if (right.size() >= width) return fit(right, width);

  const std::size_t room = width - right.size();
  if (width < full_width) return fit(meter.name, room) + right;
  const std::size_t name_width = std::min(room / 2, most_name_width);
  return fit(meter.name, name_width) + "  [" + bar(meter, room - name_width - 4) + "]" + right;
}

StatusLines::StatusLines(int fd) : fd_(fd), is_visible_(can_move_cursor(fd)) {}

std::size_t StatusLines::width() const { return std::max<std::size_t>(size_of(fd_).ws_col, 2) - 1; }
std::size_t StatusLines::height() const { return std::max<std::size_t>(size_of(fd_).ws_row, 2) - 1; }

/// A terminal that has become narrower since has broken the lines.
std::string StatusLines::to_first_line() const {
  std::size_t rows = 0;
  for (const std::size_t shown : shown_) rows += std::max<std::size_t>((shown + width()) / (width() + 1), 1);
  return rows > 1 ? "\r\x1b[" + std::to_string(rows - 1) + "A" : "\r";
}

void StatusLines::show(const std::vector<std::string>& lines) {
  if (!is_visible_) return;
  std::string text = to_first_line();
  shown_.clear();
  for (const std::string& line : lines) {
    text += (shown_.empty() ? "" : "\n") + line + "\x1b[K";
    shown_.push_back(columns_of(line));
  }
  write_if_possible(fd_, text + "\x1b[J");
}

void StatusLines::clear() {
  if (!shown_.empty()) write_if_possible(fd_, to_first_line() + "\x1b[J");
  shown_.clear();
}

}  // namespace tool
