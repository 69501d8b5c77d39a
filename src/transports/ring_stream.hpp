// RingStream: a connected stream socket that an io_uring receives from and sends to.  Floor 6, transports.
//
// That is for small messages.  They have come before anybody asks for them, and go out with the loop's next wait.  What is
// larger should go to its place without a copy in between, and a peer that is slow to take what it is sent has to be waited
// for: then the socket is watched, and read and written as a SocketStream is, until the traffic is small again.
#pragma once
#include <tulp/address.hpp>
#include <tulp/event_loop.hpp>

#include "base/unique_fd.hpp"
#include "transports/byte_stream.hpp"

namespace tulp::detail {

class RingStream final : public ByteStream {
 public:
  /// As SocketStream's, for a loop that has a ring.
  RingStream(EventLoop& loop, UniqueFd socket, const Address& peer);
  ~RingStream() override;

  Result try_read(std::span<char> into) noexcept override;
  Result try_write(std::span<const iovec> views) noexcept override;
  Result push() noexcept override;
  void tell_unsent(Runnable* target) noexcept override;
  std::optional<Result> try_sendfile(int file, off_t offset, std::size_t size) noexcept override;
  std::exception_ptr error() const override;
  void arm_hang_up(Runnable& target) override;
  HangUp look_for_hang_up() noexcept override;
  bool can_write_eof() const noexcept override { return true; }
  void write_eof() noexcept override;
  std::size_t unsent_bytes() const noexcept override;
  Result try_end() noexcept override;
  void close(Ending ending) noexcept override;
  std::any get_extra_info(std::string_view key) const override;
  std::string peer() const override;

 private:
  class Socket;
  bool do_may_try(Direction direction) const noexcept override;
  void do_arm(Direction direction, Runnable& target) override;
  void do_disarm(Direction direction) noexcept override;

  Socket* socket_;  // goes when the ring has done with it
};

}  // namespace tulp::detail
