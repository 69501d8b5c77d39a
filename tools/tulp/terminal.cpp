#include "terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <tulp/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "format.hpp"
#include "output.hpp"

namespace tool {
namespace {

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool is_dumb() {
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || std::string_view(terminal) == "dumb";
}

}  // namespace

std::size_t width_of(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool can_move_cursor(int fd) { return ::isatty(fd) == 1 && !is_dumb(); }

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

StatusLine::StatusLine(int fd) : fd_(fd), is_terminal_(can_move_cursor(fd)) {}

void StatusLine::show(std::string_view text) {
  if (!is_terminal_) return;
  const std::size_t width = width_of(fd_);
  while (columns_of(text) >= width) text.remove_suffix(1);
  write_if_possible(fd_, "\r" + std::string(text) + "\x1b[K");
  is_shown_ = true;
}

void StatusLine::clear() {
  if (is_shown_) write_if_possible(fd_, "\r\x1b[K");
  is_shown_ = false;
}

void write_if_possible(int fd, std::string_view text) {
  try {
    write_all(fd, text, "terminal");
  } catch (const WriteError&) {
  }
}

bool wants_colour(int fd) { return can_move_cursor(fd) && !is_set("NO_COLOR"); }

bool wants_unicode() {
  for (const char* variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (!is_set(variable)) continue;
    const std::string_view locale = std::getenv(variable);
    return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
  }
  return false;
}

std::string Colours::wrap(std::string_view code, std::string_view text) const {
  if (!are_wanted_) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

void complain(std::string_view who, std::string_view what) {
  write_if_possible(STDERR_FILENO, std::string(who) + ": " + printable(what) + "\n");
}

void complain_for_loop(std::string who, std::function<void(std::string_view)> on_bad_client) {
  tulp::get_event_loop().set_exception_handler([who = std::move(who), on_bad_client = std::move(on_bad_client)](
                                                   tulp::EventLoop& loop, const tulp::ExceptionContext& context) {
    if (context.exception) return complain(who, context.message + ": " + tulp::describe(context.exception));
    if (context.message.find('\n') != context.message.npos) return loop.default_exception_handler(context);  // stacks
    if (on_bad_client && context.message.starts_with("TLS handshake")) return on_bad_client(context.message);
    complain(who, context.message);
  });
}

std::string printable(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    clean += byte < 0x20 || byte == 0x7f ? format("\\x%02x", unsigned{byte}) : std::string(1, c);
  }
  return clean;
}

std::string in_bytes(std::uint64_t count) {
  if (count < 1000) return std::to_string(count) + " B";
  double size = static_cast<double>(count) / 1000;
  const char* unit = "kMGTPE";
  for (; size >= 999.95; ++unit) size /= 1000;
  return format("%.1f %cB", size, *unit);
}

std::string in_time(tulp::Duration span) {
  const double seconds = span.seconds();
  if (seconds < 0.01) return format("%.1f ms", seconds * 1e3);
  if (seconds < 1) return format("%.0f ms", seconds * 1e3);
  if (seconds < 60) return format("%.2f s", seconds);
  return format("%.0f min %.0f s", std::floor(seconds / 60), std::floor(std::fmod(seconds, 60)));
}

}  // namespace tool
