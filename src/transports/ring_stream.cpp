#include "transports/ring_stream.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <tulp/error.hpp>

#include "net/file_range.hpp"
#include "net/socket.hpp"
#include "selector/ring.hpp"
#include "transports/lingering.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {
namespace {

/// Above this a message is sent at once, for it is not worth a copy.
constexpr std::size_t small_bytes = 4 * 1024;
/// What comes in pieces as large as that is read by whoever wants it, straight to its place.
constexpr int bulk_bytes = 8 * 1024;
/// So many small ones in a row end that.
constexpr int small_reads_after_bulk = 8;
/// What is received ahead of whoever reads.
constexpr std::size_t most_ahead_bytes = 64 * 1024;

}  // namespace

/// What the ring refers to: it stays until the last completion.
class RingStream::Socket final : public RingClient, private Runnable {
 public:
  Socket(EventLoop& loop, UniqueFd socket, const Address& peer)
      : ring_(*loop.ring()),
        loop_(loop),
        socket_(std::move(socket)),
        watch_(socket_.get(), FdWatch::Mode::once),
        peer_(peer),
        is_tcp_(peer.family() == AF_INET || peer.family() == AF_INET6) {
    ring_.keep_quiet(socket_.get(), true);
    loop_.add_fd(watch_);
    ring_.add(*this);
    receive();
  }

  // Reading.

  Result try_read(std::span<char> into) noexcept {
    if (is_broken_ && receives_ && held_bytes_ == 0) ring_.submit();  // what came before that is there by now
    if (held_bytes_ > 0) return {Status::done, take(into)};
    if (fails_reading()) return {Status::failed};
    if (has_ended_) return {Status::end};
    if (is_read_directly()) return receive_into(into);
    return {Status::would_block};
  }

  // Writing.

  /// What is sent with the next turn is sent now.
  Result push() noexcept {
    if (is_sending() && !loop_.belongs_to_parent()) ring_.submit();
    if (is_broken_) return {Status::failed};
    return {unsent_.empty() && !is_sending() ? Status::done : Status::would_block};
  }
  void tell_unsent(Runnable* target) noexcept {
    unsent_target_ = target;
    if (is_broken_ || !unsent_.empty()) tell();
  }

  Result try_write(std::span<const iovec> views) noexcept {
    const Result pushed = push();  // else this one might overtake what the kernel does not take of that
    if (pushed.status != Status::done) return pushed;
    std::size_t size = 0;
    for (const iovec& view : views) size += view.iov_len;
    if (size > small_bytes) return send_at_once(views, size);
    const std::string_view copy = ring_.send(socket_.get(), views, size, sender_);
    if (copy.empty()) return send_at_once(views, size);
    sent_ = copy;
    sent_turn_ = ring_.turn();
    return {Status::done, size};
  }

  /// A short count says nothing of the socket: it may be the file that has ended.
  std::optional<Result> try_sendfile(int file, off_t offset, std::size_t size) noexcept {
    const Result pushed = push();
    if (pushed.status != Status::done) return pushed;
    const ssize_t sent = retry_on_eintr([&] { return sys.sendfile(socket_.get(), file, &offset, size); });
    if (sent > 0) return Result{Status::done, static_cast<std::size_t>(sent)};
    if (sent == 0) return Result{Status::end};
    if (is_refused_by_sendfile(errno)) return std::nullopt;
    return fail_directly("sendfile", Direction::write);
  }

  void write_eof() noexcept {
    is_eof_asked_ = true;
    if (push().status == Status::done) sys.shutdown(socket_.get(), SHUT_WR);
  }

  std::size_t unsent_bytes() const noexcept { return unsent_.size(); }

  // Waiting.

  bool may_try(Direction direction) const noexcept {
    if (direction == Direction::read)
      return held_bytes_ > 0 || has_ended_ || fails_reading() ||
             (is_read_directly() && (!is_watched_ || watch_.may_try(direction)));
    return is_broken_ || (unsent_.empty() && (!is_watched_ || watch_.may_try(direction)));
  }

  void arm(Direction direction, Runnable& target) {
    if (direction == Direction::read && !is_read_directly()) {
      reader_ = &target;
    } else if (direction == Direction::write && !unsent_.empty()) {
      writer_ = &target;
    } else {
      watch();
      watch_.arm(loop_, direction, target);
    }
  }
  void disarm(Direction direction) noexcept {
    (direction == Direction::read ? reader_ : writer_) = nullptr;
    if (watch_.target(direction) != static_cast<Runnable*>(this)) watch_.disarm(loop_, direction);
  }
  void arm_hang_up(Runnable& target) {
    watch();
    watch_.arm_hang_up(loop_, target);
  }

  HangUp look_for_hang_up() noexcept {
    const std::optional<int> error = look_for_end(socket_.get());
    if (!error) return HangUp::none;
    error_number_ = *error != 0 ? *error : EPIPE;
    failed_operation_ = "connection to";
    return *error != 0 ? HangUp::error : HangUp::clean;
  }

  // Ending.

  void close(Ending ending) noexcept {
    if (!socket_) return;
    if (loop_.belongs_to_parent()) {  // and so does the ring
      socket_.reset();
      return;
    }
    reader_ = writer_ = unsent_target_ = nullptr;
    const bool is_orderly = (ending == Ending::orderly || ending == Ending::slow) && !has_ended_;
    const bool is_slow =
        is_orderly && (ending == Ending::slow || held_bytes_ > 0);  // what it sent would be asked for in vain
    const bool is_unread = is_orderly && (is_starved_ || may_try(Direction::read));
    const bool lingers = is_tcp_ && (is_slow || is_unread) && !loop_.is_closed();
    stop_receiving();
    watch_.is_closing = !lingers;
    loop_.remove_fd(watch_);
    ring_.keep_quiet(socket_.get(), false);
    if (ending == Ending::reset) reset_on_close(socket_.get());
    while (piece_count_ > 0) drop_piece();
    if (lingers) loop_.service<LingeringSockets>().close(std::move(socket_), is_slow);
    socket_.reset();
  }

  /// Nobody but the ring refers to it any more.
  void release() noexcept {
    is_released_ = true;
    if (!loop_.belongs_to_parent()) delete_if_done();
  }

  std::exception_ptr error() const {
    return make_os_error(error_number_, std::string(failed_operation_) + ' ' + peer_.to_string());
  }
  const Address& peer() const noexcept { return peer_; }
  int fd() const noexcept { return socket_.get(); }

 private:
  /// Hears of what the kernel has not taken.
  class Sender final : public RingOperation {
   public:
    explicit Sender(Socket& socket) noexcept : socket_(socket) {}
    void on_completion(int result, unsigned) noexcept override { socket_.on_sent(result); }

   private:
    Socket& socket_;
  };

  void on_completion(int result, unsigned flags) noexcept override {
    receives_ = (flags & IORING_CQE_F_MORE) != 0;
    if (result <= 0 && Ring::has_buffer(flags)) ring_.give_back(ring_.take(0, flags));
    if (result > 0) {
      keep(ring_.take(static_cast<unsigned>(result), flags));
    } else if (result == -ENOBUFS) {
      is_starved_ = true;
      ring_.starve();
    } else if (result != -ECANCELED) {
      has_ended_ = true;
      if (result < 0) fail("recv", -result);
    }
    if (!socket_) return delete_if_done();
    if (result >= bulk_bytes) is_bulk_ = true;
    if (receives_ && (is_bulk_ || held_bytes_ > most_ahead_bytes) && !std::exchange(is_stopping_, true))
      ring_.cancel(*this);
    go_on_receiving();
    wake_reader();
  }

  void release_buffers() noexcept override {
    while (piece_count_ > 0) put_aside();
  }
  void receive_again() noexcept override {
    if (std::exchange(is_starved_, false) && socket_) go_on_receiving();
  }

  void leave_ring() noexcept override {
    receives_ = false;
    delete_if_done();
  }

  void receive() noexcept {
    receives_ = true;
    is_stopping_ = false;
    ring_.receive(socket_.get(), *this);
  }
  void go_on_receiving() noexcept {
    if (receives_ || has_ended_ || is_starved_ || held_bytes_ > most_ahead_bytes) return;
    if (!is_bulk_) return receive();
    if (reader_ == nullptr || held_bytes_ > 0) return;
    Runnable& reader = *std::exchange(reader_, nullptr);
    if (!reader.is_queued()) loop_.post(reader);  // which will read, and then see whether it has to wait
  }
  /// The descriptor can be closed then: nothing else refers to the socket.
  void stop_receiving() noexcept {
    UniqueFd socket = std::move(socket_);  // so that nothing is begun again
    if (receives_) ring_.cancel(*this);
    if (receives_ || is_sending()) ring_.submit();
    socket_ = std::move(socket);
  }

  /// A write may hear first of what ended the connection.  EPIPE is no such thing: the peer may have answered before it ended.
  bool fails_reading() const noexcept { return is_broken_ && error_number_ != EPIPE; }
  bool is_read_directly() const noexcept { return is_bulk_ && !receives_; }
  Result receive_into(std::span<char> into) noexcept {
    const ssize_t got = retry_on_eintr([&] { return sys.recv(socket_.get(), into.data(), into.size(), 0); });
    if (got < 0) {
      const Result result = fail_directly("recv", Direction::read);
      has_ended_ = result.status == Status::failed;
      return result;
    }
    if (got == 0) {
      has_ended_ = true;
      return {Status::end};
    }
    const auto bytes = static_cast<std::size_t>(got);
    if (bytes < into.size() && is_tcp_) watch_.fell_short(Direction::read);
    small_read_count_ = bytes > small_bytes ? 0 : small_read_count_ + 1;
    if (small_read_count_ == small_reads_after_bulk) end_bulk();
    return {Status::done, bytes};
  }
  void end_bulk() noexcept {
    is_bulk_ = false;
    small_read_count_ = 0;
    unwatch();
    receive();
  }

  // What has been received, and not been read: first what was put aside, then pieces of the ring's buffers.

  void keep(const Ring::Piece& piece) noexcept {
    if (!socket_) return ring_.give_back(piece);
    if (piece_count_ == pieces_.size()) release_buffers();
    pieces_[piece_count_++] = piece;
    held_bytes_ += piece.size;
  }
  void put_aside() noexcept {
    aside_.append(pieces_[0].data, pieces_[0].size);
    drop_piece();
  }
  void drop_piece() noexcept {
    ring_.give_back(pieces_[0]);
    pieces_[0] = pieces_[1];
    --piece_count_;
  }
  std::size_t take(std::span<char> into) noexcept {
    std::size_t count = 0;
    if (!aside_.empty()) {
      count = aside_.copy(into.data(), into.size(), aside_head_);
      aside_head_ += count;
      if (aside_head_ == aside_.size()) aside_.clear(), aside_head_ = 0;
    }
    while (count < into.size() && piece_count_ > 0) {
      Ring::Piece& piece = pieces_[0];
      const auto size = static_cast<std::uint32_t>(std::min<std::size_t>(piece.size, into.size() - count));
      std::memcpy(into.data() + count, piece.data, size);
      count += size;
      piece.data += size;
      piece.size -= size;
      if (piece.size == 0) drop_piece();
    }
    held_bytes_ -= count;
    if (!receives_) go_on_receiving();
    return count;
  }

  // What is sent.

  bool is_sending() const noexcept { return sent_turn_ == ring_.turn(); }

  /// At once the kernel has taken so much, which is not all.
  void on_sent(int result) noexcept {
    if (result < 0 && !is_blocked(-result)) return lose_unsent(-result);
    unsent_.assign(sent_.substr(static_cast<std::size_t>(std::max(result, 0))));
    if (!socket_) return;
    wait_to_send();
    tell();
  }

  Result send_at_once(std::span<const iovec> views, std::size_t size) noexcept {
    const ssize_t sent = send_views(socket_.get(), views);
    if (sent < 0) return fail_directly("send", Direction::write);
    const auto bytes = static_cast<std::size_t>(sent);
    if (bytes < size && is_tcp_ && is_watched_) watch_.fell_short(Direction::write);
    return {Status::done, bytes};
  }

  /// Not watched it would be tried again and again.
  Result fail_directly(const char* operation, Direction direction) noexcept {
    const int error = errno;
    if (!is_blocked(error)) {
      fail(operation, error);
      return {Status::failed};
    }
    try {
      watch();
      watch_.would_block(direction);
      return {Status::would_block};
    } catch (const OsError& refused) {
      fail(operation, refused.code().value());
      return {Status::failed};
    }
  }

  void wait_to_send() noexcept {
    try {
      watch();
      watch_.would_block(Direction::write);
      watch_.arm(loop_, Direction::write, *this);
    } catch (const OsError& refused) {
      lose_unsent(refused.code().value());
    }
  }
  void lose_unsent(int error) noexcept {
    fail("send", error);
    tell();
  }

  /// The kernel takes more of what is unsent.
  void run() noexcept override {
    if (!socket_) return delete_if_done();
    while (!unsent_.empty()) {
      const ssize_t sent =
          retry_on_eintr([&] { return sys.send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL); });
      if (sent < 0 && is_blocked(errno)) return wait_to_send();
      if (sent < 0) return lose_unsent(errno);
      unsent_.erase(0, static_cast<std::size_t>(sent));
    }
    if (is_eof_asked_) sys.shutdown(socket_.get(), SHUT_WR);
    Runnable* const writer = std::exchange(writer_, nullptr);
    if (writer != nullptr && !writer->is_queued()) loop_.post(*writer);
    if (!is_bulk_ && !has_ended_) unwatch();
  }
  void discard() noexcept override {
    if (!socket_) delete_if_done();
  }

  /// Both directions hear of it.
  void fail(const char* operation, int error) noexcept {
    if (!std::exchange(is_broken_, true)) {
      error_number_ = error;
      failed_operation_ = operation;
    }
    unsent_.clear();
    wake_reader();
    Runnable* const writer = std::exchange(writer_, nullptr);
    if (writer != nullptr && !writer->is_queued()) loop_.post(*writer);
  }

  void tell() noexcept {
    if (unsent_target_ != nullptr && !unsent_target_->is_queued()) loop_.post(*unsent_target_);
  }

  void wake_reader() noexcept {
    if (reader_ == nullptr || (held_bytes_ == 0 && !has_ended_ && !fails_reading())) return;
    Runnable* const reader = std::exchange(reader_, nullptr);
    if (!reader->is_queued()) loop_.post(*reader);
  }

  /// While it is not watched the loop still knows whose descriptor it is.
  /// Throws: OsError - it cannot be watched.
  void watch() {
    if (is_watched_) return;
    loop_.remove_fd(watch_);
    ring_.keep_quiet(socket_.get(), false);
    try {
      loop_.add_fd(watch_);
      is_watched_ = true;
    } catch (...) {
      ring_.keep_quiet(socket_.get(), true);
      loop_.add_fd(watch_);
      throw;
    }
  }
  /// Unless somebody waits for it.
  void unwatch() noexcept {
    if (!is_watched_ || watch_.target(Direction::read) != nullptr || watch_.target(Direction::write) != nullptr) return;
    is_watched_ = false;
    loop_.remove_fd(watch_);
    ring_.keep_quiet(socket_.get(), true);
    loop_.add_fd(watch_);
  }

  void delete_if_done() noexcept {
    if (!is_released_ || receives_ || is_queued()) return;
    unlink();
    delete this;
  }

  // What each message touches comes first.
  Ring& ring_;
  EventLoop& loop_;
  UniqueFd socket_;
  bool receives_ = false;     // until the ring says that it does not any more
  bool is_stopping_ = false;  // it has been asked to end
  bool is_starved_ = false;   // it has ended because all buffers were taken
  bool has_ended_ = false;    // the peer has, or the connection is broken
  bool is_broken_ = false;
  bool is_bulk_ = false;
  bool is_watched_ = false;
  bool is_eof_asked_ = false;
  bool is_released_ = false;
  int error_number_ = 0;
  std::uint32_t piece_count_ = 0;
  std::size_t held_bytes_ = 0;
  Runnable* reader_ = nullptr;
  std::array<Ring::Piece, 2> pieces_{};
  std::uint64_t sent_turn_ = ~std::uint64_t{0};
  std::string_view sent_;  // in that turn
  std::string unsent_;     // what the kernel did not take of it
  Sender sender_{*this};

  std::string aside_;
  std::size_t aside_head_ = 0;
  int small_read_count_ = 0;  // in a row
  Runnable* writer_ = nullptr;
  Runnable* unsent_target_ = nullptr;
  FdWatch watch_;
  Address peer_;
  bool is_tcp_;
  const char* failed_operation_ = "";
};

RingStream::RingStream(EventLoop& loop, UniqueFd socket, const Address& peer)
    : socket_(new Socket(loop, std::move(socket), peer)) {}

RingStream::~RingStream() {
  socket_->close(Ending::broken);
  socket_->release();
}

ByteStream::Result RingStream::try_read(std::span<char> into) noexcept { return socket_->try_read(into); }
ByteStream::Result RingStream::try_write(std::span<const iovec> views) noexcept { return socket_->try_write(views); }
std::optional<ByteStream::Result> RingStream::try_sendfile(int file, off_t offset, std::size_t size) noexcept {
  return socket_->try_sendfile(file, offset, size);
}
ByteStream::Result RingStream::push() noexcept { return socket_->push(); }
void RingStream::tell_unsent(Runnable* target) noexcept { socket_->tell_unsent(target); }
std::exception_ptr RingStream::error() const { return socket_->error(); }
bool RingStream::do_may_try(Direction direction) const noexcept { return socket_->may_try(direction); }
void RingStream::do_arm(Direction direction, Runnable& target) { socket_->arm(direction, target); }
void RingStream::do_disarm(Direction direction) noexcept { socket_->disarm(direction); }
void RingStream::arm_hang_up(Runnable& target) { socket_->arm_hang_up(target); }
ByteStream::HangUp RingStream::look_for_hang_up() noexcept { return socket_->look_for_hang_up(); }
void RingStream::write_eof() noexcept { socket_->write_eof(); }
std::size_t RingStream::unsent_bytes() const noexcept { return socket_->unsent_bytes(); }
ByteStream::Result RingStream::try_end() noexcept { return socket_->push(); }
void RingStream::close(Ending ending) noexcept { socket_->close(ending); }
std::string RingStream::peer() const { return socket_->peer().to_string(); }

std::any RingStream::get_extra_info(std::string_view key) const {
  return connection_info(socket_->fd(), socket_->peer(), key);
}

std::unique_ptr<ByteStream> make_stream(EventLoop& loop, UniqueFd socket, const Address& peer) {
  if (loop.ring() == nullptr) return std::make_unique<SocketStream>(loop, std::move(socket), peer);
  return std::make_unique<RingStream>(loop, std::move(socket), peer);
}

}  // namespace tulp::detail
