// LingeringSockets: connections that have ended here, and whose peers may still be sending.  Floor 6, transports.
//
// docs/decisions/0009-lingering-end.md says why.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/event_loop.hpp>

#include <chrono>
#include <cstddef>
#include <span>

#include "base/unique_fd.hpp"

namespace tulp::detail {

class LingeringSockets : public LoopService {
 public:
  static constexpr std::chrono::seconds longest{2};
  /// More than two kernels hold by default: whoever still sends then has not looked for the end.
  static constexpr std::size_t most_bytes = 16 * 1024 * 1024;

  explicit LingeringSockets(EventLoop& loop);
  ~LingeringSockets() override;

  /// Closes a TCP socket, to which everything has been written and which nobody watches, so that the peer can read it: at
  /// once, if the peer has sent nothing that would be thrown away, and is not slow to read.
  void close(UniqueFd socket, bool is_peer_slow) noexcept;
  /// From now on nothing is waited for; what has come is still thrown away before the end.
  void shut_down(Shutdown) override;

 private:
  class Socket;
  EventLoop& loop_;
  std::span<char> memory_;  // to throw away
  IntrusiveList<Socket> sockets_;
  bool may_wait_ = true;
};

}  // namespace tulp::detail
