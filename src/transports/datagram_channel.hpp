// DatagramChannel: the pull face of a socket for datagrams.  Floor 6, transports.
//
// Try, park, retry, as with a ByteStream; but what is moved are whole datagrams, and an error is no end.
#pragma once
#include <tulp/address.hpp>
#include <tulp/duration.hpp>
#include <tulp/event_loop.hpp>

#include <any>
#include <exception>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "net/datagram.hpp"
#include "net/retry_pause.hpp"
#include "transports/datagram_batch.hpp"

namespace tulp::detail {

class DatagramChannel {
 public:
  enum class Status : std::uint8_t {
    done,
    would_block,  // until arm() says otherwise
    no_room,      // for a while of which nothing tells the end: to be tried again after retry_delay()
    failed,
  };
  struct Result {
    Status status;
    std::size_t count = 0;  // with done; at least 1
    int error = 0;          // with failed
  };

  /// Begins to watch the socket.  Throws: OsError - it cannot be watched.
  DatagramChannel(EventLoop& loop, OpenedDatagramSocket socket);
  DatagramChannel(const DatagramChannel&) = delete;
  DatagramChannel& operator=(const DatagramChannel&) = delete;
  ~DatagramChannel() { close(); }

  /// Fills the batch, which has room for at least one, from its beginning.
  Result try_receive(DatagramBatch& batch) noexcept;
  /// How many to ask for at once: several while they are small.  Long ones cost less one by one, in memory that the cache
  /// still holds.
  std::size_t good_batch_size() const noexcept { return are_small_ ? DatagramBatch::slot_count : 1; }
  /// An empty address is the peer.
  Result try_send(std::string_view data, const Address& to) noexcept;
  Result try_send(SendBatch& batch) noexcept;
  /// How long to wait after no_room; longer from time to time.
  Duration retry_delay() noexcept { return retry_pause_.next(); }

  bool may_try(Direction direction) const noexcept { return watch_.may_try(direction); }
  void arm(Direction direction, Runnable& target) { watch_.arm(loop_, direction, target); }
  void disarm(Direction direction) noexcept { watch_.disarm(loop_, direction); }
  /// Gives the descriptor back; queues what is armed.
  void close() noexcept;
  bool is_open() const noexcept { return static_cast<bool>(socket_); }

  EventLoop& loop() const noexcept { return loop_; }
  int fd() const noexcept { return socket_.get(); }
  bool is_unix() const noexcept { return is_unix_; }
  /// Throws: std::invalid_argument - nothing can be sent there.
  void check_destination(const Address& to) const;
  /// Whether a send that failed so may have heard of an earlier datagram, and has not been tried itself.
  bool may_be_of_another(int error) const noexcept { return error == ECONNREFUSED && !is_unix_; }
  /// "recvfrom 127.0.0.1:80: Connection refused"; without an address the peer's.
  std::exception_ptr make_error(const char* operation, int error, const Address& address = {}) const;
  /// That `datagram` was longer than the memory for it, and what is missing is lost.
  std::exception_ptr make_truncated_error(const DatagramBatch::Datagram& datagram) const;

  std::any get_extra_info(std::string_view key) const;
  /// Who is at the other end, for messages.
  std::string peer() const;

 private:
  int receive(std::span<mmsghdr> headers) noexcept;
  int send(std::span<mmsghdr> headers) noexcept;
  Result fail(Direction direction) noexcept;
  Result sent(std::size_t count) noexcept;

  EventLoop& loop_;
  UniqueFd socket_;
  FdWatch watch_;
  Address peer_;
  bool is_connected_;
  bool is_unix_;
  bool has_batches_ = true;  // the system knows recvmmsg and sendmmsg
  bool are_small_ = true;    // the datagrams that came last
  RetryPause retry_pause_;   // while there is no room
};

}  // namespace tulp::detail
