#include "transports/listener.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/wait.hpp>

#include "events/live_loops.hpp"
#include "net/socket.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {
namespace {

/// After an error that the next connection would meet as well, such as having no descriptor left.
constexpr std::chrono::seconds pause_after_error{1};

/// Connections that are accepted before those that are there have their turn, or a backlog's worth if that is less.
constexpr int most_in_a_turn = 100;

void report_unserved(EventLoop& loop, const std::string& peer) noexcept {
  loop.call_exception_handler(context_of_failure("a connection from " + peer + " could not be served", {}));
}

/// In one line: it is the client's fault, as a rule, and there may be many of them.
void report_handshake(EventLoop& loop, const std::exception& error) noexcept {
  loop.call_exception_handler({.message = error.what()});
}

/// What the task of a handshake holds until it ends.
class HandshakeOf {
 public:
  explicit HandshakeOf(std::shared_ptr<Client> client) noexcept : client_(std::move(client)) {}
  HandshakeOf(HandshakeOf&&) = default;
  ~HandshakeOf() {
    if (client_) client_->on_handshake_ended();
  }
  const std::shared_ptr<Client>& client() const noexcept { return client_; }

 private:
  std::shared_ptr<Client> client_;
};

}  // namespace

/// One listening socket.
class Listener::Socket final : private Runnable {
 public:
  Socket(Listener& listener, BoundSocket bound)
      : listener_(listener),
        address_(local_address(bound.socket.get())),
        bound_(std::move(bound)),
        watch_(bound_.socket.get(), FdWatch::Mode::once) {}
  ~Socket() { close(); }

  int fd() const noexcept { return bound_.socket.get(); }
  const Address& address() const noexcept { return address_; }
  bool is_serving() const noexcept { return is_serving_; }
  void start_serving() {
    if (is_serving_) return;
    listen_on(bound_, listener_.options_);
    listener_.loop_.add_fd(watch_);
    is_serving_ = true;
    watch_.arm(listener_.loop_, Direction::read, *this);
  }
  void close() noexcept {
    if (!bound_.socket) return;
    if (std::exchange(is_serving_, false)) {
      listener_.loop_.stop_timer(later_);
      listener_.loop_.remove_fd(watch_);
    }
    bound_.file.remove();  // while the socket is open nobody else's file can have its number
    bound_.socket.reset();
  }
  void leave_to_parent() noexcept { bound_.file.forget(); }

 private:
  /// Accepts what is waiting, but after a turn's worth lets others run, and the loop look at what else is ready: else new
  /// connections would pile up before those that are there get on.
  void run() noexcept override {
    const auto keep = listener_.shared_from_this();
    const int most = std::clamp(listener_.options_.backlog, 1, most_in_a_turn);
    for (int i = 0; i < most && bound_.socket; ++i) {
      if (!accept_one()) return;
    }
    if (bound_.socket) go_on_at(listener_.loop_.time());
  }
  Origin origin() const override { return {.what = "accept on " + address_.to_string()}; }

  /// False if there is nothing to accept for now.
  bool accept_one() noexcept {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    UniqueFd accepted(sys.accept4(fd(), address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      tune_accepted(accepted.get());
      listener_.take(std::move(accepted), Address(address, size));
      return true;
    }
    if (is_blocked(errno)) {
      wait();
      return false;
    }
    if (is_of_one_connection(errno)) return true;
    pause_after(errno);
    return false;
  }

  /// The first connection tells whether each has what the listening socket has; if so, none costs a system call for it.
  void tune_accepted(int connection) noexcept {
    if (tuning_ == Tuning::unknown)
      tuning_ = bound_.is_tuned && is_tuned(connection, listener_.options_) ? Tuning::inherited : Tuning::each;
    if (tuning_ == Tuning::each && address_.family() != AF_UNIX) tune(connection, listener_.options_);
  }

  void wait() noexcept {
    watch_.would_block(Direction::read);
    watch_.arm(listener_.loop_, Direction::read, *this);
  }

  void pause_after(int error) noexcept {
    const std::string where = "accept on " + address_.to_string();
    listener_.loop_.call_exception_handler(
        {.message = where + " pauses for a second", .exception = make_os_error(error, "accept")});
    if (!is_serving_) return;  // the handler has closed the server
    go_on_at(after(listener_.loop_.time(), pause_after_error));
  }

  void go_on_at(TimePoint when) noexcept {
    later_.set_when(when);
    listener_.loop_.start_timer(later_);
  }

  enum class Tuning : std::uint8_t { unknown, inherited, each };

  Listener& listener_;
  Address address_;
  BoundSocket bound_;
  FdWatch watch_;
  Timer later_{*this};
  bool is_serving_ = false;
  Tuning tuning_ = Tuning::unknown;
};

Listener::Listener(EventLoop& loop, const ServerOptions& options, Accept accept, Wrap wrap)
    : loop_(loop),
      options_(options),
      ssl_(server_settings(options)),
      accept_(std::move(accept)),
      wrap_(std::move(wrap)) {}

Listener::~Listener() = default;

std::shared_ptr<Listener> Listener::open(EventLoop& loop, std::vector<BoundSocket> sockets,
                                         const ServerOptions& options, Accept accept, Wrap wrap) {
  auto listener = std::make_shared<Listener>(loop, options, std::move(accept), std::move(wrap));
  for (BoundSocket& socket : sockets) {
    listener->sockets_.push_back(std::make_unique<Socket>(*listener, std::move(socket)));
    if (options.start_serving) listener->sockets_.back()->start_serving();
  }
  loop.service<OpenListeners>().add(*listener);
  listener->self_ = listener;
  return listener;
}

void Listener::start_serving() {
  if (!is_open_) throw InvalidStateError("start_serving() after close()");
  for (const auto& socket : sockets_) socket->start_serving();
}

bool Listener::is_serving() const noexcept {
  return std::any_of(sockets_.begin(), sockets_.end(), [](const auto& socket) { return socket->is_serving(); });
}

std::vector<Address> Listener::addresses() const {
  std::vector<Address> addresses;
  for (const auto& socket : sockets_) addresses.push_back(socket->address());
  return addresses;
}

std::vector<int> Listener::sockets() const {
  std::vector<int> descriptors;
  for (const auto& socket : sockets_)
    if (is_open_) descriptors.push_back(socket->fd());
  return descriptors;
}

void Listener::take(UniqueFd socket, const Address& peer) noexcept {
  try {
    auto client = std::make_shared<Client>(clients_);
    std::unique_ptr<ByteStream> bytes = make_stream(loop_, std::move(socket), peer);
    if (wrap_) bytes = wrap_(std::move(bytes));
    if (ssl_)
      shake_hands_with(std::move(bytes), std::move(client));
    else
      hand_over(std::move(bytes), client);
  } catch (const ThrowWatch&) {
  } catch (...) {
    report_unserved(loop_, peer.to_string());
  }
}

void Listener::hand_over(std::unique_ptr<ByteStream> bytes, const std::shared_ptr<Client>& client) {
  auto transport = accept_(std::move(bytes), client);
  client->on_connection_made(*transport);
  transport->on_gone([client] { client->on_connection_lost(); });
}

/// In a task of its own, so that one that is slow keeps nobody else waiting.
void Listener::shake_hands_with(std::unique_ptr<ByteStream> bytes, std::shared_ptr<Client> client) {
  const std::string peer = bytes->peer();
  auto work = [self = shared_from_this(), handshake = HandshakeOf(client), peer, bytes = std::move(bytes)]() mutable {
    try {
      bytes = secure(std::move(bytes), self->ssl_);
    } catch (const ConnectionAbortedError& error) {
      return report_handshake(self->loop_, error);
    } catch (const ConnectionError&) {  // it has gone
      return;
    } catch (const std::system_error& error) {
      return report_handshake(self->loop_, error);
    }
    if (handshake.client()->was_ended()) return;
    try {
      self->hand_over(std::move(bytes), handshake.client());
    } catch (const ThrowWatch&) {
    } catch (...) {
      report_unserved(self->loop_, peer);
    }
  };
  client->on_handshake_started(start_task(loop_, {.name = "TLS handshake with " + peer}, nullptr, std::move(work)));
}

void Listener::close() noexcept {
  if (!is_open_) return;
  is_open_ = false;
  for (const auto& socket : sockets_) socket->close();
  ListHook<Listener>::unlink();
  waiting_for_close_.wake_all();
  // The sockets' entries may still stand in the ready queue: the loop's ownership ends behind them.
  auto self = std::move(self_);
  if (!loop_.belongs_to_parent()) loop_.call_soon([self = std::move(self)] {});
}

void Listener::leave_to_parent() noexcept {
  for (const auto& socket : sockets_) socket->leave_to_parent();
}

void Listener::wait_closed() {
  require_task("Server::wait_closed");
  if (is_open_) waiting_for_close_.wait("the closing of the server");
  clients_->wait_for_connections();
}

void Listener::serve_forever() {
  require_task("Server::serve_forever");
  if (!is_open_) return;
  start_serving();
  try {
    waiting_for_close_.wait("the closing of the server");
  } catch (const CancelledError& cancelled) {
    close();
    clients_->cancel(cancelled.message());
    throw;
  }
}

std::size_t Listener::shut_down(Duration grace) {
  require_task("Server::shutdown");
  close();
  try {
    with_timeout(grace, [this] { clients_->wait_for_others(); });
    return 0;
  } catch (const TimeoutError&) {  // the grace is over
  }
  const std::size_t count = clients_->cut_off_others();
  clients_->wait_for_others();
  return count;
}

void OpenListeners::shut_down(Shutdown) {
  open_.for_each([](Listener& listener) { listener.close(); });
}

void OpenListeners::on_fork() noexcept {
  open_.for_each([](Listener& listener) { listener.leave_to_parent(); });
}

}  // namespace tulp::detail

namespace tulp {

void Hosts::check() const {
  if (names_.empty()) throw std::invalid_argument("a list of hosts to listen on is empty");
}

void Server::start_serving() { listener_->start_serving(); }
void Server::close() { listener_->close(); }
bool Server::is_serving() const noexcept { return listener_->is_serving(); }
std::vector<Address> Server::addresses() const { return listener_->addresses(); }
std::vector<int> Server::sockets() const { return listener_->sockets(); }
void Server::close_clients() { listener_->clients().close(); }
void Server::abort_clients() { listener_->clients().abort(); }
void Server::wait_closed() { listener_->wait_closed(); }
void Server::serve_forever() { listener_->serve_forever(); }
std::size_t Server::shutdown(Duration grace) { return listener_->shut_down(grace); }

}  // namespace tulp
