// Small programs, each cancelled everywhere: one of its tasks, after each number of passes up to its end.  Nothing leaks,
// no wake-up is lost, so that the others end; no lock stays held, and no item vanishes.  LoopTest checks the rest: no task,
// no descriptor, no stack and no report is left.
#include <tulp/tulp.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "support/cancel_points.hpp"
#include "support/net.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Captured by a task, it calls `what` when that has ended, even if it never began.
template <class F>
std::shared_ptr<void> at_end(F what) {
  return std::shared_ptr<void>(nullptr, [what](void*) { what(); });
}

/// As cancel_at_each_point(), up to the pass in which the program ends when nobody disturbs it.
template <class Start, class Check>
void cancel_everywhere(Start start, Check check) {
  int passes = 0;
  std::vector<Task<>> tasks = start();
  for (const auto& task : tasks) {
    for (; !task.done(); ++passes) sleep(0s);
    task.result();
  }
  tasks.clear();
  cancel_at_each_point(passes, std::move(start), std::move(check));
}

using Tasks = std::vector<Task<>>;

struct Counts {
  Lock lock;
  int inside = 0, running = 0;
};
Future<int> count_while_yielding(Counts& counts, int times) {
  ++counts.running;
  const AtEnd leave{[&] { --counts.running; }};
  for (int i = 0; i < times; ++i) co_await yield();
  co_return times;
}
Task<> take_turns(Counts& counts) {
  for (int round = 0; round < 2; ++round) {
    co_await in_fiber([&] {
      const std::lock_guard guard(counts.lock);
      const AtEnd leave{[&] { --counts.inside; }};
      CHECK(++counts.inside == 1);
      sleep(0s);
    });
    co_await count_while_yielding(counts, 1);
  }
}
Task<> gather_some() {
  Counts own;
  const AtEnd check{[&] { CHECK(own.running == 0); }};  // none of them outlives it
  co_await gather(count_while_yielding(own, 2), count_while_yielding(own, 1));
  const int sum =
      co_await create_task([&] { return await(count_while_yielding(own, 1)) + await(count_while_yielding(own, 2)); });
  CHECK(sum == 3);
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: coroutines that await fibers that await coroutines") {
  run([] {
    std::unique_ptr<Counts> counts;
    const auto start = [&] {
      counts = std::make_unique<Counts>();
      Tasks tasks{take_turns(*counts), take_turns(*counts), gather_some()};
      tasks.push_back(create_task([&] {
        const std::lock_guard guard(counts->lock);
        await(count_while_yielding(*counts, 2));
      }));
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) {
      CHECK_FALSE(counts->lock.locked());
      CHECK(counts->inside == 0);
      CHECK(counts->running == 0);
    });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: tasks that hand a lock around") {
  run([] {
    std::unique_ptr<Lock> lock;
    int inside = 0;
    const auto start = [&] {
      lock = std::make_unique<Lock>();
      Tasks tasks;
      for (int i = 0; i < 3; ++i) {
        tasks.push_back(create_task([&] {
          for (int round = 0; round < 2; ++round) {
            const std::lock_guard guard(*lock);
            const AtEnd leave{[&] { --inside; }};
            CHECK(++inside == 1);
            sleep(0s);
          }
        }));
      }
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) {
      CHECK_FALSE(lock->locked());
      CHECK(inside == 0);
    });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: tasks that share a semaphore, and start together at an event") {
  run([] {
    std::unique_ptr<BoundedSemaphore> semaphore;
    std::unique_ptr<Event> begin;
    const auto start = [&] {
      semaphore = std::make_unique<BoundedSemaphore>(2);
      begin = std::make_unique<Event>();
      Tasks tasks;
      for (int i = 0; i < 4; ++i) {
        tasks.push_back(create_task([&] {
          begin->wait();
          const std::lock_guard guard(*semaphore);
          let_others_run(2);
        }));
      }
      tasks.push_back(create_task([last = at_end([&] { begin->set(); })] { sleep(0s); }));
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) {
      CHECK(semaphore->try_lock());
      CHECK(semaphore->try_lock());
    });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: a producer and two consumers of a queue with little room") {
  run([] {
    struct State {
      Queue<int> queue{2};
      int put_count = 0, got_count = 0, running_count = 2;
    };
    std::unique_ptr<State> state;
    const auto start = [&] {
      state = std::make_unique<State>();
      State& s = *state;
      Tasks tasks;
      // Whoever leaves ends the queue, if nobody is left on its side.
      tasks.push_back(create_task([&s, last = at_end([&s] { s.queue.shutdown(); })] {
        for (int i = 0; i < 6; ++i) {
          try {
            s.queue.put(i);
          } catch (const QueueShutDown&) {
            return;
          }
          ++s.put_count;
        }
      }));
      for (int i = 0; i < 2; ++i) {
        tasks.push_back(create_task([&s, last = at_end([&s] {
                                           if (--s.running_count == 0) s.queue.shutdown();
                                         })] {
          try {
            for (;;) {
              s.queue.get();
              ++s.got_count;
              s.queue.task_done();
              sleep(0s);
            }
          } catch (const QueueShutDown&) {
          }
        }));
      }
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) {
      CHECK(state->put_count == state->got_count + static_cast<int>(state->queue.qsize()));
    });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: tasks that select from two queues") {
  run([] {
    struct State {
      Queue<int> a, b;
      int put_count = 0, got_count = 0;
    };
    std::unique_ptr<State> state;
    const auto start = [&] {
      state = std::make_unique<State>();
      State& s = *state;
      Tasks tasks;
      const auto take = [&s](int) { ++s.got_count; };
      for (int i = 0; i < 2; ++i) {
        tasks.push_back(create_task([&s, take] {
          try {
            for (;;) select(on_get(s.a, take), on_get(s.b, take), on_timeout(1h, [] {}));
          } catch (const QueueShutDown&) {
          }
        }));
      }
      tasks.push_back(create_task([&s, last = at_end([&s] { s.a.shutdown(), s.b.shutdown(); })] {
        for (int i = 0; i < 4; ++i) {
          (i % 2 == 0 ? s.a : s.b).put(i);
          ++s.put_count;
          if (i == 1) sleep(0s);
        }
      }));
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) {
      CHECK(state->put_count == state->got_count + static_cast<int>(state->a.qsize() + state->b.qsize()));
    });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: a group whose tasks share a lock and start others") {
  run([] {
    std::unique_ptr<Lock> lock;
    int running_count = 0;
    const auto start = [&] {
      lock = std::make_unique<Lock>();
      Tasks tasks;
      tasks.push_back(create_task([&] {
        std::string local = "a local";
        const AtEnd check{[&] { CHECK(running_count == 0); }};  // none of them outlives it
        with_task_group([&](TaskGroup& group) {
          for (int i = 0; i < 2; ++i) {
            group.create_task([&] {
              ++running_count;
              const AtEnd leave{[&] { --running_count; }};
              {
                const std::lock_guard guard(*lock);
                sleep(0s);
              }
              group.create_task([&] { CHECK(local == "a local"); });
              sleep(0s);
            });
          }
          group.start<int>([&](TaskStatus<int> status) {
            sleep(0s);
            status.started(1);
            sleep(0s);
          });
        });
      }));
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) {
      CHECK_FALSE(lock->locked());
      CHECK(running_count == 0);
    });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: limits, gathers, races, and waits for several") {
  run([] {
    int running_count = 0;
    const auto work = [&](int passes) {
      ++running_count;
      const AtEnd leave{[&] { --running_count; }};
      let_others_run(passes);
      return passes;
    };
    const auto start = [&] {
      Tasks tasks;
      tasks.push_back(create_task([&] {
        const AtEnd check{[&] { CHECK(running_count == 0); }};
        with_timeout(1h, [&] {
          await(gather(create_task(work, 2), create_task(work, 1)));
          try {
            with_timeout(0s, [&] { await(gather(create_task(work, 100))); });
          } catch (const TimeoutError&) {
          }
          const auto first = [&] { return work(3); };
          const auto second = [&] { return work(1); };
          staggered_race(std::vector<std::function<int()>>{first, second}, 0s);
        });
      }));
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks&, std::size_t) { CHECK(running_count == 0); });
    const auto start_waits = [&] {
      Tasks tasks;
      tasks.push_back(create_task([&] {
        const std::vector children{create_task(work, 2), create_task(work, 1)};
        const AtEnd end_them{[&] {
          const CancelShield shield;
          wait(children);
        }};
        wait(children, {.return_when = FIRST_COMPLETED});
        for (const auto& child : as_completed(children)) CHECK(child.result() > 0);
        CHECK(await(shield(children[0])) == 2);
      }));
      return tasks;
    };
    cancel_everywhere(start_waits, [&](const Tasks&, std::size_t) { CHECK(running_count == 0); });
  });
}

TEST_CASE_METHOD(LoopTest, "cancelled everywhere: tasks that meet at a condition") {
  run([] {
    struct State {
      Condition condition;
      int items = 0, taken = 0, made = 0;
      bool is_over = false;
    };
    std::unique_ptr<State> state;
    const auto start = [&] {
      state = std::make_unique<State>();
      State& s = *state;
      Tasks tasks;
      for (int i = 0; i < 2; ++i) {
        tasks.push_back(create_task([&s] {
          const std::lock_guard guard(s.condition);
          for (;;) {
            s.condition.wait_for([&s] { return s.items > 0 || s.is_over; });
            if (s.items == 0) return;
            --s.items;
            ++s.taken;
          }
        }));
      }
      tasks.push_back(create_task([&s] {
        for (int i = 0; i < 3; ++i) {
          const std::lock_guard guard(s.condition);
          ++s.items;
          ++s.made;
          s.condition.notify();
          sleep(0s);
        }
      }));
      const Task<> maker = tasks.back();
      // Not part of the program: tells the others that nothing more will come, however the maker has ended.
      create_task([&s, maker] {
        wait(std::vector{maker});
        const std::lock_guard guard(s.condition);
        s.is_over = true;
        s.condition.notify_all();
      });
      return tasks;
    };
    cancel_everywhere(start, [&](const Tasks& tasks, std::size_t) {
      let_others_run(3);
      CHECK_FALSE(state->condition.locked());
      CHECK(state->made == state->taken + state->items);
      if (!tasks[0].cancelled() || !tasks[1].cancelled()) CHECK(state->items == 0);
    });
  });
}

TEST_CASE_METHOD(NetTest, "cancelled everywhere: a client and a server that sends back what it gets") {
  run([] {
    std::string answer;
    const auto start = [&] {
      answer.clear();
      Tasks tasks;
      tasks.push_back(create_task([&] {
        auto server = start_server(
            [](StreamReader reader, StreamWriter writer) {
              try {
                std::string line;
                while (!(line = reader.readline()).empty()) writer.write(line);
              } catch (const ConnectionError&) {  // of a client that has not read everything
              }
            },
            "127.0.0.1", 0);
        const AtEnd close{[&] {
          const CancelShield shield;
          server.close();
          server.wait_closed();
        }};
        auto [reader, writer] = open_connection(server.addresses().front());
        writer.write("one\n");
        writer.drain();
        answer += reader.readline();
        writer.write("two\n");
        answer += reader.readline();
      }));
      return tasks;
    };
    cancel_at_each_point(20, start, [&](const Tasks& tasks, std::size_t) {
      CHECK((answer.empty() || answer == "one\n" || answer == "one\ntwo\n"));
      if (!tasks[0].cancelled()) CHECK(answer == "one\ntwo\n");
    });
  });
}
