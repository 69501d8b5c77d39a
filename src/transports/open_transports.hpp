// OpenTransports: what the loop knows of its open transports.  Floor 6, transports.
#pragma once
#include <sys/uio.h>
#include <tulp/detail/task_control.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/protocol.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/page.hpp"
#include "transports/write_queue.hpp"

namespace tulp::detail {

/// Something open that the end of its loop has to end too.
class OpenTransport : public ListHook<OpenTransport> {
 public:
  /// Sends what is buffered, and ends.
  virtual void close() = 0;
  /// As close(), without waiting for the peer's leave.
  virtual void close_without_leave() { close(); }
  /// Ends without that.
  virtual void abort() = 0;
  virtual std::size_t get_write_buffer_size() const noexcept = 0;
  /// The other end, for messages: "127.0.0.1:80".
  virtual std::string peer() const = 0;
  /// As abort(), after saying how much is lost by that.
  void abort_with_report(EventLoop& loop);

 protected:
  ~OpenTransport() = default;

  /// Calls a method of `protocol`, which stays alive meanwhile.  What it throws is reported, and returned.
  template <class Call>
  std::exception_ptr call_protocol(EventLoop& loop, std::shared_ptr<const BaseProtocol> protocol, const char* method,
                                   Call call) const noexcept {
    const CallbackScope no_parking;
    const auto keep = std::move(protocol);
    try {
      call();
      return nullptr;
    } catch (const ThrowWatch&) {
      return nullptr;  // it never catches anything
    } catch (...) {
      report_failure(loop, method);
      return std::current_exception();
    }
  }
  /// Something was written after the end; from the fifth time on that is said, once.
  void drop_write(EventLoop& loop, const char* method) noexcept;

 private:
  void report_failure(EventLoop& loop, const char* method) const noexcept;

  unsigned dropped_write_count_ = 0;
};

/// The open transports of a loop.  Each unlinks itself when it has ended.
class OpenTransports : public LoopService {
 public:
  static constexpr std::size_t read_buffer_bytes = 256 * 1024;

  explicit OpenTransports(EventLoop& loop) : loop_(loop) {}
  void add(OpenTransport& transport) noexcept { open_.push_back(transport); }
  void shut_down(Shutdown phase) override;
  bool is_quiet() const override { return open_.empty(); }
  /// Shared by all who read bytes: each empties it before anybody else runs.
  std::span<char> read_buffer() {
    if (read_buffer_ == nullptr) [[unlikely]]
      read_buffer_ = make_pages(read_buffer_bytes);
    return {bytes_of(read_buffer_), read_buffer_bytes};
  }
  /// For their queues.
  SpareMemory& spare_memory() noexcept { return spare_memory_; }
  /// As many as one system call takes; shared by all who write, until that call.
  std::span<iovec> views();

 private:
  EventLoop& loop_;
  IntrusiveList<OpenTransport> open_;
  std::unique_ptr<Page[]> read_buffer_;
  SpareMemory spare_memory_;
  std::unique_ptr<iovec[]> views_;
};

}  // namespace tulp::detail
