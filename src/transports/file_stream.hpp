// FileStream: what is always ready: a file, /dev/null.  Floor 6, transports.
#pragma once
#include <tulp/event_loop.hpp>

#include "base/unique_fd.hpp"
#include "transports/pipe_stream.hpp"

namespace tulp::detail {

/// No selector watches files, and a read of one does not wait for anybody else: it is done at once.
class FileStream final : public ByteStream {
 public:
  FileStream(EventLoop& loop, UniqueFd file, PipeDirection direction) noexcept
      : loop_(loop), file_(std::move(file)), direction_(direction) {}

  Result try_read(std::span<char> into) noexcept override;
  Result try_write(std::span<const iovec> views) noexcept override;
  std::exception_ptr error() const override;
  bool can_read() const noexcept override { return direction_ != PipeDirection::write; }
  bool can_write() const noexcept override { return direction_ != PipeDirection::read; }
  bool can_write_eof() const noexcept override { return direction_ == PipeDirection::write; }
  void write_eof() noexcept override {}
  void close(Ending) noexcept override { file_.reset(); }
  std::any get_extra_info(std::string_view key) const override;
  std::string peer() const override { return "file " + std::to_string(file_.get()); }

 private:
  bool do_may_try(Direction direction) const noexcept override { return direction == Direction::write || can_read(); }
  void do_arm(Direction direction, Runnable& target) override;

  EventLoop& loop_;
  UniqueFd file_;
  PipeDirection direction_;
  int error_number_ = 0;
  const char* failed_operation_ = "";
};

}  // namespace tulp::detail
