// Programs that nobody would think of: random_programs.py says how they are made.
#include <map>
#include <string>
#include <vector>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

constexpr unsigned most_actors = 60;

class Program {
 public:
  Program(EventLoop& loop, const Trace& trace, std::uint32_t seed) : loop_(loop), trace_(trace), number_(seed) {}

  void play() {
    for (int i = 0; i < 12; ++i) act();
    for (int i = 0; i < 20; ++i) {
      run_once(loop_);
      say("-");
    }
    while (silence_ < 2) {
      ++silence_;
      for (std::size_t index = 0; index < 3; ++index) complete(index);
      for (const unsigned name : std::vector(roots_)) cancel(name);
      run_once(loop_);
    }
    for (const auto& [name, task] : tasks_) say(task.cancelled() ? "cancelled" : "ended");
  }

 private:
  enum class Wait { turn, cancellation, child, something };

  template <class... Words>
  void say(const Words&... words) {
    silence_ = 0;
    trace_(words...);
  }

  unsigned below(std::size_t limit) {
    number_ = number_ * 1664525 + 1013904223;
    return (number_ >> 16) % static_cast<unsigned>(limit);
  }

  /// Anything that any code may do.
  void act() {
    const unsigned action = below(7);
    if (action == 0) {
      complete(below(3));
    } else if (action == 1 && !handles_.empty()) {
      handles_[below(handles_.size())].cancel();
    } else if (action == 2 && !roots_.empty()) {
      cancel(roots_[below(roots_.size())]);
    } else if (actor_count_ == most_actors) {
      return;
    } else if (action == 3) {
      const unsigned name = ++actor_count_;
      futures_[below(3)].add_done_callback([this, name](const Future<>&) { callback(name); });
    } else if (action == 4) {
      roots_.push_back(start_task());
    } else if (action == 5) {
      const TimePoint when = start_ - 1000s * below(10) - 1s * actor_count_;
      handles_.push_back(loop_.call_at(when, [this, name = ++actor_count_] { callback(name); }));
    } else {
      handles_.push_back(loop_.call_soon([this, name = ++actor_count_] { callback(name); }));
    }
  }

  void complete(std::size_t index) {
    futures_[index].set_result();
    futures_[index] = Future<>();
  }

  void cancel(unsigned name) {
    unsigned last = name;
    while (waits_[last] == Wait::child) last = children_[last];
    if (waits_[last] != Wait::turn && waits_[last] != Wait::cancellation) return;
    waits_[last] = Wait::something;
    say("cancel", name, tasks_.at(name).cancel());
  }

  void callback(unsigned name) {
    say("callback", name);
    for (unsigned left = below(4); left > 0; --left) act();
    if (below(8) == 0) fail();
  }

  unsigned start_task() {
    const unsigned name = ++actor_count_;
    waits_[name] = Wait::turn;
    tasks_.emplace(name, create_task([this, name] { task(name); }));
    return name;
  }

  void task(unsigned name) {
    say("task", name);
    for (unsigned left = 1 + below(4); left > 0; --left) {
      try {
        waits_[name] = Wait::something;
        step(name);
      } catch (const CancelledError&) {
        say("task", name, "is cancelled");
        if (below(2) == 0) throw;
      }
    }
    waits_[name] = Wait::something;
    say("task", name, "ends");
  }

  void step(unsigned name) {
    const unsigned action = below(6);
    if (action == 0) {
      sleep(0s);
    } else if (action == 1) {
      await(futures_[below(3)]);
    } else if (action == 2) {
      waits_[name] = Wait::cancellation;
      await(Future<>());
    } else if (action == 3) {
      waits_[name] = Wait::cancellation;
      sleep(1h);
    } else if (action == 4 && actor_count_ < most_actors) {
      const unsigned child = start_task();
      waits_[name] = Wait::child;
      children_[name] = child;
      await(tasks_.at(child));
    } else {
      act();
    }
    say("task", name, "goes on");
  }

  EventLoop& loop_;
  const Trace& trace_;
  int silence_ = 0;  // for so many iterations
  std::uint32_t number_;
  TimePoint start_ = loop_.time();
  std::vector<Future<>> futures_{Future<>(), Future<>(), Future<>()};  // each is replaced when it is done
  std::vector<Handle> handles_;
  unsigned actor_count_ = 0;
  std::vector<unsigned> roots_;  // the tasks that are nobody's children
  std::map<unsigned, Task<>> tasks_;
  std::map<unsigned, Wait> waits_;
  std::map<unsigned, unsigned> children_;
};

}  // namespace

SCENARIO(random_programs) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    trace("program", seed);
    Program(loop, trace, seed).play();
  }
}
