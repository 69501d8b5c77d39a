#include <tulp/error.hpp>
#include <tulp/stream.hpp>

#include "streams/stream.hpp"

namespace tulp {
namespace {

using detail::Stream;
using detail::StreamTransport;

/// Above this a piece is not copied into the queue but sent at once, with what waits there.
constexpr std::size_t small_piece_bytes = 4 * 1024;

/// Throws what ended writing.
void check(Stream& stream) {
  StreamTransport& transport = stream.transport();
  if (transport.write_error()) std::rethrow_exception(transport.write_error());
  if (stream.error()) std::rethrow_exception(stream.error());
  if (stream.is_closed()) throw InvalidStateError("write() after close()");
  transport.check_writable();
}

void wait_until_drained(Stream& stream) {
  while (stream.is_writing_paused()) {
    stream.wait_for_drain();
    check(stream);
  }
}

class FeedPark final : public detail::Park {
 public:
  FeedPark(StreamTransport& transport, detail::TaskControl& me) noexcept : transport_(transport) {
    transport_.arm_feeder(me);
  }
  FeedPark(const FeedPark&) = delete;
  FeedPark& operator=(const FeedPark&) = delete;
  ~FeedPark() { undo(); }
  void undo() noexcept override { transport_.disarm_feeder(); }

 private:
  StreamTransport& transport_;
};

/// Feeds from the caller's memory what is too much to be queued; the rest, which is not.
std::string_view feed(Stream& stream, std::string_view data, bool is_begun) {
  StreamTransport& transport = stream.transport();
  detail::TaskControl& me = detail::require_task("StreamWriter::write");
  const std::size_t size = data.size();
  try {
    for (;;) {
      detail::throw_if_cancelled();
      FeedPark wait(transport, me);
      detail::park(wait);
      check(stream);
      data.remove_prefix(transport.send(data));
      if (data.size() <= transport.high_water_bytes()) return data;
    }
  } catch (const CancelledError&) {
    if (is_begun || data.size() != size)
      transport.break_writing(
          make_os_error(ECANCELED, "a write to " + transport.peer() + " was cancelled in its middle"));
    throw;
  }
}

}  // namespace

StreamWriter::StreamWriter(std::shared_ptr<detail::Stream> stream) : stream_(std::move(stream)) {}
StreamWriter::StreamWriter(StreamWriter&&) noexcept = default;

StreamWriter& StreamWriter::operator=(StreamWriter&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}

StreamWriter::~StreamWriter() {
  if (stream_) close();
}

void StreamWriter::write(std::string_view data) {
  detail::require_task("StreamWriter::write");
  const Stream::WriteTurn turn(*stream_);
  check(*stream_);
  StreamTransport& transport = stream_->transport();
  if (data.size() <= small_piece_bytes && !stream_->is_writing_paused()) return transport.gather(data);
  const std::size_t sent = transport.send(data);
  data.remove_prefix(sent);
  if (data.size() > transport.high_water_bytes()) data = feed(*stream_, data, sent > 0);
  transport.enqueue(data);
  wait_until_drained(*stream_);
}

void StreamWriter::write_nowait(std::string_view data) {
  check(*stream_);
  stream_->transport().enqueue(data.substr(stream_->transport().send(data)));
}

void StreamWriter::writelines(std::span<const std::string_view> pieces) {
  for (const std::string_view piece : pieces) write(piece);
}

void StreamWriter::drain() {
  detail::require_task("StreamWriter::drain");
  check(*stream_);
  stream_->transport().send({});
  check(*stream_);
  wait_until_drained(*stream_);
}

void StreamWriter::write_eof() { stream_->transport().write_eof(); }
bool StreamWriter::can_write_eof() const noexcept { return stream_->transport().can_write_eof(); }
void StreamWriter::close() { stream_->transport().close(); }
bool StreamWriter::is_closing() const noexcept { return stream_->transport().is_closing(); }
Transport& StreamWriter::transport() const noexcept { return stream_->transport(); }

void StreamWriter::wait_closed() {
  detail::require_task("StreamWriter::wait_closed");
  stream_->wait_closed();
  if (stream_->error()) std::rethrow_exception(stream_->error());
}

}  // namespace tulp
