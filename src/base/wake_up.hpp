// WakeUp: a descriptor that becomes readable when somebody rings.  Floor 1, base.
#pragma once
#include "base/unique_fd.hpp"

namespace tulp {

/// An eventfd, or a pipe where there is none.  What it sleeps for has to lie elsewhere: two rings may be heard as one.
class WakeUp {
 public:
  /// Throws: OsError - no descriptor.
  WakeUp();

  /// To be watched for reading.
  int fd() const noexcept { return heard_.get(); }
  /// Thread: any, and in a signal handler.
  void ring() const noexcept;
  /// Forgets the rings so far.
  void drain() const noexcept;
  /// Whether every ring makes an edge, drained or not.  A pipe fills up, and is silent then.
  bool is_bottomless() const noexcept { return !rung_; }

 private:
  UniqueFd heard_;
  UniqueFd rung_;  // the pipe's other end; an eventfd has but one
};

}  // namespace tulp
