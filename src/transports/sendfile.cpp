#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/sendfile.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include <cerrno>
#include <memory>
#include <stdexcept>

#include "base/broken_pipe.hpp"
#include "net/file_range.hpp"
#include "transports/feed_park.hpp"
#include "transports/stream_transport.hpp"

namespace tulp {
namespace detail {
namespace {

/// How much the kernel is offered at a time that has been read from the file.
constexpr std::size_t copied_bytes = 64 * 1024;

class FileSending {
 public:
  FileSending(TaskControl& me, StreamTransport& transport, FileRange file, const SendfileOptions& options)
      : me_(me), transport_(transport), file_(file), options_(options) {
    transport_.check_error("sendfile");
    transport_.begin_file(file_);
  }
  FileSending(const FileSending&) = delete;
  FileSending& operator=(const FileSending&) = delete;
  ~FileSending() { transport_.end_file(); }

  std::uint64_t run() {
    try {
      while (!file_.is_done()) {
        begin_operation(me_);
        wait_for_turn();
        memory_ == nullptr ? send() : copy();
        check();
      }
      return file_.sent();
    } catch (const CancelledError&) {
      break_connection(make_os_error(ECANCELED, "a sendfile to " + transport_.peer() + " was cancelled in its middle"));
      throw;
    } catch (...) {
      break_connection(std::current_exception());
      throw;
    }
  }

 private:
  /// Parks: until what was written before has been sent, and the kernel may have room.
  void wait_for_turn() {
    while (!transport_.flush()) {
      check();
      throw_if_cancelled();
      StreamTransport::Feeder feeder{me_, {}};
      FeedPark wait(transport_, feeder);
      park(wait);
    }
    check();
  }

  void check() const {
    transport_.check_error("sendfile");
    if (transport_.is_lost())
      throw_os_error(ECANCELED, "sendfile to " + transport_.peer() + ": the connection has ended");
  }

  void send() {
    const auto result = transport_.try_sendfile(file_);
    if (!result) return begin_to_copy();
    if (result->status == ByteStream::Status::done) file_.advance(result->bytes);
    if (result->status == ByteStream::Status::end) file_.end();
  }

  void begin_to_copy() {
    if (!options_.fallback) throw_os_error(errno, "sendfile to " + transport_.peer());
    memory_ = std::make_unique_for_overwrite<char[]>(copied_bytes);
  }

  void copy() {
    const std::string_view data = file_.read({memory_.get(), copied_bytes});
    file_.advance(data.size());
    if (data.empty()) return file_.end();
    transport_.enqueue(data.substr(transport_.send(data)));
  }

  void break_connection(std::exception_ptr error) noexcept {
    if (file_.sent() > 0 && !transport_.write_error()) transport_.break_writing(std::move(error));
  }

  TaskControl& me_;
  StreamTransport& transport_;
  FileRange file_;
  const SendfileOptions& options_;
  std::unique_ptr<char[]> memory_;  // once the system has refused
};

std::uint64_t send_file(Transport& transport, int file, std::uint64_t offset, std::optional<std::uint64_t> count,
                        const SendfileOptions& options) {
  TaskControl& me = require_task("sendfile");
  auto* own = dynamic_cast<StreamTransport*>(&transport);
  if (own == nullptr) throw std::invalid_argument("sendfile: the transport cannot do that");
  const auto keep = own->shared_from_this();
  ignore_broken_pipes();
  return FileSending(me, *own, FileRange(file, offset, count), options).run();
}

}  // namespace
}  // namespace detail

std::uint64_t sendfile(Transport& transport, int file, std::uint64_t offset, std::optional<std::uint64_t> count,
                       const SendfileOptions& options) {
  return detail::send_file(transport, file, offset, count, options);
}

Future<std::uint64_t> EventLoop::sendfile(std::shared_ptr<Transport> transport, int file, std::uint64_t offset,
                                          std::optional<std::uint64_t> count) {
  return sendfile(std::move(transport), file, offset, count, {});
}

Future<std::uint64_t> EventLoop::sendfile(std::shared_ptr<Transport> transport, int file, std::uint64_t offset,
                                          std::optional<std::uint64_t> count, const SendfileOptions& options) {
  if (transport == nullptr) throw std::invalid_argument("sendfile: no transport");
  auto work = [=] { return detail::send_file(*transport, file, offset, count, options); };
  return detail::start_task(*this, {.name = "sendfile"}, TULP_CALLER, std::move(work));
}

}  // namespace tulp
