// What a person sees: one line on stderr that changes, colours where they are wanted, and sizes and times in words.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/event_loop.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace tool {

/// A line at the bottom of the terminal behind a descriptor.  Without a terminal, or on a dumb one, nothing is shown.
class StatusLine {
 public:
  explicit StatusLine(int fd);
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  ~StatusLine() { clear(); }

  bool is_visible() const noexcept { return is_terminal_; }
  /// Cut off where the terminal ends.
  void show(std::string_view text);
  void clear();

 private:
  const int fd_;
  const bool is_terminal_;
  bool is_shown_ = false;
};

/// Calls a function again and again while it lives.
class Ticker {
 public:
  Ticker(tulp::Duration interval, std::function<void()> tick) : interval_(interval), tick_(std::move(tick)) { start(); }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker() { timer_.cancel(); }

 private:
  void start() {
    timer_ = tulp::get_event_loop().call_later(interval_, [this] {
      tick_();
      start();
    });
  }

  const tulp::Duration interval_;
  const std::function<void()> tick_;
  tulp::TimerHandle timer_;
};

/// Whether `fd` is a terminal, and not a dumb one.
bool can_move_cursor(int fd);
/// Whether text on `fd` may be coloured: it is a terminal, and neither NO_COLOR nor TERM=dumb says otherwise.
bool wants_colour(int fd);
/// Whether the locale writes more than ASCII: by LC_ALL, LC_CTYPE or LANG, of which the first that is set decides.
bool wants_unicode();
/// How wide the terminal behind `fd` is; 80 if it is none.
std::size_t width_of(int fd);
/// How many columns the text takes, in which each character, be it as many bytes as it likes, takes one.
std::size_t columns_of(std::string_view text);

/// Bold, green and red for text on a descriptor, if it may be coloured.
class Colours {
 public:
  explicit Colours(int fd) : are_wanted_(wants_colour(fd)) {}
  std::string bold(std::string_view text) const { return wrap("1", text); }
  std::string good(std::string_view text) const { return wrap("32", text); }
  std::string bad(std::string_view text) const { return wrap("31", text); }

 private:
  std::string wrap(std::string_view code, std::string_view text) const;
  const bool are_wanted_;
};

/// To a place where a failure to write has nobody to be told to.
void write_if_possible(int fd, std::string_view text);
/// "WHO: WHAT" as one line on stderr, whatever bytes are in it.
void complain(std::string_view who, std::string_view what);
/// What the running loop reports from now on is one line of complain().  A client whose TLS handshake has failed is told to
/// `on_bad_client()`, if there is one.
void complain_for_loop(std::string who, std::function<void(std::string_view what)> on_bad_client = {});
/// Control characters become \xNN, so that nobody writes to our terminal but ourselves.
std::string printable(std::string_view text);

/// "817 B", "12.3 kB", "1.0 MB".
std::string in_bytes(std::uint64_t count);
/// "0.4 ms", "87 ms", "1.52 s", "2 min 5 s".
std::string in_time(tulp::Duration span);

}  // namespace tool
