// DatagramBatch, SendBatch: several datagrams for one system call.  Floor 6, transports.
#pragma once
#include <sys/socket.h>
#include <tulp/address.hpp>
#include <tulp/event_loop.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace tulp::detail {

/// Room for the datagrams that one recvmmsg(2) brings.  A loop has one, which all its sockets use: whoever receives takes
/// out what has come before anybody else runs.
class DatagramBatch : public LoopService {
 public:
  static constexpr std::size_t capacity = 64;
  /// No UDP datagram is longer.
  static constexpr std::size_t slot_bytes = 64 * 1024;
  static constexpr std::size_t slot_count = 16;

  struct Datagram {
    std::string_view data;  // in the memory that was given
    Address from;
    std::size_t size_bytes;  // more than data holds if that was too small
    bool is_truncated() const noexcept { return size_bytes > data.size(); }
  };

  explicit DatagramBatch(EventLoop&);

  void clear() noexcept { size_ = 0; }
  std::size_t size() const noexcept { return size_; }
  /// Room for the next datagram, in memory of the caller's.
  void add(std::span<char> memory) noexcept;
  /// The same for so many, in the batch's own memory, until it has no more.
  void add_slots(std::size_t count) noexcept;
  /// The whole memory of the batch, for one datagram: those of Unix sockets may be long.
  void add_long_slot() noexcept { add({slots_.get(), slot_count * slot_bytes}); }

  std::span<mmsghdr> headers() noexcept { return {headers_.data(), size_}; }
  /// The i-th that was received.
  Datagram operator[](std::size_t i) const noexcept;

 private:
  std::size_t size_ = 0;
  std::array<mmsghdr, capacity> headers_{};
  std::array<iovec, capacity> views_;
  std::array<sockaddr_storage, capacity> addresses_;
  std::unique_ptr<char[]> slots_;
};

/// Datagrams to be sent with one sendmmsg(2).  Lives on the stack, and keeps nothing alive.
class SendBatch {
 public:
  static constexpr std::size_t capacity = 64;

  /// At most `capacity` times.  An empty address is the peer that the socket is connected to.
  void add(std::string_view data, const Address& to) noexcept;
  std::span<mmsghdr> headers() noexcept { return {headers_.data(), size_}; }

 private:
  std::size_t size_ = 0;
  std::array<mmsghdr, capacity> headers_;
  std::array<iovec, capacity> views_;
};

}  // namespace tulp::detail
