// Volumes of fibers.
#include <tulp/run.hpp>

#include <chrono>
#include <cstdio>
#include <vector>

#include "fiber/sanitizer.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
std::size_t page_table_bytes() {
  std::FILE* file = std::fopen("/proc/self/status", "re");
  REQUIRE(file != nullptr);
  char line[256];
  std::size_t kib = 0;
  while (std::fgets(line, sizeof line, file) != nullptr)
    if (std::sscanf(line, "VmPTE: %zu", &kib) == 1) break;
  std::fclose(file);
  return kib * 1024;
}

#if defined(TULP_ASAN) || defined(TULP_TSAN)
constexpr std::size_t fiber_count = 5'000, round_count = 20'000;  // an instrumented fiber costs much more
constexpr bool is_memory_measured = false;
#else
constexpr bool is_memory_measured = true;
constexpr std::size_t fiber_count = 100'000, round_count = 1'000'000;
#endif
}  // namespace

TEST_CASE("a hundred thousand fibers are parked at once, each with its guard, and woken again") {
  const std::size_t resident_before = resident_bytes(), tables_before = page_table_bytes();
  const auto begin = std::chrono::steady_clock::now();
  run([&] {
    std::vector<Task<std::size_t>> tasks;
    tasks.reserve(fiber_count);
    Future<> go;
    for (std::size_t i = 0; i < fiber_count; ++i) {
      tasks.push_back(create_task([go, i] {
        await(go);
        return i;
      }));
    }
    let_others_run(2);
    CHECK(all_tasks().size() == fiber_count + 1);
    const std::size_t resident = resident_bytes() - resident_before, tables = page_table_bytes() - tables_before;
    std::printf("%zu parked fibers: %.2f KiB resident each, %.2f KiB of page tables each\n", fiber_count,
                static_cast<double>(resident) / 1024 / fiber_count, static_cast<double>(tables) / 1024 / fiber_count);
    go.set_result();
    std::size_t sum = 0;
    for (const auto& task : tasks) sum += await(task);
    CHECK(sum == fiber_count * (fiber_count - 1) / 2);
  });
  std::printf("  %.2f s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

TEST_CASE("a hundred thousand parked fibers are cancelled at the end of run, and all are unwound") {
  std::size_t unwound = 0;
  run([&] {
    struct Count {
      std::size_t& count;
      ~Count() { ++count; }
    };
    for (std::size_t i = 0; i < fiber_count; ++i) {
      create_task([&] {
        const Count count{unwound};
        sleep(1h);
      });
    }
    let_others_run(2);
  });
  CHECK(unwound == fiber_count);
}

TEST_CASE("a million tasks are created and awaited one after another without growth of memory") {
  run([] {
    for (int i = 0; i < 10'000; ++i) await(create_task([] {}));
    const std::size_t before = resident_bytes();
    const auto begin = std::chrono::steady_clock::now();
    std::size_t sum = 0;
    for (std::size_t i = 0; i < round_count; ++i) sum += await(create_task([i] { return i; }));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("create and await: %.0f ns each\n", seconds * 1e9 / static_cast<double>(round_count));
    CHECK(sum == round_count * (round_count - 1) / 2);
    if (is_memory_measured) CHECK(resident_bytes() <= before + 512 * 1024);
  });
}

TEST_CASE("a million tasks in waves of a hundred, some parked and some cancelled, leave memory as it was") {
  run([] {
    const auto wave = [] {
      std::vector<Task<>> tasks;
      for (int i = 0; i < 100; ++i) {
        tasks.push_back(create_task([i] {
          for (int k = 0; k < i % 3; ++k) sleep(0s);
          if (i % 10 == 0) sleep(1h);
        }));
      }
      sleep(0s);
      for (std::size_t i = 0; i < tasks.size(); i += 10) tasks[i].cancel();
      for (auto& task : tasks) {
        try {
          await(task);
        } catch (const FutureCancelledError&) {
        }
      }
    };
    for (int i = 0; i < 200; ++i) wave();
    const std::size_t before = resident_bytes();
    for (std::size_t i = 0; i < round_count / 100; ++i) wave();
    if (is_memory_measured) CHECK(resident_bytes() <= before + 1024 * 1024);
  });
}
