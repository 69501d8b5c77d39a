#include <tulp/error.hpp>
#include <tulp/stream.hpp>

#include <cerrno>

#include "ssl/handshake.hpp"
#include "ssl/upgrade.hpp"
#include "streams/stream.hpp"
#include "tasks/running.hpp"
#include "transports/feed_park.hpp"

namespace tulp {
namespace {

using detail::Stream;
using detail::StreamTransport;

/// Above this a piece is not copied into the queue but sent at once, with what waits there.
constexpr std::size_t small_piece_bytes = 4 * 1024;

/// Throws what ended writing.
void check_error(const StreamTransport& transport) { transport.check_error("write"); }

/// Throws unless a new write may begin.
void check_writable(const Stream& stream) {
  const StreamTransport& transport = stream.transport();
  if (transport.is_writable()) return;
  check_error(transport);
  if (transport.is_closing() && !stream.is_close_called())  // not by the writer: by the server, for one
    throw_os_error(ECANCELED, "write to " + transport.peer() + ": the stream was closed on this side");
  transport.check_writable();
}

void wait_until_drained(Stream& stream) {
  while (stream.is_writing_paused()) {
    stream.wait_for_drain();
    check_error(stream.transport());
  }
}

/// Feeds from the caller's memory what is too much to be queued; the rest, which is not.
std::string_view feed(StreamTransport& transport, std::string_view data, bool is_begun) {
  detail::TaskControl& me = detail::require_task("StreamWriter::write");
  StreamTransport::Feeder feeder{me, data};
  try {
    while (feeder.rest.size() > transport.high_water_bytes()) {
      detail::throw_if_cancelled();
      {
        detail::FeedPark wait(transport, feeder);  // over before this task sends: a failure of its own must not wake it
        detail::park(wait);
      }
      check_error(transport);
      feeder.rest.remove_prefix(transport.send(feeder.rest));
    }
  } catch (const CancelledError&) {
    if (is_begun || feeder.rest.size() != data.size())
      transport.break_writing(
          make_os_error(ECANCELED, "a write to " + transport.peer() + " was cancelled in its middle"));
    throw;
  }
  return feeder.rest;
}

bool may_gather(const StreamTransport& transport, std::size_t bytes) noexcept {
  return bytes <= small_piece_bytes && transport.may_gather(bytes);
}

/// In this task's turn.
void write_piece(Stream& stream, detail::TaskControl& me, std::string_view data) {
  StreamTransport& transport = stream.transport();
  if (!may_gather(transport, data.size())) detail::begin_operation(me);
  check_writable(stream);
  if (may_gather(transport, data.size())) return transport.gather(data);
  const std::size_t sent = transport.send(data);
  data.remove_prefix(sent);
  if (data.size() > transport.high_water_bytes()) data = feed(transport, data, sent > 0);
  transport.enqueue(data);
  check_error(transport);
  wait_until_drained(stream);
}

/// In this task's turn: all of it in one call, if the kernel takes it; then one piece after another.
void write_pieces(Stream& stream, detail::TaskControl& me, std::span<const std::string_view> pieces) {
  StreamTransport& transport = stream.transport();
  std::size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  if (transport.may_gather(size)) {
    check_writable(stream);
    for (const std::string_view piece : pieces) transport.gather(piece);
    return;
  }
  detail::begin_operation(me);
  check_writable(stream);
  detail::Pieces rest(pieces);
  for (transport.send(rest); !rest.empty(); transport.send(rest)) {
    std::string_view data = rest.front();
    if (data.size() > transport.high_water_bytes()) data = feed(transport, data, rest.is_front_begun());
    transport.enqueue(data);
    rest.consume_front();
    check_error(transport);
    wait_until_drained(stream);
  }
  check_error(transport);
  wait_until_drained(stream);
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

[[gnu::hot]] void StreamWriter::write(std::string_view data) {
  detail::TaskControl& me = detail::parkable_task("StreamWriter::write");
  StreamTransport& transport = stream_->transport();
  if (!stream_->write_turns().is_taken() && may_gather(transport, data.size()) && transport.is_writable()) [[likely]]
    return transport.gather(data);  // nothing here could park
  const detail::Turns::Turn turn(stream_->write_turns());
  write_piece(*stream_, me, data);
}

void StreamWriter::writelines(std::span<const std::string_view> pieces) {
  detail::TaskControl& me = detail::require_task("StreamWriter::writelines");
  const detail::Turns::Turn turn(stream_->write_turns());
  write_pieces(*stream_, me, pieces);
}

void StreamWriter::write_nowait(std::string_view data) {
  check_writable(*stream_);
  stream_->transport().write(data);
}

void StreamWriter::drain() {
  detail::require_task("StreamWriter::drain");
  StreamTransport& transport = stream_->transport();
  check_error(transport);
  transport.push();
  check_error(transport);
  wait_until_drained(*stream_);
}

void StreamWriter::start_tls(const SslContext& context, StartTlsOptions options) {
  detail::require_task("StreamWriter::start_tls");
  const auto settings = detail::upgrade_settings(context, options);
  const auto keep = stream_;
  const detail::Turns::Turn turn(keep->write_turns());
  check_writable(*keep);
  const std::string unread = detail::take_unread(*keep);
  detail::Upgrade(keep->transport().shared_from_this()).run(settings, unread);
}

void StreamWriter::write_eof() { stream_->transport().write_eof(); }
void StreamWriter::write_close_notify() { stream_->transport().write_close_notify(); }
bool StreamWriter::can_write_eof() const noexcept { return stream_->transport().can_write_eof(); }
void StreamWriter::close() { stream_->close(); }
bool StreamWriter::is_closing() const noexcept { return stream_->transport().is_closing(); }
Transport& StreamWriter::transport() const noexcept { return stream_->transport(); }

void StreamWriter::wait_closed() {
  detail::require_task("StreamWriter::wait_closed");
  stream_->wait_closed();
  if (const auto& error = stream_->transport().lost_error()) std::rethrow_exception(error);
}

void StreamWriter::wait_closed(std::error_code& error) {
  error.clear();
  try {
    wait_closed();
  } catch (const std::system_error& ended) {
    error = ended.code();
  }
}

}  // namespace tulp
