// PipeStream: a pipe, a FIFO, a terminal or another character device.  Floor 6, transports.
#pragma once
#include <tulp/event_loop.hpp>

#include "base/unique_fd.hpp"
#include "transports/byte_stream.hpp"

namespace tulp::detail {

enum class PipeDirection : std::uint8_t { read, write, both };
/// Whoever has made it may have asked for packets (O_DIRECT), which only his end tells.
enum class PipeMaker : std::uint8_t { tulp, unknown };

class PipeStream final : public ByteStream {
 public:
  /// Begins to watch `pipe`, which is non-blocking.
  /// Throws: OsError - it cannot be watched.
  PipeStream(EventLoop& loop, UniqueFd pipe, PipeDirection direction, PipeMaker maker);
  ~PipeStream() override { close(Ending::broken); }

  Result try_read(std::span<char> into) noexcept override;
  Result try_write(std::span<const iovec> views) noexcept override;
  std::exception_ptr error() const override;
  bool can_read() const noexcept override { return direction_ != PipeDirection::write; }
  bool can_write() const noexcept override { return direction_ != PipeDirection::read; }
  bool can_write_eof() const noexcept override { return direction_ == PipeDirection::write; }
  void write_eof() noexcept override {}
  void close(Ending ending) noexcept override;
  std::any get_extra_info(std::string_view key) const override;
  std::string peer() const override { return "pipe " + std::to_string(pipe_.get()); }

 private:
  Result fail(const char* operation, Direction direction) noexcept;
  Result look_for_reader() noexcept;

  EventLoop& loop_;
  UniqueFd pipe_;
  FdWatch watch_;
  PipeDirection direction_;
  bool is_fifo_;           // there a short read means drained; a terminal gives a line at a time, and ends with EIO
  bool may_have_packets_;  // unless each ends a read
  int error_number_ = 0;
  const char* failed_operation_ = "";
};

/// A ByteStream over `fd`, which is made non-blocking.  What cannot be watched and never blocks for long (a file,
/// /dev/null) is read and written at once.
/// Throws: OsError.
std::unique_ptr<ByteStream> open_pipe(EventLoop& loop, UniqueFd fd, PipeDirection direction,
                                      PipeMaker maker = PipeMaker::unknown);
/// A descriptor for what `fd`, which other processes share, stands for: its flags are its own where that can be.
/// Throws: OsError - `fd` is not open.
UniqueFd reopen(int fd, PipeDirection direction);
/// Throws: std::invalid_argument - `fd` is neither a pipe nor a socket nor a character device.
void check_pipe(int fd);

}  // namespace tulp::detail
