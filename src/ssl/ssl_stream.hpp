// SslStream: TLS over any stream of bytes, which may be TLS itself.  Floor 6, ssl.
#pragma once
#include <tulp/event_loop.hpp>

#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ssl/engine.hpp"
#include "transports/byte_stream.hpp"
#include "transports/member_event.hpp"

namespace tulp::detail {

/// Memory that the TLS streams of a loop use in turn, so that one that is idle has none.
class SslBuffers : public LoopService {
 public:
  static constexpr std::size_t input_bytes = 128 * 1024;
  static constexpr std::size_t record_bytes = 16 * 1024;

  explicit SslBuffers(EventLoop&) {}

  /// Memory for input, until this dies.  A stream below another one gets its own.
  class Input {
   public:
    explicit Input(SslBuffers& buffers);
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;
    ~Input() { buffers_.input_ = std::move(memory_); }
    std::span<char> memory() const noexcept { return {memory_.get(), input_bytes}; }

   private:
    SslBuffers& buffers_;
    std::unique_ptr<char[]> memory_;
  };

  /// Gives `output`, which is empty, memory to grow in.
  void lend(std::string& output) noexcept { output.swap(output_); }
  /// Takes that back, and the other's memory too.
  void take_back(std::string& output) noexcept;
  /// To put small pieces together in, until the next call.
  std::span<char> record();

 private:
  std::unique_ptr<char[]> input_;
  std::unique_ptr<char[]> record_;
  std::string output_;
};

class SslStream final : public ByteStream {
 public:
  /// TLS over `bytes`, in the role that the context has.  The handshake comes first.  If this throws, `bytes` are still the
  /// caller's.
  SslStream(EventLoop& loop, std::unique_ptr<ByteStream>&& bytes, std::shared_ptr<SslContextState> context,
            SslTarget target, Duration shutdown_timeout);
  ~SslStream() override { close(Ending::broken); }

  /// `would_block` until it is done or has failed.
  Result try_handshake() noexcept;
  /// Queues `target` once when it is worth trying again.
  void arm_handshake(Runnable& target);
  void disarm_handshake() noexcept;
  /// What has been read of the peer's bytes before it was known that they are TLS.
  void put_back(std::string_view bytes);

  Result try_read(std::span<char> into) noexcept override;
  Result try_write(std::span<const iovec> views) noexcept override;
  Result push() noexcept override;
  void tell_unsent(Runnable* target) noexcept override { bytes_->tell_unsent(target); }
  std::exception_ptr error() const override { return error_; }
  bool can_write_eof() const noexcept override { return false; }
  /// By write_close_notify() alone.
  void write_eof() noexcept override;
  bool can_outlive_peer() const noexcept override { return false; }
  std::size_t unsent_bytes() const noexcept override { return engine_.output().size() + bytes_->unsent_bytes(); }
  Result try_end() noexcept override;
  void close(Ending ending) noexcept override;
  /// "peercert" (Certificate), "cipher", "version", "alpn" (std::string), "sslcontext" (SslContext), "session_reused"
  /// (bool); "compression" is empty, for there is none.
  std::any get_extra_info(std::string_view key) const override;
  std::string peer() const override { return bytes_->peer(); }

 private:
  using Event = MemberEvent<SslStream>;

  bool do_may_try(Direction direction) const noexcept override;
  void do_arm(Direction direction, Runnable& target) override;
  void do_disarm(Direction direction) noexcept override;

  Status receive(std::span<char> memory, std::size_t most_bytes) noexcept;
  Result decrypt(std::span<char> into) noexcept;
  bool encrypt(std::span<const iovec> views, std::size_t& taken);
  Status flush() noexcept;
  Status flush_in_background() noexcept;
  Result fail_reading(const char* operation) noexcept;
  Result fail_writing() noexcept;
  void look_for_reason() noexcept;
  Result wait_for_peer() noexcept;
  void queue_writer() noexcept;
  void on_writable();
  void on_late();

  EventLoop& loop_;
  SslBuffers& buffers_;
  Runnable* writer_ = nullptr;  // armed for writing, or for the peer's end
  bool may_have_more_ = false;  // what has come has not all been read
  bool is_closed_ = false;
  bool is_late_ = false;  // for the peer's end
  SslEngine engine_;
  std::unique_ptr<ByteStream> bytes_;
  std::exception_ptr error_;  // what failed last: one of these
  std::exception_ptr read_error_;
  std::exception_ptr write_error_;
  Duration shutdown_timeout_;
  std::size_t discarded_bytes_ = 0;
  Event writable_{*this, &SslStream::on_writable};
  Event late_{*this, &SslStream::on_late};
  Timer limit_{late_};
};

}  // namespace tulp::detail
