// Listener: accepts connections.  Floor 6, transports.
#pragma once
#include <tulp/detail/wait_queue.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/server.hpp>

#include <functional>
#include <memory>
#include <vector>

#include "base/unique_fd.hpp"
#include "transports/stream_transport.hpp"

namespace tulp::detail {

class Listener final : public std::enable_shared_from_this<Listener>, public ListHook<Listener> {
 public:
  /// Makes the transport of an accepted connection.  What it throws is reported, and the connection dropped.
  using Accept = UniqueFunction<std::shared_ptr<StreamTransport>(std::unique_ptr<ByteStream>)>;

  /// Throws: OsError - a socket cannot be watched.
  static std::shared_ptr<Listener> open(EventLoop& loop, std::vector<UniqueFd> sockets, int backlog, Accept accept);
  Listener(EventLoop& loop, int backlog, Accept accept);
  ~Listener();

  void close() noexcept;
  bool is_open() const noexcept { return is_open_; }
  const std::vector<Address>& addresses() const noexcept { return addresses_; }
  void wait_closed();
  void serve_forever();

 private:
  class Socket;
  void on_connection_gone() noexcept;
  void take(UniqueFd socket, const Address& peer) noexcept;

  EventLoop& loop_;
  int backlog_;
  Accept accept_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::shared_ptr<Listener> self_;  // the loop's ownership, until close()
  std::size_t connection_count_ = 0;
  std::vector<Address> addresses_;
  WaitQueue waiting_for_close_;
  WaitQueue waiting_for_end_;
  bool is_open_ = true;
};

/// The listeners of a loop.
class OpenListeners : public LoopService {
 public:
  explicit OpenListeners(EventLoop&) {}
  void add(Listener& listener) noexcept { open_.push_back(listener); }
  void shut_down(Shutdown phase) override;
  bool is_quiet() const override { return open_.empty(); }

 private:
  IntrusiveList<Listener> open_;
};

}  // namespace tulp::detail
