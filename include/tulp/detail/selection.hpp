// Selection: a task that waits for one of several things.  Floor 6, sync.
#pragma once
#include <tulp/detail/task_control.hpp>

#include <cstddef>
#include <span>

namespace tulp::detail {

class Selection;

/// One of the things.
class Alternative {
 public:
  Alternative() = default;
  Alternative(const Alternative&) = delete;
  Alternative& operator=(const Alternative&) = delete;

  /// Takes place if it can at once: then true.
  virtual bool try_now() = 0;
  /// Is to call choose() when it has taken place.
  virtual void enlist(TaskControl& me) = 0;
  /// Must not take place any more.  Also called if it never was enlisted, and after it has taken place.
  virtual void withdraw() noexcept = 0;

  void set_selection(Selection& selection) noexcept { selection_ = &selection; }
  /// It has taken place: all the others are withdrawn, and the task goes on.  Without effect if another one has.
  void choose() noexcept;

 protected:
  ~Alternative() = default;

 private:
  Selection* selection_ = nullptr;
};

/// The number of the one of `alternatives` that has taken place.  Parks, and throws: as select().
std::size_t select_one(std::span<Alternative* const> alternatives);

}  // namespace tulp::detail
