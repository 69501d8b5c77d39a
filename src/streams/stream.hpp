// Stream: what a reader and a writer of one connection share.  Floor 8, streams.
#pragma once
#include <tulp/detail/wait_queue.hpp>
#include <tulp/protocol.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "streams/reader_state.hpp"
#include "streams/turns.hpp"
#include "transports/stream_transport.hpp"

namespace tulp::detail {

class Stream;

/// Takes what the stream's reader has received, and not given to anybody.  Throws: InvalidStateError - a task reads.
std::string take_unread(Stream& stream);

/// The protocol of a transport that is pulled: it hears of water marks and of the end.
class alignas(64) Stream final : public BaseProtocol {
 public:
  /// Joins a new Stream to a new transport over `bytes`.
  static std::shared_ptr<Stream> open(EventLoop& loop, std::unique_ptr<ByteStream> bytes);

  void connection_lost(std::exception_ptr) override;
  void pause_writing() override { is_writing_paused_ = true; }
  void resume_writing() override;

  StreamTransport& transport() const noexcept { return *transport_; }
  /// By the writer.
  void close() {
    is_close_called_ = true;
    transport_->close();
  }
  bool is_close_called() const noexcept { return is_close_called_; }
  bool is_closed() const noexcept { return is_closed_; }
  bool is_writing_paused() const noexcept { return is_writing_paused_; }

  /// Parks: until resume_writing or connection_lost.
  void wait_for_drain() { drained_.wait("room in the write buffer"); }
  /// Parks: until connection_lost.
  void wait_closed();
  /// What the reader keeps; null while there is none.
  ReaderState* reader() noexcept { return reader_ ? &*reader_ : nullptr; }
  /// For the reader itself.
  ReaderState& reader_state() noexcept { return *reader_; }
  void open_reader(std::size_t limit_bytes) { reader_.emplace(*this, limit_bytes); }
  /// A transport that is only for reading ends with its reader; others the writer closes.
  void close_reader() {
    reader_.reset();
    if (!transport_->can_write()) transport_->close();
  }
  /// One write at a time; a second one waits its turn, so that no two are mixed.
  Turns& write_turns() noexcept { return write_turns_; }

 private:
  // What each read and write touches comes first.
  std::shared_ptr<StreamTransport> transport_;
  Turns write_turns_;
  std::optional<ReaderState> reader_;
  bool is_close_called_ = false;
  bool is_closed_ = false;
  bool is_writing_paused_ = false;
  WaitQueue drained_;
  WaitQueue closed_;
};

}  // namespace tulp::detail
