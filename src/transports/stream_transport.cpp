#include "transports/stream_transport.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <tulp/detail/block_pool.hpp>
#include <tulp/error.hpp>

namespace tulp::detail {
// Beginning.

StreamTransport::StreamTransport(EventLoop& loop, std::unique_ptr<ByteStream> stream,
                                 std::shared_ptr<BaseProtocol> protocol)
    : loop_(loop),
      stream_(std::move(stream)),
      all_(loop.service<OpenTransports>()),
      queue_(all_.spare_memory()),
      protocol_(std::move(protocol)) {
  if (!stream_->can_write()) eof_ = Eof::never_writable;
  stream_->tell_unsent(&writable_);
  choose_face();
}

std::shared_ptr<StreamTransport> StreamTransport::open(EventLoop& loop, std::unique_ptr<ByteStream> stream,
                                                       std::shared_ptr<BaseProtocol> protocol) {
  if (protocol == nullptr) throw std::invalid_argument("the protocol factory returned null");
  auto transport = std::allocate_shared<StreamTransport>(PoolAllocator<StreamTransport>(), loop, std::move(stream),
                                                         std::move(protocol));
  transport->all_.add(*transport);
  transport->self_ = transport;
  if (transport->pushed_ != nullptr || transport->buffered_ != nullptr) {
    loop.post(transport->made_);
  } else {
    transport->may_read_ = true;
    transport->go_on_reading();
  }
  return transport;
}

void StreamTransport::choose_face() {
  pushed_ = dynamic_cast<Protocol*>(protocol_.get());
  buffered_ = dynamic_cast<BufferedProtocol*>(protocol_.get());
}

void StreamTransport::set_protocol(std::shared_ptr<BaseProtocol> protocol) {
  if (protocol == nullptr) throw std::invalid_argument("set_protocol: null");
  protocol_ = std::move(protocol);
  choose_face();
  go_on_reading();
}

/// In two turns: whoever waits for connection_made goes on before there are data.
void StreamTransport::on_made() {
  if (is_made_) {
    may_read_ = true;
    return go_on_reading();
  }
  if (state_ == State::gone) return;
  is_made_ = true;
  const auto error = guarded("connection_made", [this] {
    if (buffered_ != nullptr)
      buffered_->connection_made(shared_from_this());
    else
      pushed_->connection_made(shared_from_this());
  });
  if (error) return lose(error, ByteStream::Ending::reset);
  if (state_ == State::open) loop_.post(made_);  // and thus before lost_, after which nothing may stand in the queue
}

// Reading, for protocols: one piece in each turn.

/// A pipe for writing is watched for its end.
bool StreamTransport::wants_to_read() const noexcept {
  const bool is_watched = !stream_->can_read() && state_ == State::open && !has_peer_ended_;
  return may_read_ && sole_user_ != SoleUser::upgrade && (is_watched || is_reading());
}

bool StreamTransport::is_reading() const noexcept {
  return state_ == State::open && !is_reading_paused_ && !has_peer_ended_ &&
         (pushed_ != nullptr || buffered_ != nullptr);
}

void StreamTransport::pause_reading() {
  is_reading_paused_ = true;
  if (puller_ == nullptr && state_ == State::open && !has_peer_ended_) stream_->disarm(Direction::read);
}

void StreamTransport::resume_reading() {
  is_reading_paused_ = false;
  go_on_reading();
}

void StreamTransport::go_on_reading() {
  if (!wants_to_read() || readable_.is_queued()) return;
  if (stream_->may_try(Direction::read))
    loop_.post(readable_);
  else
    stream_->arm(Direction::read, readable_);
}

void StreamTransport::on_readable() {
  if (has_peer_ended_) return watch_for_hang_up();
  if (!wants_to_read()) return;
  const std::span<char> memory = memory_to_read_into();
  if (memory.empty() || !wants_to_read()) return;
  const ByteStream::Result result = stream_->try_read(memory);
  switch (result.status) {
    case ByteStream::Status::done: deliver(memory, result.bytes); break;
    case ByteStream::Status::would_block: break;
    case ByteStream::Status::end: return on_end();
    case ByteStream::Status::failed: return fail(stream_->error());
  }
  go_on_reading();
}

/// Empty if the protocol gives none, which ends the connection.
std::span<char> StreamTransport::memory_to_read_into() {
  if (buffered_ == nullptr || !stream_->can_read()) return read_buffer();
  std::span<char> memory;
  auto error = guarded("get_buffer", [&] {
    memory = buffered_->get_buffer(OpenTransports::read_buffer_bytes);
    if (memory.empty()) throw InvalidStateError("get_buffer() returned an empty buffer");
  });
  if (error == nullptr) return memory;
  fail(std::move(error));
  return {};
}

void StreamTransport::deliver(std::span<char> memory, std::size_t bytes) {
  auto error = guarded(buffered_ != nullptr ? "buffer_updated" : "data_received", [&] {
    if (buffered_ != nullptr)
      buffered_->buffer_updated(bytes);
    else
      pushed_->data_received({memory.data(), bytes});
  });
  if (error) fail(std::move(error));
}

void StreamTransport::on_end() {
  has_peer_ended_ = true;
  if (!stream_->can_read()) return on_nobody_reads();
  bool keeps_writing = false;
  auto error = guarded("eof_received", [&] {
    keeps_writing = buffered_ != nullptr ? buffered_->eof_received() : pushed_->eof_received();
  });
  if (error) return fail(std::move(error));
  if (!keeps_writing || !stream_->can_write() || !stream_->can_outlive_peer()) return close();
  watch_for_hang_up();
}

/// At the other end of a pipe for writing.
void StreamTransport::on_nobody_reads() {
  write_error_ = make_os_error(EPIPE, "write to " + peer());
  lose(queue_.empty() ? nullptr : write_error_, ByteStream::Ending::broken);
}

/// The peer sends no more, but it may still break the connection, or go without having read.
void StreamTransport::watch_for_hang_up() {
  if (state_ != State::open) return;
  const ByteStream::HangUp hang_up = stream_->look_for_hang_up();
  if (hang_up == ByteStream::HangUp::none) return stream_->arm_hang_up(readable_);
  if (hang_up == ByteStream::HangUp::error || eof_ != Eof::sent) fail(stream_->error());
}

// Reading, for streams.

void StreamTransport::queue_once(Runnable& waiter) noexcept {
  if (!waiter.is_queued()) loop_.post(waiter);
}

void StreamTransport::wake_puller() noexcept {
  if (puller_ != nullptr) queue_once(*std::exchange(puller_, nullptr));
}

// Writing.

void StreamTransport::check_writable() const {
  if (eof_ == Eof::never_writable) throw InvalidStateError("write() to a transport that can only be read");
  if (eof_ != Eof::none) throw InvalidStateError("write() after write_eof()");
  if (is_close_called_) throw InvalidStateError("write() after close()");
  if (sole_user_ == SoleUser::file) throw InvalidStateError("write() while a file is being sent");
  if (sole_user_ == SoleUser::upgrade) throw InvalidStateError("write() during start_tls()");
}

void StreamTransport::check_error(const char* operation) const {
  if (write_error_) std::rethrow_exception(write_error_);
  if (lost_error_) std::rethrow_exception(lost_error_);
  if (was_aborted())
    throw_os_error(ECANCELED, std::string(operation) + " to " + peer() + ": the connection was aborted on this side");
}

/// It stays armed until its turn: whoever writes before that must still come behind it.
void StreamTransport::wake_feeder() noexcept {
  if (feeder_ != nullptr) queue_once(feeder_->runnable);
}

/// What a task is still feeding comes before what is written now.
void StreamTransport::take_over_feeder() {
  if (feeder_ == nullptr) return;
  queue_.append(std::exchange(feeder_->rest, {}));
  wake_feeder();
  feeder_ = nullptr;
}

void StreamTransport::write(std::string_view data) {
  const std::string_view pieces[] = {data};
  writelines(pieces);
}

void StreamTransport::writelines(std::span<const std::string_view> pieces) {
  check_writable();
  if (state_ != State::open || write_error_) return drop_write(loop_, "write");
  take_over_feeder();
  Pieces rest(pieces);
  send(rest);
  enqueue(rest);
}

/// What is queued goes on its way; what the kernel does not take now waits until it does.
[[gnu::hot]] void StreamTransport::send_queue() {
  while (!queue_.empty() && may_send()) {
    const iovec view = to_iovec(queue_.view());
    queue_.consume(try_write({&view, 1}));
  }
  if (is_anything_to_follow() && !is_sending_over()) on_queue_shrunk();
}

std::size_t StreamTransport::send(std::string_view data) {
  const std::string_view pieces[] = {data};
  Pieces rest(pieces);
  send(rest);
  return data.size() - (rest.empty() ? 0 : rest.front().size());
}

void StreamTransport::send(Pieces& pieces) {
  while (may_send() && (!queue_.empty() || !pieces.empty())) {
    const std::size_t sent = try_write(views_of_queue_and(pieces));
    const std::size_t queued = std::min(sent, queue_.size());
    queue_.consume(queued);
    pieces.consume(sent - queued);
  }
  if (is_sending_over()) return pieces.consume_all();
  on_queue_shrunk();
}

/// As many as one system call takes.
std::span<const iovec> StreamTransport::views_of_queue_and(const Pieces& pieces) {
  const std::span<iovec> views = all_.views();
  const std::size_t queue_count = queue_.empty() ? 0 : 1;
  if (queue_count != 0) views[0] = to_iovec(queue_.view());
  return views.first(queue_count + pieces.put_into(views.subspan(queue_count)));
}

/// How much the kernel takes.  None if that has to wait, or has failed.
[[gnu::hot]] std::size_t StreamTransport::try_write(std::span<const iovec> views) {
  ByteStream::Result result{ByteStream::Status::would_block};
  if (stream_->may_try(Direction::write)) result = stream_->try_write(views);
  if (result.status == ByteStream::Status::done) [[likely]]
    return result.bytes;
  if (result.status == ByteStream::Status::failed)
    on_write_failed();
  else
    wait_until_writable();
  return 0;
}

[[gnu::hot]] void StreamTransport::gather(std::string_view data) {
  queue_.append(data);
  if (!is_send_blocked_ && !ListHook<Deferred>::is_linked()) loop_.defer(*this);
}

void StreamTransport::enqueue(std::string_view data) {
  const std::string_view pieces[] = {data};
  Pieces rest(pieces);
  enqueue(rest);
}

void StreamTransport::enqueue(Pieces& pieces) {
  if (pieces.empty() || state_ == State::lost || state_ == State::gone || write_error_) return;
  take_over_feeder();
  for (; !pieces.empty(); pieces.consume_front()) queue_.append(pieces.front());
  check_high_water();
}

[[gnu::hot]] void StreamTransport::run_deferred() noexcept { send_queue(); }

void StreamTransport::wait_until_writable() {
  is_send_blocked_ = true;
  stream_->arm(Direction::write, writable_);
}

/// Hears of what the stream has taken and could not send; whether there is no such thing.
bool StreamTransport::settle() noexcept {
  if (is_lost() || write_error_) return false;
  const ByteStream::Result result = stream_->push();
  if (result.status == ByteStream::Status::failed) on_write_failed();
  if (result.status == ByteStream::Status::would_block) {
    wait_until_writable();
    check_high_water();
  }
  return result.status == ByteStream::Status::done;
}

void StreamTransport::on_writable() {
  if (!settle()) return;
  is_send_blocked_ = false;
  if (feeder_ != nullptr) return wake_feeder();
  send_queue();
}

/// What had to wait for bytes to go.
void StreamTransport::on_queue_shrunk() {
  if (protocol_ == nullptr) return;
  if (is_writing_paused_ && sole_user_ != SoleUser::file && waiting_bytes() <= marks_.low_bytes()) {
    is_writing_paused_ = false;
    guarded("resume_writing", [this] { protocol_->resume_writing(); });
  }
  if (!queue_.empty() || feeder_ != nullptr || sole_user_ == SoleUser::file) return;
  if (eof_ == Eof::asked) {
    eof_ = Eof::sent;
    stream_->write_eof();
  }
  if (state_ == State::closing) finish();
}

/// Everything has been written.
void StreamTransport::finish() {
  const ByteStream::Result result = stream_->try_end();
  if (result.status == ByteStream::Status::failed) return on_write_failed();
  if (result.status == ByteStream::Status::would_block && (is_leave_awaited_ || stream_->unsent_bytes() > 0))
    return wait_until_writable();
  lose(nullptr, is_flushing_ ? ByteStream::Ending::slow : ByteStream::Ending::orderly);
}

void StreamTransport::check_high_water() {
  if (is_writing_paused_ || waiting_bytes() <= marks_.high_bytes() || protocol_ == nullptr) return;
  is_writing_paused_ = true;
  guarded("pause_writing", [this] { protocol_->pause_writing(); });
}

void StreamTransport::set_write_buffer_limits(WriteBufferLimits limits) {
  marks_.set(limits);
  on_queue_shrunk();
  check_high_water();
}

void StreamTransport::write_eof() {
  if (state_ != State::open || eof_ != Eof::none) return;
  if (!stream_->can_outlive_peer()) throw InvalidStateError("write_eof() on TLS, of which one half cannot be closed");
  if (!stream_->can_read()) return close();
  end_writing();
}

void StreamTransport::write_close_notify() {
  if (stream_->can_outlive_peer()) throw InvalidStateError("write_close_notify() on a connection without TLS");
  if (state_ == State::open && eof_ == Eof::none) end_writing();
}

void StreamTransport::end_writing() {
  take_over_feeder();
  eof_ = Eof::asked;
  send_queue();
}

// Files.

void StreamTransport::begin_file(const FileRange& file) {
  check_writable();
  if (state_ != State::open) throw InvalidStateError("sendfile() after close()");
  take_over_feeder();
  sole_user_ = SoleUser::file;
  file_ = &file;
}

void StreamTransport::end_file() noexcept {
  sole_user_ = SoleUser::none;
  file_ = nullptr;
  if (state_ == State::closing && write_error_) return lose(write_error_, ByteStream::Ending::reset);
  if (state_ == State::open || state_ == State::closing) on_queue_shrunk();
}

bool StreamTransport::flush() {
  send_queue();
  if (!queue_.empty() || is_send_blocked_ || is_lost()) return false;
  if (stream_->may_try(Direction::write)) return true;
  wait_until_writable();
  return false;
}

std::optional<ByteStream::Result> StreamTransport::try_sendfile(const FileRange& file) {
  const auto result = stream_->try_sendfile(file.file(), file.position(), file.next_chunk_bytes());
  if (result && result->status == ByteStream::Status::failed) on_write_failed();
  if (result && result->status == ByteStream::Status::would_block) wait_until_writable();
  return result;
}

// Going on in another way.

void StreamTransport::begin_upgrade() {
  check_writable();
  if (state_ != State::open || has_peer_ended_ || !stream_->can_read())
    throw InvalidStateError("start_tls() on a connection that has ended, or goes one way");
  take_over_feeder();
  sole_user_ = SoleUser::upgrade;
  stream_->disarm(Direction::read);
}

void StreamTransport::end_upgrade() noexcept {
  sole_user_ = SoleUser::none;
  upgrader_ = nullptr;
  if (state_ == State::open) go_on_reading();
}

// Ending.

/// A protocol hears at once.  A stream may still have bytes to read that came before: its writes alone fail.
void StreamTransport::on_write_failed() {
  write_error_ = stream_->error();
  queue_.clear();
  if (state_ == State::closing || pushed_ != nullptr || buffered_ != nullptr) return fail(write_error_);
  is_writing_paused_ = false;
  wake_puller();
  wake_feeder();
  guarded("resume_writing", [this] { protocol_->resume_writing(); });
}

void StreamTransport::break_writing(std::exception_ptr error) noexcept { write_error_ = std::move(error); }

void StreamTransport::fail(std::exception_ptr error) { lose(std::move(error), ByteStream::Ending::broken); }

void StreamTransport::close() {
  is_close_called_ = true;
  if (state_ != State::open) return;
  if (write_error_) return lose(write_error_, ByteStream::Ending::reset);
  take_over_feeder();
  state_ = State::closing;
  stream_->disarm(Direction::read);
  wake_puller();
  send_queue();
  is_flushing_ = state_ == State::closing && get_write_buffer_size() > 0;
}

void StreamTransport::close_without_leave() {
  is_leave_awaited_ = false;
  if (state_ != State::closing) return close();
  if (queue_.empty() && sole_user_ != SoleUser::file) finish();
}

void StreamTransport::abort() { lose(nullptr, ByteStream::Ending::reset); }

/// The only way to the end.
void StreamTransport::lose(std::exception_ptr error, ByteStream::Ending ending) noexcept {
  if (state_ == State::lost || state_ == State::gone) return;
  state_ = State::lost;
  lost_error_ = std::move(error);
  ending_ = ending;
  queue_.clear();
  ListHook<Deferred>::unlink();
  stream_->disarm(Direction::read);
  stream_->disarm(Direction::write);
  stream_->tell_unsent(nullptr);
  wake_puller();
  wake_feeder();
  if (upgrader_ != nullptr) queue_once(*std::exchange(upgrader_, nullptr));
  loop_.post(lost_);
}

void StreamTransport::on_lost() {
  const auto self = std::move(self_);
  state_ = State::gone;
  guarded("connection_lost", [this] { protocol_->connection_lost(lost_error_); });
  stream_->close(ending_);
  ListHook<OpenTransport>::unlink();
  pushed_ = nullptr;
  buffered_ = nullptr;
  protocol_ = nullptr;
  if (gone_callback_) std::exchange(gone_callback_, nullptr)();
}

}  // namespace tulp::detail
