#include "selector/ring.hpp"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "selector/selector.hpp"

namespace tulp::detail {
namespace {

constexpr unsigned entry_count = 1024;
constexpr unsigned completion_count = 8 * 1024;
constexpr int group = 0;
constexpr std::size_t send_bytes = 256 * 1024;

// Newer than the headers of liburing 2.3.
constexpr std::uint16_t incremental_buffers = 2;  // IOU_PBUF_RING_INC, Linux 6.12
constexpr unsigned buffer_has_more = 1U << 4;     // IORING_CQE_F_BUF_MORE

/// Counts ticks of a clock that costs next to nothing to read.
std::uint64_t present_tick() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

Ring::Ring() : owner_(::getpid()) {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                     IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
  parameters.cq_entries = completion_count;
  const int error = ::io_uring_queue_init_params(entry_count, &ring_, &parameters);
  if (error < 0) throw_os_error(-error, "io_uring_setup, for the selector io_uring");
  try {
    ::io_uring_ring_dontfork(&ring_);
    set_up_buffers();
    send_memory_ = make_pages(send_bytes);
  } catch (...) {
    ::io_uring_queue_exit(&ring_);
    throw;
  }
}

/// A child process has the descriptor, and nothing of the memory.
Ring::~Ring() {
  if (owner_ != ::getpid()) {
    sys.close(ring_.ring_fd);
    return;
  }
  if (is_enabled_) submit();
  ::io_uring_queue_exit(&ring_);
  clients_.for_each([](RingClient& client) { client.leave_ring(); });
}

/// Small messages then lie side by side, where the kernel can do that; else each has a small buffer of its own.
void Ring::set_up_buffers() {
  io_uring_buf_reg registration{};
  registration.bgid = group;
  int error = -EINVAL;
  for (const bool is_incremental : {true, false}) {
    buffer_bytes_ = is_incremental ? 64 * 1024 : 4 * 1024;
    buffer_count_ = is_incremental ? 16 : 256;
    buffer_ring_memory_ = make_pages(buffer_count_ * sizeof(io_uring_buf));
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(buffer_ring_memory_.get());
    registration.ring_entries = buffer_count_;
    registration.pad = is_incremental ? incremental_buffers : 0;
    error = ::io_uring_register_buf_ring(&ring_, &registration, 0);
    if (error == 0) break;
  }
  if (error < 0) throw_os_error(-error, "io_uring_register(IORING_REGISTER_PBUF_RING)");
  buffer_memory_ = make_pages(std::size_t{buffer_bytes_} * buffer_count_);
  buffer_ring_ = reinterpret_cast<io_uring_buf_ring*>(buffer_ring_memory_.get());
  ::io_uring_buf_ring_init(buffer_ring_);
  for (std::uint32_t i = 0; i < buffer_count_; ++i) add_buffer(i);
}

/// By the thread that runs the loop, which need not be the one that has made it.
void Ring::enable() noexcept {
  if (is_enabled_) return;
  is_enabled_ = true;
  ::io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
}

/// If there is no room the kernel takes what is there.  Null if this thread must not ask it.
io_uring_sqe* Ring::next() noexcept {
  for (;;) {
    if (io_uring_sqe* entry = ::io_uring_get_sqe(&ring_)) return entry;
    is_reaping_ ? static_cast<void>(::io_uring_submit(&ring_)) : submit();
    if (is_foreign_) return nullptr;
  }
}

void Ring::receive(int fd, RingClient& receiver) noexcept {
  io_uring_sqe* const entry = next();
  if (entry == nullptr) return;
  ::io_uring_prep_recv_multishot(entry, fd, nullptr, 0, 0);
  ::io_uring_sqe_set_data(entry, static_cast<RingOperation*>(&receiver));
  entry->flags = IOSQE_BUFFER_SELECT;
  entry->buf_group = group;
}

Ring::Piece Ring::take(unsigned size, unsigned flags) noexcept {
  const std::uint32_t number = flags >> IORING_CQE_BUFFER_SHIFT;
  Buffer& buffer = buffers_[number];
  const Piece piece{bytes_of(buffer_memory_) + std::size_t{number} * buffer_bytes_ + buffer.used_bytes, size, number};
  buffer.used_bytes += size;
  ++buffer.piece_count;
  buffer.is_full = (flags & buffer_has_more) == 0;
  return piece;
}

void Ring::give_back(const Piece& piece) noexcept {
  Buffer& buffer = buffers_[piece.buffer];
  if (--buffer.piece_count == 0 && buffer.is_full) add_buffer(piece.buffer);
}

void Ring::add_buffer(std::uint32_t number) noexcept {
  buffers_[number] = {};
  ::io_uring_buf_ring_add(buffer_ring_, bytes_of(buffer_memory_) + std::size_t{number} * buffer_bytes_, buffer_bytes_,
                          static_cast<unsigned short>(number), ::io_uring_buf_ring_mask(buffer_count_), 0);
  ::io_uring_buf_ring_advance(buffer_ring_, 1);
}

std::string_view Ring::send(int fd, std::span<const iovec> views, std::size_t size, RingOperation& operation) noexcept {
  const std::uint64_t tick = present_tick();
  if (send_used_bytes_ > 0 && (tick != send_tick_ || send_used_bytes_ + size > send_bytes)) submit();
  if (send_used_bytes_ + size > send_bytes) return {};
  io_uring_sqe* const entry = next();  // which may begin the memory anew, so it comes before the copy
  if (entry == nullptr) return {};
  if (send_used_bytes_ == 0) send_tick_ = tick;
  ++progress_;
  char* const begin = bytes_of(send_memory_) + send_used_bytes_;
  char* end = begin;
  for (const iovec& view : views) {
    std::memcpy(end, view.iov_base, view.iov_len);
    end += view.iov_len;
  }
  send_used_bytes_ += (size + 63) / 64 * 64;
  ::io_uring_prep_send(entry, fd, begin, size, MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
  ::io_uring_sqe_set_data(entry, &operation);
  entry->flags = IOSQE_CQE_SKIP_SUCCESS;
  return {begin, size};
}

void Ring::connect(int fd, const sockaddr* address, socklen_t size, RingOperation& operation) noexcept {
  io_uring_sqe* const entry = next();
  if (entry == nullptr) return;
  ::io_uring_prep_connect(entry, fd, address, size);
  ::io_uring_sqe_set_data(entry, &operation);
}

void Ring::poll(int fd, unsigned events, RingOperation& operation) noexcept {
  io_uring_sqe* const entry = next();
  if (entry == nullptr) return;
  ::io_uring_prep_poll_multishot(entry, fd, events);
  ::io_uring_sqe_set_data(entry, &operation);
}

void Ring::cancel(RingOperation& operation) noexcept {
  io_uring_sqe* const entry = next();
  if (entry == nullptr) return;
  ::io_uring_prep_cancel(entry, &operation, 0);
  ::io_uring_sqe_set_data(entry, nullptr);
}

/// What has come since is only told of by entering the kernel.
bool Ring::has_work() const noexcept {
  return ::io_uring_sq_ready(&ring_) > 0 || (*ring_.sq.kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void Ring::keep_quiet(int fd, bool is_quiet) {
  const auto number = static_cast<std::size_t>(fd);
  if (is_quiet && number >= quiet_.size()) quiet_.resize(std::max(number + 1, 2 * quiet_.size()));
  if (number < quiet_.size()) quiet_[number] = is_quiet;
}

void Ring::enter(Duration timeout) {
  enable();
  int result = 0;
  if (timeout <= Duration::zero()) {
    if (has_work()) result = ::io_uring_submit_and_get_events(&ring_);
  } else if (timeout.is_never()) {
    result = ::io_uring_submit_and_wait(&ring_, 1);
  } else {
    const std::int64_t nanoseconds = bounded(timeout).nanoseconds();
    __kernel_timespec limit{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    result = ::io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
  }
  if (result == -EEXIST)
    throw InvalidStateError("an event loop over io_uring runs in the thread that it ran in first, and in no other");
  if (result < 0 && result != -EINTR && result != -ETIME && result != -EBUSY && result != -EAGAIN)
    throw_os_error(-result, "io_uring_enter");
  reap();
}

void Ring::submit() noexcept {
  enable();
  is_foreign_ = ::io_uring_submit_and_get_events(&ring_) == -EEXIST;
  if (!is_foreign_) reap();
}

/// Before what was sent is overwritten, since who hears of that may have to send the rest.
void Ring::reap() noexcept {
  const bool is_all_asked = ::io_uring_sq_ready(&ring_) == 0;
  if (is_all_asked) ++turn_;
  is_reaping_ = true;
  io_uring_cqe* completion = nullptr;
  unsigned head = 0;
  unsigned count = 0;
  io_uring_for_each_cqe(&ring_, head, completion) {
    ++count;
    if (completion->user_data == 0) continue;  // of a cancellation
    auto* operation = static_cast<RingOperation*>(::io_uring_cqe_get_data(completion));
    operation->on_completion(completion->res, completion->flags);
  }
  ::io_uring_cq_advance(&ring_, count);
  progress_ += count;
  if (is_all_asked) send_used_bytes_ = 0;
  if (std::exchange(has_starved_, false)) {
    clients_.for_each([](RingClient& client) { client.release_buffers(); });
    clients_.for_each([](RingClient& client) { client.receive_again(); });
  }
  is_reaping_ = false;
}

}  // namespace tulp::detail
