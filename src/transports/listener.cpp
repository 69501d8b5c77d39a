#include "transports/listener.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <tulp/error.hpp>

#include "net/socket.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {
namespace {

/// After an error that the next connection would meet as well, such as having no descriptor left.
constexpr std::chrono::seconds pause_after_error{1};

/// Whether only the connection that was about to be accepted is concerned: accept(2) passes on what befell it.
bool is_of_one_connection(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT: return true;
    default: return false;
  }
}

}  // namespace

/// One listening socket.
class Listener::Socket final : private Runnable {
 public:
  Socket(Listener& listener, UniqueFd socket)
      : listener_(listener), socket_(std::move(socket)), watch_(socket_.get(), FdWatch::Mode::once) {
    listener_.loop_.add_fd(watch_);
    watch_.arm(listener_.loop_, Direction::read, *this);
  }
  ~Socket() {
    resume_.cancel();
    if (socket_) listener_.loop_.remove_fd(watch_);
  }

  Address address() const { return local_address(socket_.get()); }
  void close() noexcept {
    resume_.cancel();
    listener_.loop_.remove_fd(watch_);
    socket_.reset();
  }

 private:
  /// Accepts what is waiting, but lets others run after a backlog's worth.
  void run() noexcept override {
    const auto keep = listener_.shared_from_this();
    for (int i = 0; i < listener_.backlog_ && socket_; ++i) {
      if (!accept_one()) return;
    }
    if (socket_) listener_.loop_.post(*this);
  }

  /// False if there is nothing to accept for now.
  bool accept_one() noexcept {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    UniqueFd accepted(sys.accept4(socket_.get(), address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      listener_.take(std::move(accepted), Address(address, size));
      return true;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait();
      return false;
    }
    if (is_of_one_connection(errno)) return true;
    pause_after(errno);
    return false;
  }

  void wait() noexcept {
    watch_.would_block(Direction::read);
    watch_.arm(listener_.loop_, Direction::read, *this);
  }

  void pause_after(int error) noexcept {
    const std::string where = "accept on " + address().to_string();
    listener_.loop_.call_exception_handler(
        {.message = where + " pauses for a second", .exception = make_os_error(error, where)});
    resume_ = listener_.loop_.call_later(pause_after_error, [this] { listener_.loop_.post(*this); });
  }

  Listener& listener_;
  UniqueFd socket_;
  FdWatch watch_;
  TimerHandle resume_;
};

Listener::Listener(EventLoop& loop, int backlog, Accept accept)
    : loop_(loop), backlog_(std::max(backlog, 1)), accept_(std::move(accept)) {}

Listener::~Listener() = default;

std::shared_ptr<Listener> Listener::open(EventLoop& loop, std::vector<UniqueFd> sockets, int backlog, Accept accept) {
  auto listener = std::make_shared<Listener>(loop, backlog, std::move(accept));
  for (UniqueFd& socket : sockets) {
    listener->addresses_.push_back(local_address(socket.get()));
    listener->sockets_.push_back(std::make_unique<Socket>(*listener, std::move(socket)));
  }
  loop.service<OpenListeners>().add(*listener);
  listener->self_ = listener;
  return listener;
}

void Listener::take(UniqueFd socket, const Address& peer) noexcept {
  try {
    set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    auto transport = accept_(std::make_unique<SocketStream>(loop_, std::move(socket), peer));
    ++connection_count_;
    transport->on_gone([self = shared_from_this()] { self->on_connection_gone(); });
  } catch (...) {
    loop_.call_exception_handler({.message = "a connection from " + peer.to_string() + " could not be served",
                                  .exception = std::current_exception()});
  }
}

void Listener::on_connection_gone() noexcept {
  if (--connection_count_ == 0 && !is_open_) waiting_for_end_.wake_all();
}

void Listener::close() noexcept {
  if (!is_open_) return;
  is_open_ = false;
  for (const auto& socket : sockets_) socket->close();
  ListHook<Listener>::unlink();
  waiting_for_close_.wake_all();
  if (connection_count_ == 0) waiting_for_end_.wake_all();
  // The sockets' entries may still stand in the ready queue: the loop's ownership ends behind them.
  loop_.call_soon([self = std::move(self_)] {});
}

void Listener::serve_forever() {
  require_task("serve_forever");
  try {
    if (is_open_) waiting_for_close_.wait();
  } catch (...) {
    close();
    throw;
  }
}

void Listener::wait_closed() {
  require_task("wait_closed");
  while (is_open_ || connection_count_ > 0) waiting_for_end_.wait();
}

void OpenListeners::shut_down(Shutdown) {
  open_.for_each([](Listener& listener) { listener.close(); });
}

}  // namespace tulp::detail

namespace tulp {

void Server::close() { listener_->close(); }
bool Server::is_serving() const noexcept { return listener_->is_open(); }
std::vector<Address> Server::addresses() const { return listener_->addresses(); }
void Server::wait_closed() { listener_->wait_closed(); }

void Server::serve_forever() { listener_->serve_forever(); }

}  // namespace tulp
