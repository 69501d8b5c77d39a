// SocketStream: a connected stream socket.  Floor 6, transports.
#pragma once
#include <tulp/address.hpp>
#include <tulp/detail/block_pool.hpp>
#include <tulp/event_loop.hpp>

#include <memory>

#include "base/unique_fd.hpp"
#include "transports/byte_stream.hpp"

namespace tulp::detail {

class alignas(64) SocketStream final : public ByteStream {
 public:
  /// Begins to watch `socket`, which is non-blocking.  `peer` is whom it is connected to.
  /// Throws: OsError - it cannot be watched.
  SocketStream(EventLoop& loop, UniqueFd socket, const Address& peer);
  ~SocketStream() override { close(Ending::broken); }
  static void* operator new(std::size_t) { return allocate_for<SocketStream>(); }
  static void operator delete(void* memory) noexcept { free_for<SocketStream>(memory); }

  Result try_read(std::span<char> into) noexcept override;
  Result try_write(std::span<const iovec> views) noexcept override;
  std::optional<Result> try_sendfile(int file, off_t offset, std::size_t size) noexcept override;
  std::exception_ptr error() const override;
  void arm_hang_up(Runnable& target) override { watch_.arm_hang_up(loop(), target); }
  HangUp look_for_hang_up() noexcept override;
  bool can_write_eof() const noexcept override { return true; }
  void write_eof() noexcept override;
  void close(Ending ending) noexcept override;
  std::any get_extra_info(std::string_view key) const override;
  std::string peer() const override { return peer_.to_string(); }

  int fd() const noexcept { return socket_.get(); }
  /// For one that is being connected, before anybody waits for it: whoever reads first need not ask in vain.
  void expect_to_be_spoken_to() noexcept;

 private:
  Result try_read_unix(std::span<char> into) noexcept;
  Result end() noexcept;
  Result fail(const char* operation, Direction direction) noexcept;
  bool may_have_unread() const noexcept;

  // One line of the cache, with what is inherited.
  FdWatch watch_;
  UniqueFd socket_;
  bool is_tcp_;  // where a short read or write says that the next one would block
  bool is_unix_;
  bool was_read_ = false;
  bool has_peer_ended_ = false;

  Address peer_;
  int error_number_ = 0;
  const char* failed_operation_ = "";
};

/// What goes on with a connected socket in `loop`: a RingStream if that has a ring, else a SocketStream.
/// Throws: OsError - it cannot be watched.
std::unique_ptr<ByteStream> make_stream(EventLoop& loop, UniqueFd socket, const Address& peer);

}  // namespace tulp::detail
