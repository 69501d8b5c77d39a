#include <tulp/error.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "streams/stream.hpp"
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
  [[gnu::always_inline]] Reading(Stream& stream, const char* function)
      : me_(parkable_task(function)), state_(stream.reader_state()), transport_(stream.transport()) {
    if (state_.is_busy) [[unlikely]]
      refuse(function);
    state_.is_busy = true;
    if (state_.drain != nullptr) [[unlikely]]
      state_.drain->step_aside();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() {
    state_.is_busy = false;
    if (state_.drain != nullptr) [[unlikely]]
      state_.drain->go_on();
  }

  ReaderState& state() const noexcept { return state_; }
  /// Of the loop; empty before anybody else runs.
  std::span<char> memory() const { return transport_.read_buffer(); }

  /// At least one byte straight from the transport, behind those in the buffer; 0 at the end of the stream.
  [[gnu::hot]] std::size_t receive(std::span<char> into) {
    if (state_.is_at_end) return 0;
    begin_operation(me_);
    keep_time();
    for (;; wait())
      if (const auto count = try_once(into)) return *count;
  }

  /// The same without a wait.
  std::optional<std::size_t> try_receive(std::span<char> into) {
    if (state_.is_at_end) return 0;
    return try_once(into);
  }

  void wait_readable() {
    if (state_.is_at_end) return;
    begin_operation(me_);
    keep_time();
    while (!transport_.is_closing() && !transport_.may_try(Direction::read) && !transport_.write_error()) wait();
  }

  /// Receives once more into the reader's buffer, where `wanted` more bytes would do; false at the end of the stream.
  bool receive_more(std::size_t wanted = 0) {
    const std::span<char> whole = memory();
    const std::size_t count = receive(whole.first(std::clamp(wanted, piece_bytes, whole.size())));
    state_.keep({whole.data(), count});
    return count > 0;
  }

 private:
  [[noreturn, gnu::cold]] static void refuse(const char* function) {
    throw InvalidStateError(std::string(function) + "() was called while another task reads from this stream");
  }

  std::optional<std::size_t> try_once(std::span<char> into) {
    if (transport_.is_closing()) [[unlikely]]
      throw_closed();
    // After a write that failed the kernel is asked in any case: what the peer said before may have come since the last poll.
    if (transport_.may_try(Direction::read) || transport_.write_error()) {
      const ByteStream::Result result = transport_.try_read(into);
      if (result.status == ByteStream::Status::done) [[likely]]
        return result.bytes;
      if (result.status == ByteStream::Status::end) return end();
      if (result.status == ByteStream::Status::failed) throw_failed();
    }
    throw_if_broken();
    return std::nullopt;
  }

  [[noreturn, gnu::cold]] void throw_failed() {
    transport_.fail(transport_.stream_error());
    std::rethrow_exception(transport_.stream_error());
  }

  /// A call's time begins when it first asks the transport, and is not prolonged by what comes drop by drop.
  void keep_time() {
    if (state_.timeout.is_never()) [[likely]]
      return;
    const TimePoint now = me_.loop().time();
    if (deadline_ == TimePoint::max())
      deadline_ = after(now, state_.timeout);
    else if (now >= deadline_)
      throw_timed_out();
  }

  [[noreturn, gnu::cold]] void throw_timed_out() const {
    throw TimeoutError("read from " + transport_.peer() + " timed out");
  }

  [[gnu::cold]] std::size_t end() {
    throw_if_broken();
    state_.is_at_end = true;
    return 0;
  }

  /// The kernel tells the error that ended a connection once, and a write may have been the one that heard it: what came
  /// before has been read by now.  EPIPE is no such error, for the peer may end before it is answered; nor is a write
  /// that was cut on this side.
  void throw_if_broken() const {
    if (transport_.write_error()) [[unlikely]]
      throw_what_broke();
  }
  [[gnu::cold]] void throw_what_broke() const {
    try {
      std::rethrow_exception(transport_.write_error());
    } catch (const OsError& error) {
      if (error.code().value() != EPIPE && error.code().value() != ECANCELED) throw;
    }
  }

  [[noreturn, gnu::cold]] void throw_closed() const {
    if (transport_.lost_error()) std::rethrow_exception(transport_.lost_error());
    throw_os_error(ECANCELED, "read from " + transport_.peer() + ": the stream was closed on this side");
  }

  class ReadPark final : public Park {
   public:
    ReadPark(StreamTransport& transport, TaskControl& me) : Park(transport.hot_part()), transport_(transport) {
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

  void wait() {
    throw_if_cancelled(me_);
    ReadPark waiting(transport_, me_);
    if (!park_until(waiting, me_, deadline_) && !transport_.may_try(Direction::read) && !transport_.is_closing())
      throw_timed_out();
    __builtin_prefetch(&state_);  // comes while the kernel is asked
  }

  TaskControl& me_;
  ReaderState& state_;
  StreamTransport& transport_;
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
    : stream_(std::move(stream)) {
  stream_->open_reader(limit_bytes);
}
StreamReader::StreamReader(StreamReader&&) noexcept = default;
StreamReader& StreamReader::operator=(StreamReader&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}
StreamReader::~StreamReader() {
  if (stream_) stream_->close_reader();
}

detail::ReaderState* StreamReader::state() const noexcept { return stream_ ? stream_->reader() : nullptr; }

[[gnu::hot]] std::string StreamReader::read(std::size_t n) {
  Reading reading(*stream_, "StreamReader::read");
  detail::ReaderState& state = reading.state();
  if (n == 0) return {};
  if (n == to_eof) {
    while (reading.receive_more(to_eof)) {
    }
    return state.take(to_eof);
  }
  if (!state.buffered().empty()) return state.take(n);
  const std::span<char> memory = reading.memory();
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

[[gnu::hot]] std::size_t StreamReader::read_into(std::span<char> into) {
  Reading reading(*stream_, "StreamReader::read_into");
  detail::ReaderState& state = reading.state();
  if (into.empty()) return 0;
  return state.buffered().empty() ? reading.receive(into) : take_buffered(state, into);
}

std::optional<std::size_t> StreamReader::try_read_into(std::span<char> into) {
  Reading reading(*stream_, "StreamReader::try_read_into");
  detail::ReaderState& state = reading.state();
  if (into.empty()) return 0;
  return state.buffered().empty() ? reading.try_receive(into) : take_buffered(state, into);
}

void StreamReader::wait_readable() {
  Reading reading(*stream_, "StreamReader::wait_readable");
  detail::ReaderState& state = reading.state();
  if (state.buffered().empty()) reading.wait_readable();
}

std::string_view StreamReader::read_view() {
  Reading reading(*stream_, "StreamReader::read_view");
  detail::ReaderState& state = reading.state();
  if (state.view_memory == nullptr) state.view_memory = make_pages(detail::view_bytes);
  const std::span<char> memory(bytes_of(state.view_memory), detail::view_bytes);
  const std::string_view buffered = state.buffered();
  if (buffered.empty()) return {memory.data(), reading.receive(memory)};
  const std::size_t count = buffered.copy(memory.data(), memory.size());
  state.consume(count);
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
  Reading reading(*stream_, "StreamReader::readexactly");
  detail::ReaderState& state = reading.state();
  const std::size_t ahead = state.buffered().size();
  if (into.size() <= ahead + detail::piece_bytes) {  // with what comes behind it
    receive_exactly(reading, state, into.size());
    state.buffered().copy(into.data(), into.size());
    return state.consume(into.size());
  }
  std::size_t filled = state.buffered().copy(into.data(), ahead);
  try {
    while (filled < into.size()) {
      const std::size_t count = reading.receive(into.subspan(filled));
      if (count == 0) break;
      filled += count;
    }
  } catch (...) {  // what has come stays, in the buffer
    state.keep({into.data() + ahead, filled - ahead});
    throw;
  }
  state.consume(ahead);
  if (filled < into.size()) throw IncompleteReadError({into.data(), filled}, into.size());
}

std::string StreamReader::readexactly(std::size_t n) {
  Reading reading(*stream_, "StreamReader::readexactly");
  detail::ReaderState& state = reading.state();
  receive_exactly(reading, state, n);
  return state.take(n);
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
  Reading reading(*stream_, "StreamReader::readline");
  detail::ReaderState& state = reading.state();
  const auto end = find_separator(reading, state, Separators(&end_of_line, 1), options);
  const std::string_view found = state.buffered().substr(0, end.value_or(to_eof));
  line.assign(found);
  state.consume(found.size());
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
  Reading reading(*stream_, "StreamReader::readuntil");
  detail::ReaderState& state = reading.state();
  if (const auto end = find_separator(reading, state, separators, options)) return state.take(*end);
  throw IncompleteReadError(state.take(to_eof), 0);
}

bool StreamReader::at_eof() const noexcept {
  const detail::ReaderState& state = stream_->reader_state();
  return state.is_at_end && state.buffered().empty();
}

void StreamReader::set_read_timeout(Duration timeout) { stream_->reader_state().timeout = timeout; }

}  // namespace tulp
