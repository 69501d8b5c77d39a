// FdPark: a task that waits for descriptors of the program's.  Floor 8, posix.
#pragma once
#include <tulp/detail/task_control.hpp>

#include <list>
#include <string>

#include "events/fd_waits.hpp"
#include "tasks/park_until.hpp"
#include "tasks/dump.hpp"

namespace tulp::detail {

class FdPark final : public Park {
 public:
  /// `function`: for reports.
  FdPark(TaskControl& me, const char* function) noexcept
      : me_(me), waits_(me.loop().service<FdWaits>()), function_(function) {}
  FdPark(const FdPark&) = delete;
  FdPark& operator=(const FdPark&) = delete;
  ~FdPark() { leave(); }

  /// Throws: OsError - the descriptor cannot be watched.
  void add(int fd, FdWait::For what) {
    FdWait& wait = list_.emplace_back(me_, fd, what);
    try {
      waits_.add(wait);
    } catch (...) {
      list_.pop_back();
      throw;
    }
  }
  /// Until one of them may be ready, or has gone, or `deadline` has passed, which is told by false.
  bool wait_until(TimePoint deadline) {
    const bool is_in_time = park_until(*this, me_, deadline);
    leave();
    return is_in_time;
  }
  bool has_one_gone() const noexcept {
    for (const FdWait& wait : list_)
      if (wait.has_gone()) return true;
    return false;
  }

  void undo() noexcept override {}
  std::string description() const override {
    std::string text(function_);
    if (!list_.empty()) text += " of " + describe_descriptor(list_.front().fd());
    if (list_.size() > 1) text += " and " + std::to_string(list_.size() - 1) + " more";
    return text;
  }

 private:
  void leave() noexcept {
    for (FdWait& wait : list_) waits_.remove(wait);
  }

  TaskControl& me_;
  FdWaits& waits_;
  const char* function_;
  std::list<FdWait> list_;
};

}  // namespace tulp::detail
