#include "ssl/ssl_stream.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <tulp/error.hpp>

namespace tulp::detail {
namespace {

/// What a record has beside its data, at most (RFC 8446, section 5.2).
constexpr std::size_t overhead_bytes = 512;
/// How much is encrypted before any of it is sent.
constexpr std::size_t most_encrypted_bytes = 128 * 1024;
/// How often a peer that sends what are no data is read from, before others have their turn.
constexpr int most_turns = 16;

}  // namespace

// Memory.

SslBuffers::Input::Input(SslBuffers& buffers) : buffers_(buffers), memory_(std::move(buffers.input_)) {
  if (memory_ == nullptr) memory_ = std::make_unique_for_overwrite<char[]>(input_bytes);
}

void SslBuffers::take_back(std::string& output) noexcept {
  output.clear();
  if (output.capacity() > output_.capacity()) output.swap(output_);
  if (output_.capacity() > 2 * most_encrypted_bytes) std::string().swap(output_);
  std::string().swap(output);
}

std::span<char> SslBuffers::record() {
  if (record_ == nullptr) record_ = std::make_unique_for_overwrite<char[]>(record_bytes);
  return {record_.get(), record_bytes};
}

// Beginning.

SslStream::SslStream(EventLoop& loop, std::unique_ptr<ByteStream>&& bytes, std::shared_ptr<SslContextState> context,
                     SslTarget target, Duration shutdown_timeout)
    : loop_(loop),
      buffers_(loop.service<SslBuffers>()),
      engine_(std::move(context), std::move(target)),
      bytes_(std::move(bytes)),
      shutdown_timeout_(shutdown_timeout) {}

void SslStream::put_back(std::string_view bytes) {
  engine_.receive(bytes);
  engine_.keep_input();
}

ByteStream::Result SslStream::try_handshake() noexcept {
  if (is_closed_) return {Status::failed};
  const SslBuffers::Input input(buffers_);
  Result result{Status::done};
  for (;;) {
    const SslEngine::Status status = engine_.handshake();
    result.status = flush();
    if (status == SslEngine::Status::failed) {
      // The peer shall hear why, before its end of the connection is all that is left of that.
      if (result.status != Status::would_block) result = fail_reading("TLS handshake with");
    } else if (result.status == Status::failed) {
      result = fail_writing();
      try {
        std::rethrow_exception(error_);
      } catch (const BrokenPipeError&) {  // the same, seen from the other direction
        error_ = make_os_error(ECONNRESET, "TLS handshake with " + peer());
      } catch (...) {
      }
    } else if (result.status == Status::done && status == SslEngine::Status::wants_input) {
      result.status = receive(input.memory(), SslBuffers::record_bytes);
      if (result.status == Status::done) continue;
    }
    break;
  }
  engine_.keep_input();
  may_have_more_ = engine_.has_input();
  return result;
}

void SslStream::arm_handshake(Runnable& target) {
  if (!engine_.output().empty())
    bytes_->arm(Direction::write, target);
  else if (!bytes_->may_try(Direction::read))
    bytes_->arm(Direction::read, target);
  else if (!target.is_queued())
    loop_.post(target);
}

void SslStream::disarm_handshake() noexcept {
  if (is_closed_) return;
  bytes_->disarm(Direction::read);
  bytes_->disarm(Direction::write);
}

// Reading.

bool SslStream::do_may_try(Direction direction) const noexcept {
  if (direction == Direction::write) return engine_.output().empty() && bytes_->may_try(Direction::write);
  return may_have_more_ || bytes_->may_try(Direction::read);
}

/// Gives the engine what the peer has sent.
ByteStream::Status SslStream::receive(std::span<char> memory, std::size_t most_bytes) noexcept {
  if (!bytes_->may_try(Direction::read)) return Status::would_block;
  const Result got = bytes_->try_read(memory.first(std::min(most_bytes, memory.size())));
  if (got.status == Status::done) engine_.receive({memory.data(), got.bytes});
  if (got.status == Status::end) {
    engine_.receive_end();
    return Status::done;
  }
  if (got.status == Status::failed) error_ = read_error_ = bytes_->error();
  return got.status;
}

ByteStream::Result SslStream::try_read(std::span<char> into) noexcept {
  if (read_error_) {
    error_ = read_error_;
    return {Status::failed};
  }
  Result result{Status::would_block};
  if (may_have_more_) result = decrypt(into);
  if (result.status == Status::would_block) {
    const SslBuffers::Input input(buffers_);
    const std::size_t most_bytes = std::max(into.size(), SslBuffers::record_bytes) + overhead_bytes;
    for (int turn = 0; turn < most_turns && result.status == Status::would_block; ++turn) {
      const Status received = receive(input.memory(), most_bytes);
      if (received != Status::done) {
        result.status = received;
        break;
      }
      result = decrypt(into);
    }
    engine_.keep_input();
  }
  if (!engine_.output().empty()) flush_in_background();  // an answer of the protocol's own
  return result;
}

ByteStream::Result SslStream::decrypt(std::span<char> into) noexcept {
  const SslEngine::Result result = engine_.read(into);
  const bool is_over = engine_.state() == SslEngine::State::failed || engine_.state() == SslEngine::State::peer_ended ||
                       engine_.state() == SslEngine::State::ended;
  may_have_more_ = result.status == SslEngine::Status::done &&
                   (result.bytes == into.size() || engine_.has_input() || engine_.has_input_ended() || is_over);
  switch (result.status) {
    case SslEngine::Status::done: return {Status::done, result.bytes};
    case SslEngine::Status::wants_input: return {Status::would_block};
    case SslEngine::Status::end: return {Status::end};
    case SslEngine::Status::failed: break;
  }
  if (engine_.is_truncated() && engine_.context()->accepts_truncation()) return {Status::end};
  return fail_reading("read from");
}

/// The peer hears of it, if it listens.
ByteStream::Result SslStream::fail_reading(const char* operation) noexcept {
  const std::string what = std::string(operation) + ' ' + peer();
  if (engine_.has_input_ended() && engine_.is_truncated() && *operation == 'T')
    read_error_ = make_os_error(ECONNRESET, what + ": the peer ended the connection");
  else
    read_error_ = engine_.failure().to_exception(what);
  error_ = read_error_;
  flush();
  return {Status::failed};
}

// Writing.

ByteStream::Result SslStream::try_write(std::span<const iovec> views) noexcept {
  if (write_error_) {
    error_ = write_error_;
    return {Status::failed};
  }
  const Status flushed = flush();
  if (flushed == Status::failed) return fail_writing();
  if (flushed == Status::would_block) return {Status::would_block};
  buffers_.lend(engine_.output());
  std::size_t taken = 0;
  if (!encrypt(views, taken)) {
    error_ = write_error_ = read_error_ ? read_error_ : engine_.failure().to_exception("write to " + peer());
    return {Status::failed};
  }
  if (flush() == Status::failed) return fail_writing();
  if (!engine_.output().empty()) flush_in_background();
  return {Status::done, taken};
}

ByteStream::Result SslStream::push() noexcept {
  if (is_closed_) return {Status::done};
  if (write_error_) {
    error_ = write_error_;
    return {Status::failed};
  }
  const Result result = bytes_->push();
  if (result.status != Status::failed) return result;
  if (engine_.state() == SslEngine::State::ending || engine_.state() == SslEngine::State::ended)
    return {Status::done};  // what came before has been sent, and nobody heard the farewell
  return fail_writing();
}

/// Small views share a record.
bool SslStream::encrypt(std::span<const iovec> views, std::size_t& taken) {
  std::size_t at = 0;  // in the first view
  const auto rest = [&] {
    return std::string_view(static_cast<const char*>(views.front().iov_base), views.front().iov_len).substr(at);
  };
  const auto advance = [&](std::size_t count) {
    at += count;
    if (at == views.front().iov_len) {
      views = views.subspan(1);
      at = 0;
    }
  };
  while (!views.empty() && taken < most_encrypted_bytes) {
    std::string_view data = rest().substr(0, most_encrypted_bytes - taken);
    if (views.size() == 1 || data.size() >= SslBuffers::record_bytes) {
      advance(data.size());
    } else {
      const std::span<char> record = buffers_.record();
      std::size_t size = 0;
      while (!views.empty() && size < record.size()) {
        const std::size_t count = rest().copy(record.data() + size, record.size() - size);
        size += count;
        advance(count);
      }
      data = {record.data(), size};
    }
    if (engine_.write(data).status != SslEngine::Status::done) return false;
    taken += data.size();
  }
  return true;
}

/// Sends what the engine has to say.
ByteStream::Status SslStream::flush() noexcept {
  std::string& output = engine_.output();
  while (!output.empty()) {
    if (!bytes_->may_try(Direction::write)) return Status::would_block;
    const iovec view{output.data(), output.size()};
    const Result sent = bytes_->try_write({&view, 1});
    if (sent.status != Status::done) return sent.status;
    output.erase(0, sent.bytes);
  }
  buffers_.take_back(output);
  return Status::done;
}

void SslStream::write_eof() noexcept {
  if (push().status == Status::failed) return;
  engine_.write_end();
  flush_in_background();
}

/// A failure shows in the next write.
ByteStream::Status SslStream::flush_in_background() noexcept {
  if (is_closed_) return Status::failed;
  const Status status = flush();
  if (status == Status::would_block) bytes_->arm(Direction::write, writable_);
  return status;
}

/// The peer may have said why, before it broke the connection.
ByteStream::Result SslStream::fail_writing() noexcept {
  write_error_ = bytes_->error();
  look_for_reason();
  engine_.output().clear();
  error_ = write_error_;
  return {Status::failed};
}

void SslStream::look_for_reason() noexcept {
  {
    const SslBuffers::Input input(buffers_);
    for (int turn = 0; turn < most_turns && !read_error_; ++turn) {
      const bool has_come = receive(input.memory(), SslBuffers::record_bytes) == Status::done;
      engine_.keep_input();
      if (!has_come || engine_.has_input_ended()) break;
    }
  }
  may_have_more_ = true;
  if (!engine_.look_ahead() && !engine_.is_truncated())
    write_error_ = engine_.failure().to_exception("write to " + peer());
}

void SslStream::on_writable() {
  if (flush_in_background() != Status::would_block) queue_writer();
}

void SslStream::queue_writer() noexcept {
  if (writer_ == nullptr) return;
  Runnable& writer = *std::exchange(writer_, nullptr);
  if (!writer.is_queued()) loop_.post(writer);
}

// Waiting.

void SslStream::do_arm(Direction direction, Runnable& target) {
  const bool is_ready = may_try(Direction::read);
  const bool waits_for_peer = direction == Direction::write && engine_.output().empty() &&
                              engine_.state() == SslEngine::State::ending && !is_late_;
  if (direction == Direction::write) writer_ = &target;
  if (direction == Direction::write && !waits_for_peer) {
    bytes_->arm(Direction::write, writable_);
  } else if (is_ready) {
    if (!target.is_queued()) loop_.post(target);
  } else {
    bytes_->arm(Direction::read, target);
  }
}

void SslStream::do_disarm(Direction direction) noexcept {
  if (is_closed_) return;
  if (direction == Direction::read) return bytes_->disarm(Direction::read);
  writer_ = nullptr;
  loop_.stop_timer(limit_);
  bytes_->disarm(Direction::write);
  if (engine_.state() == SslEngine::State::ending) bytes_->disarm(Direction::read);
}

// Ending.

/// Tells the peer, and waits for it to do the same.
ByteStream::Result SslStream::try_end() noexcept {
  if (loop_.belongs_to_parent()) return {Status::done};
  Status flushed = flush();
  if (flushed == Status::done) flushed = push().status;
  if (flushed == Status::failed && engine_.state() != SslEngine::State::failed) return fail_writing();
  if (flushed == Status::would_block) return {flushed};
  engine_.write_end();
  if (engine_.state() == SslEngine::State::ending || engine_.state() == SslEngine::State::ended) {
    const Status told = flush();
    if (told == Status::would_block) return {told};
    if (told == Status::failed || bytes_->push().status == Status::failed) {  // the peer has gone before
      loop_.stop_timer(limit_);
      return {Status::done};
    }
    if (told == Status::done && engine_.state() == SslEngine::State::ending) {
      const Result waited = wait_for_peer();
      if (waited.status == Status::would_block) return waited;
    }
  }
  loop_.stop_timer(limit_);
  return bytes_->try_end();
}

/// Throws away what comes; whatever ends that will do, for all has been written.
ByteStream::Result SslStream::wait_for_peer() noexcept {
  constexpr std::size_t most_discarded_bytes = 16 * 1024 * 1024;
  if (is_late_ || shutdown_timeout_ <= Duration::zero()) return {Status::done};
  if (!limit_.is_scheduled() && !shutdown_timeout_.is_never()) {
    limit_.set_when(after(loop_.time(), shutdown_timeout_));
    loop_.start_timer(limit_);
  }
  const SslBuffers::Input input(buffers_);
  for (int turn = 0; turn < most_turns && discarded_bytes_ < most_discarded_bytes; ++turn) {
    const Result result = may_try(Direction::read) ? try_read(input.memory()) : Result{Status::would_block};
    if (result.status == Status::would_block) return result;
    if (result.status != Status::done) return {Status::done};
    discarded_bytes_ += result.bytes;
  }
  return {discarded_bytes_ < most_discarded_bytes ? Status::would_block : Status::done};
}

void SslStream::on_late() {
  is_late_ = true;
  queue_writer();
}

/// Where an alert has been sent, the peer shall be able to read it.
void SslStream::close(Ending ending) noexcept {
  if (std::exchange(is_closed_, true)) return;
  loop_.stop_timer(limit_);
  if (ending == Ending::broken && engine_.state() == SslEngine::State::failed) ending = Ending::orderly;
  bytes_->close(ending);
}

std::any SslStream::get_extra_info(std::string_view key) const {
  if (key == "cipher") return engine_.cipher();
  if (key == "version") return engine_.version();
  if (key == "alpn") return engine_.alpn();
  if (key == "sslcontext") return SslContext(engine_.context());
  if (key == "session_reused") return engine_.is_session_reused();
  if (key == "compression") return {};
  if (key != "peercert") return bytes_->get_extra_info(key);
  if (auto certificate = engine_.peer_certificate()) return *std::move(certificate);
  return {};
}

}  // namespace tulp::detail
