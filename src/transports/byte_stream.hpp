// ByteStream: the pull face of a transport.  Floor 6, transports.
//
// Try, park, retry: whoever wants bytes tries, and if that would block arms a Runnable and tries again when it has been
// queued.  Nothing is read ahead.
#pragma once
#include <sys/types.h>
#include <sys/uio.h>
#include <tulp/loop_core.hpp>

#include <any>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tulp::detail {

class ByteStream {
 public:
  enum class Status : std::uint8_t { done, would_block, end, failed };
  struct Result {
    Status status;
    std::size_t bytes = 0;  // with done
  };

  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  virtual ~ByteStream() = default;

  /// `into` is not empty.
  virtual Result try_read(std::span<char> into) noexcept = 0;
  /// The views are not empty, and no more than one system call takes (IOV_MAX).
  virtual Result try_write(std::span<const iovec> views) noexcept = 0;
  /// As try_write(), of what a file has at an offset, at most so many bytes: `end` if there is nothing.  No Result, but
  /// errno, if that cannot be done, so that it has to be read and written.
  virtual std::optional<Result> try_sendfile(int, off_t, std::size_t) noexcept {
    errno = EOPNOTSUPP;
    return std::nullopt;
  }
  /// Where what is taken is sent with the loop's next wait: gives it to the kernel now.  `would_block`: some of it has to
  /// wait until the direction `write` is ready.
  virtual Result push() noexcept { return {Status::done}; }
  /// The same: queues `target`, unless it is null, when it turns out that push() would not be `done`.
  virtual void tell_unsent(Runnable*) noexcept {}
  /// After failed: what it was.
  virtual std::exception_ptr error() const = 0;
  /// Whether a try may be more than a wasted system call.
  bool may_try(Direction direction) const noexcept {
    return watch_ != nullptr ? watch_->may_try(direction) : do_may_try(direction);
  }
  /// Queues `target` once when the direction is ready.
  void arm(Direction direction, Runnable& target) {
    watch_ != nullptr ? watch_->arm(*loop_, direction, target) : do_arm(direction, target);
  }
  void disarm(Direction direction) noexcept {
    watch_ != nullptr ? watch_->disarm(*loop_, direction) : do_disarm(direction);
  }

  enum class HangUp : std::uint8_t { none, clean, error };
  /// Whether both directions have ended; error() then says why, EPIPE if nothing went wrong.  A terminal never says so: the
  /// next one may come to its other end.
  virtual HangUp look_for_hang_up() noexcept { return HangUp::none; }
  /// After the end of reading: queues `target` once when it may be worth looking, as far as that is heard of.
  virtual void arm_hang_up(Runnable&) {}

  /// A pipe goes one way.  What cannot be read ends when nobody takes what is written.
  virtual bool can_read() const noexcept { return true; }
  virtual bool can_write() const noexcept { return true; }
  virtual bool can_write_eof() const noexcept = 0;
  virtual void write_eof() noexcept = 0;
  /// Whether writing may go on when the peer has ended.
  virtual bool can_outlive_peer() const noexcept { return true; }
  /// What has been taken, and not yet been given to the kernel; whoever took it sees to that.
  virtual std::size_t unsent_bytes() const noexcept { return 0; }
  /// When all has been written, and nothing will be read: takes leave of the peer, where they have words for that.
  /// `would_block`: to be called again when the direction `write` is ready.
  virtual Result try_end() noexcept { return {Status::done}; }
  enum class Ending : std::uint8_t {
    broken,   // what was written last need not arrive
    orderly,  // all that was written shall
    slow,     // the same, and the peer was slow to take it
    reset,    // nothing more shall, and the peer be told so
  };
  /// Gives the descriptor back; nothing is called after that.
  virtual void close(Ending ending) noexcept = 0;

  virtual std::any get_extra_info(std::string_view key) const = 0;
  /// The peer, for messages: "127.0.0.1:80".
  virtual std::string peer() const = 0;

 protected:
  /// Ready when its descriptor is, which `watch` watches: spares the virtual calls.
  ByteStream(EventLoop& loop, FdWatch& watch) noexcept : loop_(&loop), watch_(&watch) {}
  /// Ready when `below` is.
  explicit ByteStream(const ByteStream* below) noexcept : loop_(below->loop_), watch_(below->watch_) {}
  /// Of one whose descriptor is watched.
  EventLoop& loop() const noexcept { return *loop_; }
  /// Knows by itself: has the three functions below.
  ByteStream() = default;

 private:
  virtual bool do_may_try(Direction) const noexcept { return true; }
  virtual void do_arm(Direction, Runnable&) {}
  virtual void do_disarm(Direction) noexcept {}

  EventLoop* loop_ = nullptr;
  FdWatch* watch_ = nullptr;
};

}  // namespace tulp::detail
