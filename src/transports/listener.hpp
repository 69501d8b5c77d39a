// Listener: accepts connections.  Floor 6, transports.
#pragma once
#include <tulp/detail/wait_queue.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/server.hpp>
#include <tulp/task.hpp>

#include <functional>
#include <memory>
#include <vector>

#include "net/listen.hpp"
#include "ssl/handshake.hpp"
#include "transports/clients.hpp"
#include "transports/stream_transport.hpp"

namespace tulp::detail {

class Listener final : public std::enable_shared_from_this<Listener>, public ListHook<Listener> {
 public:
  /// Makes the transport of an accepted connection.  What it throws is reported, and the connection dropped.
  using Accept =
      UniqueFunction<std::shared_ptr<StreamTransport>(std::unique_ptr<ByteStream>, const std::shared_ptr<Client>&)>;

  /// Wraps an accepted socket, below TLS.
  using Wrap = UniqueFunction<std::unique_ptr<ByteStream>(std::unique_ptr<ByteStream>)>;

  /// Accepts on those sockets that listen.  Throws: OsError - a socket cannot be watched; std::invalid_argument - an option
  /// of TLS makes no sense.
  static std::shared_ptr<Listener> open(EventLoop& loop, std::vector<BoundSocket> sockets, const ServerOptions& options,
                                        Accept accept, Wrap wrap = nullptr);
  Listener(EventLoop& loop, const ServerOptions& options, Accept accept, Wrap wrap);
  ~Listener();

  void start_serving();
  void close() noexcept;
  /// In a child process: the parent serves on.
  void leave_to_parent() noexcept;
  bool is_serving() const noexcept;
  std::vector<Address> addresses() const;
  std::vector<int> sockets() const;
  Clients& clients() const noexcept { return *clients_; }
  void wait_closed();
  void serve_forever();
  std::size_t shut_down(Duration grace);

 private:
  class Socket;
  void take(UniqueFd socket, const Address& peer) noexcept;
  void shake_hands_with(std::unique_ptr<ByteStream> bytes, std::shared_ptr<Client> client);
  void hand_over(std::unique_ptr<ByteStream> bytes, const std::shared_ptr<Client>& client);

  EventLoop& loop_;
  ServerOptions options_;
  std::optional<SslSettings> ssl_;
  Accept accept_;
  Wrap wrap_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::shared_ptr<Clients> clients_ = std::make_shared<Clients>();
  std::shared_ptr<Listener> self_;  // the loop's ownership, until close()
  WaitQueue waiting_for_close_;
  bool is_open_ = true;
};

/// The listeners of a loop.
class OpenListeners : public LoopService {
 public:
  explicit OpenListeners(EventLoop&) {}
  void add(Listener& listener) noexcept { open_.push_back(listener); }
  void shut_down(Shutdown phase) override;
  bool is_quiet() const override { return open_.empty(); }
  void on_fork() noexcept override;

 private:
  IntrusiveList<Listener> open_;
};

}  // namespace tulp::detail
