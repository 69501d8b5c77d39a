#include "streams/drain.hpp"

#include <utility>

#include "streams/reader_state.hpp"
#include "streams/stream.hpp"

namespace tulp::detail {

Drain::Drain(EventLoop& loop, ReaderState& reader, UniqueFunction<void()> on_over)
    : loop_(loop), reader_(&reader), on_over_(std::move(on_over)), is_aside_(reader.is_busy) {}

Drain::Pointer Drain::open(EventLoop& loop, ReaderState& reader, UniqueFunction<void()> on_over) {
  Pointer drain(new Drain(loop, reader, std::move(on_over)));
  reader.drain = drain.get();
  loop.post(*drain);
  return drain;
}

void Drain::end() noexcept {
  if (reader_ != nullptr) {
    step_aside();
    reader_->drain = nullptr;
    reader_ = nullptr;
  }
  on_over_ = nullptr;
  is_ended_ = true;
  if (!is_queued()) delete this;
}

void Drain::discard() noexcept {
  if (is_ended_) delete this;
}

void Drain::step_aside() noexcept {
  if (!is_aside_) reader_->stream.transport().disarm_reader();
  is_aside_ = true;
}

void Drain::go_on() noexcept {
  is_aside_ = false;
  if (!is_queued()) loop_.post(*this);
}

void Drain::leave() noexcept {
  reader_->stream.transport().disarm_reader();
  finish();
}

void Drain::finish() noexcept {
  reader_->drain = nullptr;
  reader_ = nullptr;
  if (on_over_) on_over_();
}

/// One piece in each turn, as others do it.
void Drain::run() noexcept {
  if (is_ended_) return delete this;
  if (is_over() || is_aside_) return;
  StreamTransport& transport = reader_->stream.transport();
  transport.disarm_reader();
  if (reader_->is_at_end || transport.is_closing()) return finish();
  if (!transport.may_try(Direction::read)) return wait_for_more();
  if (read_piece() != Piece::last) wait_for_more();
}

Drain::Piece Drain::read_piece() noexcept {
  StreamTransport& transport = reader_->stream.transport();
  const std::span<char> memory = transport.read_buffer();
  const ByteStream::Result result = transport.try_read(memory);
  switch (result.status) {
    case ByteStream::Status::done: reader_->keep({memory.data(), result.bytes}); return Piece::some;
    case ByteStream::Status::would_block: return Piece::none_yet;
    case ByteStream::Status::end: reader_->is_at_end = true; break;
    case ByteStream::Status::failed: transport.fail(transport.stream_error()); break;
  }
  finish();
  return Piece::last;
}

/// A terminal gives 4 KiB at a time, and a short read says nothing of it: only one in vain does.
void Drain::read_what_is_there() noexcept {
  if (is_over() || is_aside_ || reader_->is_at_end) return;
  StreamTransport& transport = reader_->stream.transport();
  if (transport.is_closing()) return;
  transport.disarm_reader();
  Piece piece = Piece::some;
  int left = 64;  // more than any pipe or terminal holds, in case somebody writes on and on
  for (; left > 0 && piece == Piece::some; --left) piece = read_piece();
  if (piece != Piece::last && !is_queued()) wait_for_more();
}

void Drain::wait_for_more() noexcept {
  StreamTransport& transport = reader_->stream.transport();
  if (transport.may_try(Direction::read))
    loop_.post(*this);
  else
    transport.arm_reader(*this);
}

}  // namespace tulp::detail
