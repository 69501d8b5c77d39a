// Clients: the connections that a server has accepted.  Floor 6, transports.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/task.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "transports/stream_transport.hpp"

namespace tulp::detail {

class Client;

class Clients {
 public:
  void close();
  void abort();
  /// Cancels the handlers, and closes the connections that have none.
  void cancel(const std::string& reason);
  /// As cancel(), for all but the one that the current task handles; then does not wait for peers.  How many those were.
  std::size_t cut_off_others();

  /// Parks: until every connection is gone.
  void wait_for_connections();
  /// Parks: until nobody is left, connections and handlers, but the one that the current task handles.
  void wait_for_others();

 private:
  friend class Client;
  std::vector<std::shared_ptr<Client>> all();

  IntrusiveList<Client> clients_;
  std::size_t count_ = 0;
  std::size_t connection_count_ = 0;
  WaitQueue changed_;
};

/// Lives until the connection is gone and its handler, if it has one, has ended.
class Client : public std::enable_shared_from_this<Client>, public ListHook<Client> {
 public:
  explicit Client(std::shared_ptr<Clients> clients) noexcept;
  ~Client();

  /// A task that comes before the connection, and counts as one until it ends.
  void on_handshake_started(const TaskHandle& handshake);
  void on_handshake_ended() noexcept;
  void on_connection_made(StreamTransport& transport) noexcept;
  void on_connection_lost() noexcept;
  void on_handler_started(const TaskHandle& handler) { handler_ = handler; }
  void on_handler_ended() noexcept;

  /// Whether the current task is its handler.
  bool is_mine() const;
  /// Whether the server has ended the connection, so that what its handler meets is no news.
  bool was_ended() const noexcept { return was_ended_; }
  void close();
  void abort();
  void cancel(const std::string& reason);
  void cut_off();

  /// What a handler's task holds until it ends.
  class Handling {
   public:
    explicit Handling(std::shared_ptr<Client> client) noexcept : client_(std::move(client)) {}
    Handling(Handling&&) = default;
    ~Handling() {
      if (client_) client_->on_handler_ended();
    }
    const Client& client() const noexcept { return *client_; }

   private:
    std::shared_ptr<Client> client_;
  };

 private:
  void cut_off_transport();

  std::shared_ptr<Clients> clients_;
  StreamTransport* transport_ = nullptr;  // until connection_lost has run
  TaskHandle handshake_;                  // until it has ended
  TaskHandle handler_;                    // the same
  bool was_ended_ = false;
  bool is_cut_off_ = false;
};

}  // namespace tulp::detail
