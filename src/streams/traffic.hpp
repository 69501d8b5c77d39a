// Traffic: what a server's connections have moved.  Floor 8, streams.
#pragma once
#include <tulp/serve.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "transports/byte_stream.hpp"

namespace tulp::detail {

/// Written by one thread, read by any: no read-modify-write, and a cache line of its own.
class alignas(64) Traffic {
 public:
  void on_accepted() noexcept { add(accepted_, 1); }
  void on_closed() noexcept { add(closed_, 1); }
  void on_received(std::size_t bytes) noexcept { add(received_, bytes); }
  void on_sent(std::size_t bytes) noexcept { add(sent_, bytes); }
  void on_cut_off(std::size_t count) noexcept { add(cut_off_, count); }

  ServeStatistics so_far() const noexcept {
    const std::uint64_t closed = closed_.load(std::memory_order_acquire);  // first: it is never ahead of accepted_
    const std::uint64_t accepted = accepted_.load(std::memory_order_relaxed);
    return {.connections_accepted = accepted,
            .connections_open = accepted - closed,
            .bytes_received = received_.load(std::memory_order_relaxed),
            .bytes_sent = sent_.load(std::memory_order_relaxed),
            .cut_off = cut_off_.load(std::memory_order_relaxed)};
  }

 private:
  using Count = std::atomic<std::uint64_t>;
  static void add(Count& count, std::uint64_t more) noexcept {
    count.store(count.load(std::memory_order_relaxed) + more, std::memory_order_release);
  }

  Count accepted_ = 0, closed_ = 0, received_ = 0, sent_ = 0, cut_off_ = 0;
};

/// A connection that is counted.
class CountedStream final : public ByteStream {
 public:
  CountedStream(std::unique_ptr<ByteStream> stream, std::shared_ptr<Traffic> traffic) noexcept
      : ByteStream(stream.get()), stream_(std::move(stream)), traffic_(std::move(traffic)) {
    traffic_->on_accepted();
  }
  ~CountedStream() override { leave(); }

  Result try_read(std::span<char> into) noexcept override {
    const Result result = stream_->try_read(into);
    if (result.status == Status::done) traffic_->on_received(result.bytes);
    return result;
  }
  Result try_write(std::span<const iovec> views) noexcept override {
    const Result result = stream_->try_write(views);
    if (result.status == Status::done) traffic_->on_sent(result.bytes);
    return result;
  }
  std::optional<Result> try_sendfile(int file, off_t offset, std::size_t most) noexcept override {
    const std::optional<Result> result = stream_->try_sendfile(file, offset, most);
    if (result && result->status == Status::done) traffic_->on_sent(result->bytes);
    return result;
  }
  Result push() noexcept override { return stream_->push(); }
  void tell_unsent(Runnable* target) noexcept override { stream_->tell_unsent(target); }
  void close(Ending ending) noexcept override {
    stream_->close(ending);
    leave();
  }

  std::exception_ptr error() const override { return stream_->error(); }
  HangUp look_for_hang_up() noexcept override { return stream_->look_for_hang_up(); }
  void arm_hang_up(Runnable& target) override { stream_->arm_hang_up(target); }
  bool can_read() const noexcept override { return stream_->can_read(); }
  bool can_write() const noexcept override { return stream_->can_write(); }
  bool can_write_eof() const noexcept override { return stream_->can_write_eof(); }
  void write_eof() noexcept override { stream_->write_eof(); }
  bool can_outlive_peer() const noexcept override { return stream_->can_outlive_peer(); }
  std::size_t unsent_bytes() const noexcept override { return stream_->unsent_bytes(); }
  Result try_end() noexcept override { return stream_->try_end(); }
  std::any get_extra_info(std::string_view key) const override { return stream_->get_extra_info(key); }
  std::string peer() const override { return stream_->peer(); }

 private:
  bool do_may_try(Direction direction) const noexcept override { return stream_->may_try(direction); }
  void do_arm(Direction direction, Runnable& target) override { stream_->arm(direction, target); }
  void do_disarm(Direction direction) noexcept override { stream_->disarm(direction); }

  void leave() noexcept {
    if (!std::exchange(is_closed_, true)) traffic_->on_closed();
  }

  std::unique_ptr<ByteStream> stream_;
  std::shared_ptr<Traffic> traffic_;
  bool is_closed_ = false;
};

}  // namespace tulp::detail
