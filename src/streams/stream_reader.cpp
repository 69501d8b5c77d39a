#include <tulp/error.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "streams/reader_state.hpp"
#include "tasks/park_until.hpp"
#include "tasks/running.hpp"

namespace tulp {
namespace detail {

namespace {

constexpr std::size_t view_bytes = 64 * 1024;
constexpr std::size_t piece_bytes = 64 * 1024;  // what is received at least, if it is there

/// One read call: refuses a second one, and bounds how long it waits.
class Reading {
 public:
  Reading(ReaderState& state, const char* function) : state_(state), me_(parkable_task(function)) {
    if (state.is_busy)
      throw InvalidStateError(std::string(function) + "() was called while another task reads from this stream");
    state.is_busy = true;
    if (state.drain != nullptr) state.drain->step_aside();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() {
    state_.is_busy = false;
    if (state_.drain != nullptr) state_.drain->go_on();
  }

  /// At least one byte straight from the transport, behind those in the buffer; 0 at the end of the stream.
  std::size_t receive(std::span<char> into) {
    if (state_.is_at_end) return 0;
    StreamTransport& transport = state_.stream->transport();
    begin_operation(me_);
    keep_time(transport);
    for (;; wait(transport))
      if (const auto count = try_receive(transport, into)) return *count;
  }

  /// The same without a wait.
  std::optional<std::size_t> try_receive(std::span<char> into) {
    if (state_.is_at_end) return 0;
    return try_receive(state_.stream->transport(), into);
  }

  void wait_readable() {
    if (state_.is_at_end) return;
    StreamTransport& transport = state_.stream->transport();
    begin_operation(me_);
    keep_time(transport);
    while (!transport.is_closing() && !transport.may_try(Direction::read) && !transport.write_error()) wait(transport);
  }

  /// Receives once more into the reader's buffer, where `wanted` more bytes would do; false at the end of the stream.
  bool receive_more(std::size_t wanted = 0) {
    const std::span<char> memory = state_.stream->transport().read_buffer();
    const std::size_t count = receive(memory.first(std::clamp(wanted, piece_bytes, memory.size())));
    state_.keep({memory.data(), count});
    return count > 0;
  }

 private:
  std::optional<std::size_t> try_receive(StreamTransport& transport, std::span<char> into) {
    if (transport.is_closing()) [[unlikely]]
      throw_closed();
    // After a write that failed the kernel is asked in any case: what the peer said before may have come since the last poll.
    if (transport.may_try(Direction::read) || transport.write_error()) {
      const ByteStream::Result result = transport.try_read(into);
      if (result.status == ByteStream::Status::done) [[likely]]
        return result.bytes;
      if (result.status == ByteStream::Status::end) return end(transport);
      if (result.status == ByteStream::Status::failed) throw_failed(transport);
    }
    throw_if_broken(transport);
    return std::nullopt;
  }

  [[noreturn, gnu::cold]] static void throw_failed(StreamTransport& transport) {
    transport.fail(transport.stream_error());
    std::rethrow_exception(transport.stream_error());
  }

  /// A call's time begins when it first asks the transport, and is not prolonged by what comes drop by drop.
  void keep_time(const StreamTransport& transport) {
    if (state_.timeout.is_never()) return;
    const TimePoint now = me_.loop().time();
    if (deadline_ == TimePoint::max())
      deadline_ = after(now, state_.timeout);
    else if (now >= deadline_)
      throw_timed_out(transport);
  }

  [[noreturn]] static void throw_timed_out(const StreamTransport& transport) {
    throw TimeoutError("read from " + transport.peer() + " timed out");
  }

  std::size_t end(const StreamTransport& transport) {
    throw_if_broken(transport);
    state_.is_at_end = true;
    return 0;
  }

  /// The kernel tells the error that ended a connection once, and a write may have been the one that heard it: what came
  /// before has been read by now.  EPIPE is no such error, for the peer may end before it is answered; nor is a write
  /// that was cut on this side.
  static void throw_if_broken(const StreamTransport& transport) {
    if (transport.write_error()) [[unlikely]]
      throw_what_broke(transport);
  }
  [[gnu::cold]] static void throw_what_broke(const StreamTransport& transport) {
    try {
      std::rethrow_exception(transport.write_error());
    } catch (const OsError& error) {
      if (error.code().value() != EPIPE && error.code().value() != ECANCELED) throw;
    }
  }

  [[noreturn]] void throw_closed() const {
    const StreamTransport& transport = state_.stream->transport();
    if (transport.lost_error()) std::rethrow_exception(transport.lost_error());
    throw_os_error(ECANCELED, "read from " + transport.peer() + ": the stream was closed on this side");
  }

  class ReadPark final : public Park {
   public:
    ReadPark(StreamTransport& transport, TaskControl& me) : Park(&transport), transport_(transport) {
      transport_.arm_reader(me);
    }
    ReadPark(const ReadPark&) = delete;
    ReadPark& operator=(const ReadPark&) = delete;
    ~ReadPark() { undo(); }
    void undo() noexcept override { transport_.disarm_reader(); }
    std::string description() const override { return "data from " + transport_.place(); }

   private:
    StreamTransport& transport_;
  };

  void wait(StreamTransport& transport) {
    throw_if_cancelled();
    ReadPark wait(transport, me_);
    if (!park_until(wait, me_, deadline_) && !transport.may_try(Direction::read) && !transport.is_closing())
      throw_timed_out(transport);
  }

  ReaderState& state_;
  TaskControl& me_;
  TimePoint deadline_ = TimePoint::max();
};

}  // namespace

std::string take_unread(Stream& stream) {
  ReaderState* reader = stream.reader();
  if (reader == nullptr) return {};
  if (reader->is_busy) throw InvalidStateError("start_tls() while a task reads from the stream");
  return reader->take(to_eof);
}

}  // namespace detail

using detail::Reading;

StreamReader::StreamReader(std::shared_ptr<detail::Stream> stream, std::size_t limit_bytes)
    : state_(std::make_unique<detail::ReaderState>()) {
  state_->stream = std::move(stream);
  state_->limit_bytes = limit_bytes;
  state_->stream->set_reader(state_.get());
}
StreamReader::StreamReader(StreamReader&&) noexcept = default;
StreamReader& StreamReader::operator=(StreamReader&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
/// The writer closes a connection; what can only be read has none.
StreamReader::~StreamReader() {
  if (!state_) return;
  state_->stream->set_reader(nullptr);
  if (!state_->stream->transport().can_write()) state_->stream->transport().close();
}

std::string StreamReader::read(std::size_t n) {
  Reading reading(*state_, "StreamReader::read");
  if (n == 0) return {};
  if (n == to_eof) {
    while (reading.receive_more(to_eof)) {
    }
    return state_->take(to_eof);
  }
  if (!state_->buffered().empty()) return state_->take(n);
  const std::span<char> memory = state_->stream->transport().read_buffer();
  const std::size_t count = reading.receive(memory.first(std::min(n, memory.size())));
  return std::string(memory.data(), count);
}

namespace {

/// What is in the buffer already, as much as there is room for.
std::size_t take_buffered(detail::ReaderState& state, std::span<char> into) {
  const std::size_t count = state.buffered().copy(into.data(), into.size());
  state.consume(count);
  return count;
}

}  // namespace

std::size_t StreamReader::read_into(std::span<char> into) {
  Reading reading(*state_, "StreamReader::read_into");
  if (into.empty()) return 0;
  return state_->buffered().empty() ? reading.receive(into) : take_buffered(*state_, into);
}

std::optional<std::size_t> StreamReader::try_read_into(std::span<char> into) {
  Reading reading(*state_, "StreamReader::try_read_into");
  if (into.empty()) return 0;
  return state_->buffered().empty() ? reading.try_receive(into) : take_buffered(*state_, into);
}

void StreamReader::wait_readable() {
  Reading reading(*state_, "StreamReader::wait_readable");
  if (state_->buffered().empty()) reading.wait_readable();
}

std::string_view StreamReader::read_view() {
  Reading reading(*state_, "StreamReader::read_view");
  if (state_->view_memory == nullptr) state_->view_memory = make_pages(detail::view_bytes);
  const std::span<char> memory(bytes_of(state_->view_memory), detail::view_bytes);
  const std::string_view buffered = state_->buffered();
  if (buffered.empty()) return {memory.data(), reading.receive(memory)};
  const std::size_t count = buffered.copy(memory.data(), memory.size());
  state_->consume(count);
  return {memory.data(), count};
}

namespace {

/// Receives until `n` bytes are in the buffer, which grows as they come: the number may be a lie of the peer's.  A
/// cancellation finds them there.
/// Throws: IncompleteReadError.
void receive_exactly(Reading& reading, detail::ReaderState& state, std::size_t n) {
  while (state.buffered().size() < n) {
    if (!reading.receive_more(n - state.buffered().size())) throw IncompleteReadError(state.take(to_eof), n);
  }
}

}  // namespace

void StreamReader::readexactly_into(std::span<char> into) {
  Reading reading(*state_, "StreamReader::readexactly");
  const std::size_t ahead = state_->buffered().size();
  if (into.size() <= ahead + detail::piece_bytes) {  // with what comes behind it
    receive_exactly(reading, *state_, into.size());
    state_->buffered().copy(into.data(), into.size());
    return state_->consume(into.size());
  }
  std::size_t filled = state_->buffered().copy(into.data(), ahead);
  try {
    while (filled < into.size()) {
      const std::size_t count = reading.receive(into.subspan(filled));
      if (count == 0) break;
      filled += count;
    }
  } catch (...) {  // what has come stays, in the buffer
    state_->keep({into.data() + ahead, filled - ahead});
    throw;
  }
  state_->consume(ahead);
  if (filled < into.size()) throw IncompleteReadError({into.data(), filled}, into.size());
}

std::string StreamReader::readexactly(std::size_t n) {
  Reading reading(*state_, "StreamReader::readexactly");
  receive_exactly(reading, *state_, n);
  return state_->take(n);
}

namespace {

using Separators = std::span<const std::string_view>;

struct Match {
  std::size_t begin = std::string_view::npos;
  std::size_t end = std::string_view::npos;
  bool is_found() const noexcept { return end != std::string_view::npos; }
};

/// The separator that ends first, and thus does not depend on how the bytes came; of several the longest.
Match first_match(std::string_view text, std::size_t from, Separators separators) {
  Match first;
  for (const std::string_view separator : separators) {
    const std::size_t begin = text.find(separator, from);
    if (begin == std::string_view::npos) continue;
    const std::size_t end = begin + separator.size();
    if (end < first.end || (end == first.end && begin < first.begin)) first = {begin, end};
  }
  return first;
}

/// Receives until one of the separators is in the buffer; where it ends, or nothing at the end of the stream.
/// Throws: LimitOverrunError - none is within the limit.
std::optional<std::size_t> find_separator(Reading& reading, detail::ReaderState& state, Separators separators,
                                          const ReadOptions& options) {
  const std::size_t limit = options.limit_bytes.value_or(state.limit_bytes);
  std::size_t longest = 0;
  for (const std::string_view separator : separators) longest = std::max(longest, separator.size());
  std::size_t searched = 0;
  for (;;) {
    const std::string_view buffered = state.buffered();
    const Match match = first_match(buffered, searched, separators);
    searched = buffered.size() - std::min(buffered.size(), longest - 1);
    if ((match.is_found() ? match.end : buffered.size()) > limit) {
      throw LimitOverrunError("no separator within the limit of " + std::to_string(limit) +
                                  " bytes (limit_bytes raises it, in the options of the connection or of the call)",
                              match.is_found() ? match.begin : searched);
    }
    if (match.is_found()) return match.end;
    if (!reading.receive_more()) return std::nullopt;
  }
}

constexpr std::string_view end_of_line = "\n";

}  // namespace

bool StreamReader::readline_into(std::string& line, ReadOptions options) {
  Reading reading(*state_, "StreamReader::readline");
  const auto end = find_separator(reading, *state_, Separators(&end_of_line, 1), options);
  const std::string_view found = state_->buffered().substr(0, end.value_or(to_eof));
  line.assign(found);
  state_->consume(found.size());
  return !line.empty();
}

std::string StreamReader::readline(ReadOptions options) {
  std::string line;
  readline_into(line, options);
  return line;
}

std::string StreamReader::readuntil(std::string_view separator, ReadOptions options) {
  return readuntil(Separators(&separator, 1), options);
}

std::string StreamReader::readuntil(std::initializer_list<std::string_view> separators, ReadOptions options) {
  return readuntil(Separators(separators.begin(), separators.size()), options);
}

std::string StreamReader::readuntil(std::span<const std::string_view> separators, ReadOptions options) {
  if (separators.empty()) throw std::invalid_argument("readuntil: there is no separator");
  for (const std::string_view separator : separators)
    if (separator.empty()) throw std::invalid_argument("readuntil: a separator is empty");
  Reading reading(*state_, "StreamReader::readuntil");
  if (const auto end = find_separator(reading, *state_, separators, options)) return state_->take(*end);
  throw IncompleteReadError(state_->take(to_eof), 0);
}

bool StreamReader::at_eof() const noexcept { return state_->is_at_end && state_->buffered().empty(); }
void StreamReader::set_read_timeout(Duration timeout) { state_->timeout = timeout; }

}  // namespace tulp
