// Turns: one task at a time, in the order in which they came.  Floor 8, streams.
#pragma once
#include <tulp/detail/wait_queue.hpp>

namespace tulp::detail {

class Turns {
 public:
  class Turn {
   public:
    /// Parks: until it is this task's turn.
    explicit Turn(Turns& turns) : turns_(turns) {
      if (turns_.is_taken_) turns_.waiting_.wait("its turn to write");  // whoever wakes us hands the turn over
      turns_.is_taken_ = true;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      turns_.is_taken_ = !turns_.waiting_.empty();
      if (turns_.is_taken_) turns_.waiting_.wake_one();
    }

   private:
    Turns& turns_;
  };

  /// Whether somebody has a turn, or waits for it.
  bool is_taken() const noexcept { return is_taken_; }

 private:
  bool is_taken_ = false;
  WaitQueue waiting_;
};

}  // namespace tulp::detail
