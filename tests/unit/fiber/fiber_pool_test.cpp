#include "fiber/fiber_pool.hpp"

#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include <sys/mman.h>

#include <cfenv>
#include <memory>
#include <set>
#include <vector>

#include "base/sys.hpp"
#include "fiber/sanitizer.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "a task that starts after another has ended runs on the same warm stack") {
  const auto place = [] { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)); };
  run([&] {
    const auto first = await(create_task(place));
    for (int i = 0; i < 10; ++i) CHECK(await(create_task(place)) == first);
  });
}

TEST_CASE_METHOD(LoopTest, "a thousand tasks that are created at once, and never park, share a few stacks") {
  std::set<std::uintptr_t> pages;
  run([&] {
    std::vector<Task<>> tasks;
    for (int i = 0; i < 1000; ++i) {
      tasks.push_back(create_task([&] {
        volatile char here = 0;
        pages.insert(reinterpret_cast<std::uintptr_t>(&here) / 4096);
      }));
    }
    for (const auto& task : tasks) await(task);
  });
  CHECK(pages.size() <= 2);
}

TEST_CASE_METHOD(LoopTest, "a task begins without its predecessor's rounding mode, exception or errno of a throw") {
  run([] {
    await(create_task([] {
      std::fesetround(FE_UPWARD);
      let_others_run();
      CHECK(std::fegetround() == FE_UPWARD);
    }));
    CHECK(await(create_task([] { return std::fegetround(); })) == FE_TONEAREST);
    std::fesetround(FE_DOWNWARD);
    auto fresh = create_task([] { return std::fegetround(); });
    auto fresher = create_task([] {
      let_others_run();
      return std::fegetround();
    });
    CHECK(await(fresh) == FE_TONEAREST);
    CHECK(await(fresher) == FE_TONEAREST);
    CHECK(std::fegetround() == FE_DOWNWARD);
    std::fesetround(FE_TONEAREST);
    try {
      throw 1;
    } catch (int) {
      CHECK(await(create_task([] { return std::current_exception() == nullptr; })));
    }
  });
}

#if !defined(TULP_ASAN) && !defined(TULP_TSAN)  // whose shadow memory grows too
TEST_CASE_METHOD(LoopTest, "when many fibers were needed once, their memory goes back to the system after a while") {
  if (kind() != LoopKind::epoll) return;
  run([&] {
    const std::size_t before = resident_bytes();
    std::vector<Task<>> tasks;
    Future<> go;
    for (int i = 0; i < 2000; ++i) {
      tasks.push_back(create_task([go] {
        volatile char much[16 * 1024];
        for (std::size_t at = 0; at < sizeof much; at += 4096) much[at] = 1;
        await(go);
      }));
    }
    let_others_run();
    const std::size_t peak = resident_bytes();
    CHECK(peak - before > 2000 * 16);
    go.set_result();
    for (auto& task : tasks) await(task);
    tasks.clear();
    for (int i = 0; i < 3 * 4096; ++i) await(create_task([] {}));
    CHECK(resident_bytes() - before < (peak - before) / 4);
  });
}
#endif

TEST_CASE_METHOD(LoopTest, "a task that gets no stack is not created: OsError, and everything else goes on") {
  static const SystemCalls original = sys;
  auto held = std::make_shared<int>();
  run([&] {
    sys.mmap = [](void*, std::size_t, int, int, int, off_t) -> void* {
      errno = ENOMEM;
      return MAP_FAILED;
    };
    const std::size_t count = all_tasks().size();
    CHECK_THROWS_AS(create_task({.stack_size_bytes = 72 * 1024}, [held] {}), OsError);
    sys = original;
    CHECK(held.use_count() == 1);
    CHECK(all_tasks().size() == count);
    CHECK(await(create_task({.stack_size_bytes = 72 * 1024}, [] { return 1; })) == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "thousands of tasks of several stack sizes come and go, parked and not, without mixing up") {
  run([] {
    std::vector<Task<std::size_t>> tasks;
    for (std::size_t i = 0; i < 3000; ++i) {
      const std::size_t size = (64 + 64 * (i % 3)) * 1024;
      tasks.push_back(create_task({.stack_size_bytes = size}, [i] {
        for (std::size_t k = 0; k < i % 5; ++k) sleep(0s);
        return current_task().stack_size_bytes();
      }));
      if (i % 7 == 0) tasks[i / 2].cancel();
      if (i % 11 == 0) let_others_run();
    }
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      try {
        const std::size_t size = await(tasks[i]);
        if (size < (64 + 64 * (i % 3)) * 1024) FAIL("task " << i << " ran on a stack of " << size);
      } catch (const FutureCancelledError&) {
        if (!tasks[i].cancelled()) FAIL("task " << i << " was not cancelled");
      }
    }
  });
}
