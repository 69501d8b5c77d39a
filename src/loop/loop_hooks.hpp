// LoopHooks: what a test decides in a loop's place.  Floor 7, loop.
#pragma once
#include <tulp/duration.hpp>

#include <memory>

#include "selector/selector.hpp"

namespace tulp {

class LoopHooks {
 public:
  virtual ~LoopHooks() = default;

  /// What the loop asks in place of `selector`, which it has just made.
  virtual std::unique_ptr<Selector> around(std::unique_ptr<Selector> selector) = 0;
  virtual TimePoint now() const noexcept = 0;
  /// How many batches may run until the next poll, one at least; their time is not limited.
  virtual unsigned batches_before_poll() noexcept = 0;
  /// Whether what other threads have posted is taken over in this poll, or waits for the next.
  virtual bool lets_posts_in() noexcept = 0;
};

}  // namespace tulp
