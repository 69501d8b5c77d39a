// Connecting: a stream socket on its way to a peer.  Floor 6, net.
#pragma once
#include <tulp/address.hpp>
#include <tulp/event_loop.hpp>

#include <memory>
#include <optional>

#include "base/unique_fd.hpp"
#include "transports/byte_stream.hpp"

namespace tulp::detail {

class Connecting {
 public:
  /// Gives up, unless the stream has been taken.
  virtual ~Connecting() = default;

  /// Once, when there may be an outcome, `target` runs.
  virtual void arm(Runnable& target) = 0;
  virtual void disarm() noexcept = 0;
  /// 0 if the connection stands, else the error that it met; none while it is under way.
  virtual std::optional<int> outcome() noexcept = 0;
  virtual int fd() const noexcept = 0;
  /// What goes on with a connection that stands.  Throws: OsError - it cannot be watched.
  virtual std::unique_ptr<ByteStream> take_stream() = 0;
};

/// Begins to connect `socket`, which is non-blocking: by the loop's ring if it has one.
/// Throws: OsError - connecting fails at once, or the socket cannot be watched.
std::unique_ptr<Connecting> make_connecting(EventLoop& loop, UniqueFd socket, const Address& address);
/// For a loop that has a ring.
std::unique_ptr<Connecting> make_ring_connecting(EventLoop& loop, UniqueFd socket, const Address& address);

}  // namespace tulp::detail
