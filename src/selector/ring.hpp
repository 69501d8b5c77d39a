// Ring: an io_uring, and the memory that the kernel receives into.  Floor 2, selector.
//
// What is asked for goes out with the next enter(), all of it in one system call, and that one also waits.  A send takes no
// wait and tells nothing when it has taken everything, so that what it was copied to is free again right after that call.
// What is received lies in buffers that all sockets share: the kernel fills one after the other, and a socket holds a
// piece of one until somebody has read it.
#pragma once
#include <liburing.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/duration.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/page.hpp"

namespace tulp::detail {

/// Something that was asked for.  Lives until its last completion, or longer.
class RingOperation {
 public:
  virtual void on_completion(int result, unsigned flags) noexcept = 0;

 protected:
  ~RingOperation() = default;
};

/// Who waits for completions, and must not go before the last of them.
class RingClient : public RingOperation, public ListHook<RingClient> {
 public:
  /// No buffer is left: copies what it holds of them.
  virtual void release_buffers() noexcept {}
  /// There are buffers again.
  virtual void receive_again() noexcept {}
  /// The ring has gone, and what it was asked for does not complete any more.
  virtual void leave_ring() noexcept = 0;

 protected:
  ~RingClient() = default;
};

class Ring {
 public:
  /// Throws: OsError - the kernel has no io_uring, forbids it, or lacks something that is needed (Linux 6.1).
  Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  /// Part of a buffer.
  struct Piece {
    const char* data;
    std::uint32_t size;
    std::uint32_t buffer;
  };

  // All that follows is asked for with the next enter().

  /// Receives for as long as nothing goes wrong and there are buffers.
  void receive(int fd, RingClient& receiver) noexcept;
  /// What a completion of that has brought, which has a buffer.
  static bool has_buffer(unsigned flags) noexcept { return (flags & IORING_CQE_F_BUFFER) != 0; }
  Piece take(unsigned size, unsigned flags) noexcept;
  void give_back(const Piece& piece) noexcept;
  /// No buffer was left for somebody, who is told when there are some again.
  void starve() noexcept { has_starved_ = true; }

  /// Copies what is to be sent, some KiB.  The operation hears only if the kernel does not take all of it at
  /// once: how much it has taken, or the error; until the next enter() the copy is there.  Null if it cannot be sent so.
  /// What was asked for in an earlier tick of the clock, some milliseconds, goes first: a turn of the loop may take long.
  std::string_view send(int fd, std::span<const iovec> views, std::size_t size, RingOperation& operation) noexcept;
  /// Completes with 0 or an error once it is known what became of it.  `address` stays until then.
  void connect(int fd, const sockaddr* address, socklen_t size, RingOperation& operation) noexcept;
  /// Completes each time that `events` (POLLIN) come.
  void poll(int fd, unsigned events, RingOperation& operation) noexcept;
  void cancel(RingOperation& operation) noexcept;

  /// Counts the times that everything was asked for.
  std::uint64_t turn() const noexcept { return turn_; }
  /// Counts what was sent, and what somebody was told of.
  std::uint64_t progress() const noexcept { return progress_; }
  /// Asks, and waits until something has completed or the time has passed; then tells whom it concerns.
  /// Throws: InvalidStateError - another thread has done that before, and the kernel allows it to one; OsError.
  void enter(Duration timeout);
  /// Asks, and tells, and does not wait.  In another thread than enter() nothing happens.
  void submit() noexcept;
  /// The same, if there is anything to ask for.
  void push() noexcept {
    if (::io_uring_sq_ready(&ring_) > 0) submit();
  }

  /// Whether nobody waits for this descriptor, though it is added to a selector: the ring alone has to do with it.
  void keep_quiet(int fd, bool is_quiet);
  bool is_quiet(int fd) const noexcept {
    const auto number = static_cast<std::size_t>(fd);
    return number < quiet_.size() && quiet_[number];
  }
  /// Until it unlinks itself.
  void add(RingClient& client) noexcept { clients_.push_back(client); }

 private:
  struct Buffer {
    std::uint32_t used_bytes = 0;
    std::uint32_t piece_count = 0;
    bool is_full = false;
  };

  void set_up_buffers();
  void enable() noexcept;
  io_uring_sqe* next() noexcept;
  bool has_work() const noexcept;
  void add_buffer(std::uint32_t number) noexcept;
  void reap() noexcept;

  const pid_t owner_;
  io_uring ring_{};
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::unique_ptr<Page[]> buffer_ring_memory_;
  std::unique_ptr<Page[]> buffer_memory_;
  std::uint32_t buffer_bytes_ = 0;
  std::uint32_t buffer_count_ = 0;
  std::array<Buffer, 256> buffers_;
  std::unique_ptr<Page[]> send_memory_;
  std::size_t send_used_bytes_ = 0;
  std::uint64_t send_tick_ = 0;  // when that began
  std::uint64_t turn_ = 0;
  std::uint64_t progress_ = 0;
  bool is_enabled_ = false;
  IntrusiveList<RingClient> clients_;
  std::vector<bool> quiet_;  // by descriptor
  bool has_starved_ = false;
  bool is_reaping_ = false;
  bool is_foreign_ = false;  // to the thread that asked last
};

}  // namespace tulp::detail
