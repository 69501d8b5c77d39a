// StreamTransport: the one implementation of Transport, over any ByteStream.  Floor 6, transports.
//
// It has two faces.  With a Protocol or a BufferedProtocol it pushes: a pump reads and calls them.  With any other
// protocol (a stream's) nobody reads here: whoever wants bytes pulls them.  Writing, flow control and the end of the
// connection are the same for both.
#pragma once
#include <tulp/event_loop.hpp>
#include <tulp/transport.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "net/file_range.hpp"
#include "transports/byte_stream.hpp"
#include "transports/member_event.hpp"
#include "transports/open_transports.hpp"
#include "transports/pieces.hpp"
#include "transports/water_marks.hpp"
#include "transports/write_queue.hpp"

namespace tulp::detail {

/// Begins a line of the cache.
class alignas(64) GatheredWrites : public Deferred {};

class StreamTransport final : public Transport,
                              public std::enable_shared_from_this<StreamTransport>,
                              public OpenTransport,
                              private GatheredWrites {
 public:
  /// Calls protocol.connection_made in the next iteration, if it is a Protocol or BufferedProtocol, and begins to read
  /// after that.
  static std::shared_ptr<StreamTransport> open(EventLoop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<BaseProtocol> protocol);
  StreamTransport(EventLoop& loop, std::unique_ptr<ByteStream> stream, std::shared_ptr<BaseProtocol> protocol);

  void write(std::string_view data) override;
  void writelines(std::span<const std::string_view> pieces) override;
  void write_eof() override;
  bool can_write_eof() const noexcept override { return stream_->can_write_eof(); }
  /// As write_eof(), with TLS.
  void write_close_notify();
  void close() override;
  void close_without_leave() override;
  void abort() override;
  bool is_closing() const noexcept override { return state_ != State::open; }
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) override;
  std::shared_ptr<BaseProtocol> get_protocol() const override { return protocol_; }
  void pause_reading() override;
  void resume_reading() override;
  bool is_reading() const noexcept override;
  void set_write_buffer_limits(WriteBufferLimits limits) override;
  WriteBufferLimits get_write_buffer_limits() const noexcept override { return marks_.limits(); }
  std::size_t get_write_buffer_size() const noexcept override {
    if (is_lost()) return 0;
    return waiting_bytes() + (file_ != nullptr ? file_->left_bytes() : 0);
  }
  std::any get_extra_info(std::string_view key) const override { return stream_->get_extra_info(key); }

  EventLoop& loop() const noexcept { return loop_; }
  bool can_write() const noexcept { return eof_ != Eof::never_writable; }
  std::string peer() const override { return stream_->peer(); }
  /// For reports: the peer, and the descriptor if it has one of its own.
  std::string place() const {
    const std::any socket = get_extra_info("socket");
    const int* fd = std::any_cast<int>(&socket);
    return fd != nullptr ? peer() + " (descriptor " + std::to_string(*fd) + ")" : peer();
  }
  /// Called once, when connection_lost has run.
  void on_gone(UniqueFunction<void()> callback) { gone_callback_ = std::move(callback); }

  // For those who pull.

  ByteStream::Result try_read(std::span<char> into) noexcept { return stream_->try_read(into); }
  std::exception_ptr stream_error() const { return stream_->error(); }
  bool may_try(Direction direction) const noexcept { return stream_->may_try(direction); }
  /// What each read and write touches.
  const void* hot_part() const noexcept { return static_cast<const GatheredWrites*>(this); }
  /// Queues `reader` once when there may be something to read, or when the transport ends.
  void arm_reader(Runnable& reader) {
    puller_ = &reader;
    stream_->arm(Direction::read, reader);
  }
  void disarm_reader() noexcept {
    puller_ = nullptr;
    if (state_ == State::open) stream_->disarm(Direction::read);
  }
  /// Of the loop; empty before anybody else runs.
  std::span<char> read_buffer() const { return all_.read_buffer(); }
  /// Ends the connection with `error`.
  void fail(std::exception_ptr error);

  /// Queues `data`, to be sent with what else is written before the task parks or the batch ends.
  void gather(std::string_view data);
  /// Whether so much is worth waiting for more.
  bool may_gather(std::size_t bytes) const noexcept {
    constexpr std::size_t gather_bytes = 16 * 1024;
    return feeder_ == nullptr && queue_.size() + bytes < gather_bytes;
  }
  /// Sends what is queued, and then what the kernel takes of `data`; how much of `data` that was.
  std::size_t send(std::string_view data);
  /// The same, in as few system calls as can be; `pieces` then is what was not taken.
  void send(Pieces& pieces);
  /// Nothing that may be sent waits for the end of the turn any more.
  void push() noexcept {
    send_queue();
    settle();
  }
  /// Queues `data` and sends when the kernel is ready.
  void enqueue(std::string_view data);
  void enqueue(Pieces& pieces);
  /// Whoever has more to write than may be queued, and what of it is left.
  struct Feeder {
    Runnable& runnable;
    std::string_view rest;
  };
  /// Queues the feeder once, instead of sending, when the kernel is ready or writing has ended.  To be called when send()
  /// has left something over.  If somebody else writes meanwhile, the rest is queued before that.
  void arm_feeder(Feeder& feeder) noexcept { feeder_ = &feeder; }
  void disarm_feeder(const Feeder& feeder) noexcept {
    if (feeder_ == &feeder) feeder_ = nullptr;  // its place may be taken by now
  }
  std::size_t high_water_bytes() const noexcept { return marks_.high_bytes(); }
  /// Throws: InvalidStateError - after close() or write_eof(), or while a file is being sent.
  void check_writable() const;
  /// Whether neither check_writable() nor check_error() would throw.
  bool is_writable() const noexcept {
    return state_ == State::open && eof_ == Eof::none && sole_user_ == SoleUser::none && !write_error_;
  }
  /// Throws what ended writing, if something has; `operation` is for messages.
  void check_error(const char* operation) const;

  /// From now on nobody else may write, until end_file().  Throws: InvalidStateError - as check_writable().
  void begin_file(const FileRange& file);
  void end_file() noexcept;
  /// Sends what is queued; whether it is worth trying to send more.  If not, a feeder will be queued when it is.
  bool flush();
  /// As ByteStream's, after flush().
  std::optional<ByteStream::Result> try_sendfile(const FileRange& file);

  /// From now on nothing is read or written, until end_upgrade().  Throws: InvalidStateError - as check_writable().
  void begin_upgrade();
  void end_upgrade() noexcept;
  /// In between: what goes on in place of the stream below, and may be made of it.  `replace` leaves that alone if it throws.
  template <class Replace>
  void replace_stream(Replace replace) {
    stream_ = replace(std::move(stream_));
  }
  /// Queues `upgrader` once when the connection has been lost.
  void arm_upgrader(Runnable* upgrader) noexcept { upgrader_ = upgrader; }

  /// What ended the connection; null while it stands, and after a clean end.
  const std::exception_ptr& lost_error() const noexcept { return lost_error_; }
  bool is_lost() const noexcept { return state_ >= State::lost; }
  /// Ended by abort() on this side, with whatever was not sent.
  bool was_aborted() const noexcept { return state_ >= State::lost && !lost_error_ && !is_close_called_; }
  /// What ended writing, or null.
  const std::exception_ptr& write_error() const noexcept { return write_error_; }
  /// A write was cut in the middle: nothing sensible can follow.
  void break_writing(std::exception_ptr error) noexcept;

 private:
  enum class State : std::uint8_t {
    open,
    closing,  // close() was called; the queue is being sent
    lost,     // connection_lost is on its way
    gone,     // connection_lost has run
  };
  enum class Eof : std::uint8_t { none, asked, sent, never_writable };
  /// Who keeps all others from writing.
  enum class SoleUser : std::uint8_t { none, file, upgrade };

  using Event = MemberEvent<StreamTransport>;

  void run_deferred() noexcept override;
  void on_made();
  void on_readable();
  void on_writable();
  void on_lost();

  void choose_face();
  void go_on_reading();
  bool wants_to_read() const noexcept;
  std::span<char> memory_to_read_into();
  void deliver(std::span<char> memory, std::size_t bytes);
  void on_end();
  void on_nobody_reads();
  void watch_for_hang_up();
  void queue_once(Runnable& waiter) noexcept;
  void wake_puller() noexcept;
  void wake_feeder() noexcept;
  void take_over_feeder();
  void end_writing();

  bool may_send() const noexcept { return !is_send_blocked_ && !is_sending_over(); }
  /// Nothing more will be sent, by this process.
  bool is_sending_over() const noexcept { return is_lost() || write_error_ || loop_.belongs_to_parent(); }
  /// Whether on_queue_shrunk() may do anything.
  bool is_anything_to_follow() const noexcept {
    return is_writing_paused_ | (eof_ == Eof::asked) | (state_ == State::closing);
  }
  void send_queue();
  std::size_t try_write(std::span<const iovec> views);
  std::span<const iovec> views_of_queue_and(const Pieces& pieces);
  bool settle() noexcept;
  std::size_t waiting_bytes() const noexcept { return queue_.size() + stream_->unsent_bytes(); }
  void wait_until_writable();
  void on_queue_shrunk();
  void finish();
  void on_write_failed();
  void check_high_water();
  void lose(std::exception_ptr error, ByteStream::Ending ending) noexcept;
  template <class Call>
  std::exception_ptr guarded(const char* method, Call call) noexcept {
    return call_protocol(loop_, protocol_, method, std::move(call));
  }

  // What each read and write touches comes first, in two lines of the cache with GatheredWrites: with thousands of
  // connections that is what they cost beside the system calls.
  EventLoop& loop_;
  std::unique_ptr<ByteStream> stream_;
  State state_ = State::open;
  Eof eof_ = Eof::none;
  SoleUser sole_user_ = SoleUser::none;
  bool is_send_blocked_ = false;  // the kernel took no more; writable_ is armed
  bool is_writing_paused_ = false;
  bool is_close_called_ = false;
  bool is_leave_awaited_ = true;
  bool is_flushing_ = false;  // the kernel did not take at once what close() found
  bool is_made_ = false;      // connection_made has run
  bool may_read_ = false;     // and who waited for it has gone on
  bool is_reading_paused_ = false;
  bool has_peer_ended_ = false;
  ByteStream::Ending ending_ = ByteStream::Ending::orderly;
  Runnable* puller_ = nullptr;  // armed for reading by a stream
  std::exception_ptr write_error_;
  Feeder* feeder_ = nullptr;  // a stream with more to write than may be queued
  OpenTransports& all_;
  WriteQueue queue_;

  WaterMarks marks_;
  const FileRange* file_ = nullptr;  // if that is the sole user
  Runnable* upgrader_ = nullptr;
  std::shared_ptr<BaseProtocol> protocol_;
  Protocol* pushed_ = nullptr;  // protocol_, if that is what it is
  BufferedProtocol* buffered_ = nullptr;
  std::shared_ptr<StreamTransport> self_;  // the loop's ownership, until connection_lost
  UniqueFunction<void()> gone_callback_;
  std::exception_ptr lost_error_;  // what connection_lost will say
  Event made_{*this, &StreamTransport::on_made};
  Event readable_{*this, &StreamTransport::on_readable};
  Event writable_{*this, &StreamTransport::on_writable};
  Event lost_{*this, &StreamTransport::on_lost, Event::AtClose::call};  // connection_lost is never missing
};

}  // namespace tulp::detail
