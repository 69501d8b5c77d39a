// ChildWatcher: the children of a loop that have not been reaped.  Floor 6, process.
#pragma once
#include <tulp/event_loop.hpp>

#include <optional>

#include "events/signal_target.hpp"
#include "process/child.hpp"
#include "transports/member_event.hpp"

namespace tulp::detail {

/// A child with a pidfd tells of its end by itself.  For others SIGCHLD is watched, and each is asked for by its number:
/// what this loop has not started is left alone.
class ChildWatcher final : public LoopService {
 public:
  explicit ChildWatcher(EventLoop& loop) noexcept : loop_(loop) {}
  ~ChildWatcher() override;

  /// Throws: OsError - SIGCHLD cannot be watched.
  void add(Child& child);

  /// Kills them all.
  void shut_down(Shutdown phase) override;
  bool is_quiet() const override { return children_.empty(); }

 private:
  using Event = MemberEvent<ChildWatcher>;

  /// While there has been a child without a pidfd.
  class Sigchld final : private Runnable {
   public:
    Sigchld(EventLoop& loop, ChildWatcher& watcher);
    Sigchld(const Sigchld&) = delete;
    Sigchld& operator=(const Sigchld&) = delete;
    ~Sigchld();

   private:
    void run() noexcept override;
    EventLoop& loop_;
    ChildWatcher& watcher_;
    SignalTarget& target_;
    FdWatch watch_;
  };

  void look();
  template <class Do>
  void for_all(Do call);

  EventLoop& loop_;
  IntrusiveList<Child> children_;
  std::optional<Sigchld> sigchld_;
  Event look_{*this, &ChildWatcher::look};
};

}  // namespace tulp::detail
