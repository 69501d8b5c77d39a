#include "transports/lingering.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <utility>

#include "transports/member_event.hpp"
#include "transports/open_transports.hpp"

namespace tulp::detail {

/// Deletes itself at its end, or when its entries have left the ready queue after that.
class LingeringSockets::Socket final : public ListHook<Socket> {
 public:
  Socket(LingeringSockets& all, UniqueFd socket) : all_(all), socket_(std::move(socket)) {
    all_.sockets_.push_back(*this);
  }

  enum class Found : std::uint8_t { nothing, something, end };
  /// Throws away what has come, but lets others run after some of it.
  Found discard() noexcept {
    constexpr int reads_per_turn = 4;
    Found found = Found::nothing;
    is_drained_ = false;
    for (int i = 0; i < reads_per_turn; ++i) {
      const ssize_t got =
          retry_on_eintr([&] { return sys.recv(socket_.get(), all_.memory_.data(), all_.memory_.size(), 0); });
      if (got < 0 && is_blocked(errno)) {
        is_drained_ = true;
        return found;
      }
      if (got <= 0) return Found::end;
      found = Found::something;
      discarded_bytes_ += static_cast<std::size_t>(got);
      if (discarded_bytes_ >= most_bytes) return Found::end;
    }
    return found;
  }

  /// Throws: OsError - the socket cannot be watched.
  void wait() {
    sys.shutdown(socket_.get(), SHUT_WR);
    all_.loop_.add_fd(watch_);
    is_watched_ = true;
    limit_.set_when(after(all_.loop_.time(), longest));
    all_.loop_.start_timer(limit_);
    go_on();
  }

  void end() noexcept {
    if (std::exchange(is_watched_, false)) {
      watch_.is_closing = true;
      all_.loop_.remove_fd(watch_);
      all_.loop_.stop_timer(limit_);
    }
    socket_.reset();
    unlink();
    if (!readable_.is_queued() && !late_.is_queued()) delete this;
  }

 private:
  using Event = MemberEvent<Socket>;

  void on_readable() {
    if (!socket_ || discard() == Found::end) return end();
    go_on();
  }

  void go_on() {
    if (!is_drained_) return all_.loop_.post(readable_);
    watch_.would_block(Direction::read);
    watch_.arm(all_.loop_, Direction::read, readable_);
  }

  LingeringSockets& all_;
  UniqueFd socket_;
  FdWatch watch_{socket_.get(), FdWatch::Mode::once};
  Event readable_{*this, &Socket::on_readable, Event::AtClose::call};
  Event late_{*this, &Socket::end, Event::AtClose::call};
  Timer limit_{late_};
  std::size_t discarded_bytes_ = 0;
  bool is_watched_ = false;
  bool is_drained_ = false;
};

LingeringSockets::LingeringSockets(EventLoop& loop)
    : loop_(loop), memory_(loop.service<OpenTransports>().read_buffer()) {}

LingeringSockets::~LingeringSockets() {
  while (!sockets_.empty()) sockets_.front().end();
}

void LingeringSockets::close(UniqueFd socket, bool is_peer_slow) noexcept {
  try {
    auto& lingering = *std::make_unique<Socket>(*this, std::move(socket)).release();
    const auto found = lingering.discard();
    const bool is_read = found == Socket::Found::nothing && !is_peer_slow;
    if (found == Socket::Found::end || is_read || !may_wait_) return lingering.end();
    try {
      lingering.wait();
    } catch (const std::exception&) {
      lingering.end();
    }
  } catch (const std::bad_alloc&) {  // then it is closed as it is
  }
}

void LingeringSockets::shut_down(Shutdown) {
  may_wait_ = false;
  while (!sockets_.empty()) {
    sockets_.front().discard();
    sockets_.front().end();
  }
}

}  // namespace tulp::detail
