// Drain: reads into a StreamReader's buffer while nobody reads from it.  Floor 8, streams.
#pragma once
#include <tulp/detail/unique_function.hpp>
#include <tulp/event_loop.hpp>

#include <cstdint>
#include <memory>

namespace tulp::detail {

struct ReaderState;

class Drain final : private Runnable {
 public:
  struct End {
    void operator()(Drain* drain) const noexcept { drain->end(); }
  };
  using Pointer = std::unique_ptr<Drain, End>;

  /// Begins in the next iteration, and calls `on_over` when there is nothing more to come.
  static Pointer open(EventLoop& loop, ReaderState& reader, UniqueFunction<void()> on_over);

  bool is_over() const noexcept { return reader_ == nullptr; }

  /// At once, without waiting to hear of it.
  void read_what_is_there() noexcept;

  // By the reader.

  /// A task reads: until go_on() nothing is read here.
  void step_aside() noexcept;
  void go_on() noexcept;
  /// The reader dies.
  void leave() noexcept;

 private:
  Drain(EventLoop& loop, ReaderState& reader, UniqueFunction<void()> on_over);
  ~Drain() = default;
  void end() noexcept;
  void run() noexcept override;
  void discard() noexcept override;
  enum class Piece : std::uint8_t { some, none_yet, last };
  Piece read_piece() noexcept;
  void wait_for_more() noexcept;
  void finish() noexcept;

  EventLoop& loop_;
  ReaderState* reader_;  // until it is over
  UniqueFunction<void()> on_over_;
  bool is_aside_ = false;
  bool is_ended_ = false;  // its owner has gone, and the loop still has it in its queue
};

}  // namespace tulp::detail
