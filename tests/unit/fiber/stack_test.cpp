#include "fiber/stack.hpp"

#include <tulp/error.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/sys.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
/// Puts the table of system calls back.
struct RestoreSys {
  ~RestoreSys() { sys = original; }
  static inline const SystemCalls original = sys;
};

constexpr int guard_install = 102;

int madvise_without_guards(void* at, std::size_t size, int advice) {
  if (advice != guard_install) return ::madvise(at, size, advice);
  errno = EINVAL;
  return -1;
}

Stack take_from(StackPool& pool) {
  pool.reserve();
  return pool.take();
}

std::size_t mapping_count() {
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  std::size_t lines = 0;
  for (int c = 0; (c = std::fgetc(maps)) != EOF;) lines += c == '\n' ? 1 : 0;
  std::fclose(maps);
  return lines;
}

std::size_t resident_bytes(const Stack& stack) {
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages(stack.size_bytes / page_bytes);
  CHECK(::mincore(stack.low, stack.size_bytes, pages.data()) == 0);
  std::size_t count = 0;
  for (unsigned char p : pages) count += p & 1;
  return count * page_bytes;
}

/// Both ways to guard a stack pass the same tests; the second one first persuades the pool in a child of its own, since
/// what the kernel can is asked once per process.
template <class Body>
ChildEnd with_each_kind_of_guard(Body body) {
  const bool has_guards = GENERATE(true, false);
  return run_in_child([&] {
    if (!has_guards) sys.madvise = madvise_without_guards;
    body();
  });
}
}  // namespace

TEST_CASE("what the pool keeps of a great many stacks is not copied for each few more") {
  StackPool pool(StackPool::minimum_bytes);
  const AllocationCount allocations;
  for (int i = 0; i < 50'000; ++i) pool.reserve();
  if (AllocationCount::is_counting()) CHECK(allocations.count() < 40);  // some 50 slabs
  for (int i = 0; i < 50'000; ++i) pool.unreserve();
}

TEST_CASE("a stack has the size that was asked for, and all of it can be written") {
  StackPool pool(128 * 1024);
  const Stack stack = take_from(pool);
  CHECK(stack.size_bytes == 128 * 1024);
  CHECK(stack.top() == stack.low + stack.size_bytes);
  std::memset(stack.low, 1, stack.size_bytes);
  CHECK(reinterpret_cast<std::uintptr_t>(stack.top()) % 16 == 0);
  pool.give_back(stack);
}

TEST_CASE("stacks do not overlap, nor do their guards") {
  StackPool pool(64 * 1024);
  std::vector<Stack> stacks;
  std::set<char*> lows;
  for (int i = 0; i < 100; ++i) {
    stacks.push_back(take_from(pool));
    lows.insert(stacks.back().low);
  }
  CHECK(lows.size() == 100);
  for (auto low = lows.begin(), next = std::next(low); next != lows.end(); ++low, ++next)
    if (*next - *low < static_cast<std::ptrdiff_t>(stacks[0].size_bytes + StackPool::guard_bytes)) FAIL("they overlap");
  for (const Stack& stack : stacks) pool.give_back(stack);
}

TEST_CASE("whoever touches any part of a guard dies of SIGSEGV, the lowest byte of the stack is usable") {
  const std::size_t distance = GENERATE(std::size_t{1}, std::size_t{4096}, StackPool::guard_bytes);
  CAPTURE(distance);
  const auto end = with_each_kind_of_guard([&] {
    std::signal(SIGSEGV, SIG_DFL);
    StackPool pool(64 * 1024);
    for (int i = 0; i < 5; ++i) take_from(pool);
    const Stack stack = take_from(pool);
    stack.low[0] = 1;
    ::write(2, "alive\n", 6);
    *static_cast<volatile char*>(stack.low - distance) = 1;
  });
  CHECK(end.errors == "alive\n");
  CHECK(end.died_of(SIGSEGV));
}

TEST_CASE("guard_contains knows the guard from the stack and from everything else") {
  StackPool pool(64 * 1024);
  const Stack stack = take_from(pool);
  CHECK(stack.guard_contains(stack.low - 1));
  CHECK(stack.guard_contains(stack.low - StackPool::guard_bytes));
  CHECK_FALSE(stack.guard_contains(stack.low - StackPool::guard_bytes - 1));
  CHECK_FALSE(stack.guard_contains(stack.low));
  CHECK_FALSE(stack.guard_contains(nullptr));
  CHECK_FALSE(Stack().guard_contains(nullptr));
  pool.give_back(stack);
}

TEST_CASE("where the kernel has guards of its own, a thousand stacks cost no more than a few mappings") {
  StackPool probe(64 * 1024);
  const std::size_t before = mapping_count();
  StackPool pool(64 * 1024);
  std::vector<Stack> stacks;
  for (int i = 0; i < 1000; ++i) stacks.push_back(take_from(pool));
  const std::size_t after = mapping_count();
  char* page = static_cast<char*>(::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (::madvise(page, 4096, guard_install) == 0) CHECK(after - before < 40);
  ::munmap(page, 4096);
  for (const Stack& stack : stacks) pool.give_back(stack);
}

TEST_CASE("a stack that was given back is taken again first, and its memory has gone back to the system") {
  StackPool pool(256 * 1024);
  const Stack stack = take_from(pool);
  std::memset(stack.low, 1, stack.size_bytes);
  CHECK(resident_bytes(stack) == stack.size_bytes);
  pool.give_back(stack);
  CHECK(resident_bytes(stack) == 0);
  const Stack again = take_from(pool);
  CHECK(again.low == stack.low);
  CHECK(again.low[0] == 0);
  pool.give_back(again);
}

TEST_CASE("the high-water mark grows with use, in whole pages") {
  StackPool pool(256 * 1024);
  const Stack stack = take_from(pool);
  CHECK(stack.high_water_bytes() == 0);
  stack.top()[-1] = 1;
  CHECK(stack.high_water_bytes() == 4096);
  stack.top()[-100'000] = 1;
  CHECK(stack.high_water_bytes() >= 100'000);
  CHECK(stack.high_water_bytes() < 110'000);
  pool.give_back(stack);
}

TEST_CASE("promises share stacks that were given back, and a promise that is taken back frees its stack for another") {
  StackPool pool(64 * 1024);
  std::set<char*> lows;
  for (int i = 0; i < 100; ++i) {
    const Stack stack = take_from(pool);
    lows.insert(stack.low);
    pool.give_back(stack);
  }
  CHECK(lows.size() == 1);
  const std::size_t before = mapping_count();
  for (int i = 0; i < 1000; ++i) {
    pool.reserve();
    pool.unreserve();
  }
  CHECK(mapping_count() <= before + 1);
}

TEST_CASE(
    "when memory for a stack is refused, reserve() throws an OsError that names the limits, and the pool goes on") {
  const RestoreSys restore;
  StackPool pool(64 * 1024);
  const Stack stack = take_from(pool);  // the first slab has more
  std::vector<Stack> rest;
  sys.mmap = [](void*, std::size_t, int, int, int, off_t) -> void* {
    errno = ENOMEM;
    return MAP_FAILED;
  };
  try {
    for (;;) rest.push_back(take_from(pool));
  } catch (const OsError& error) {
    CHECK(error.code().value() == ENOMEM);
    CHECK_THAT(error.what(), Catch::Contains("ulimit -v") && Catch::Contains("vm.max_map_count"));
  }
  CHECK_THROWS_AS(pool.reserve(), OsError);
  pool.give_back(stack);
  rest.push_back(take_from(pool));  // what was given back is there
  sys = RestoreSys::original;
  rest.push_back(take_from(pool));
  for (const Stack& each : rest) pool.give_back(each);
}

TEST_CASE(
    "without guards of the kernel's own, mprotect guards; when it fails the error names vm.max_map_count and nothing "
    "leaks") {
  const auto end = run_in_child([] {
    sys.madvise = madvise_without_guards;
    static int calls_left;
    calls_left = 5;
    sys.mprotect = [](void* at, std::size_t size, int protection) {
      if (--calls_left >= 0) return ::mprotect(at, size, protection);
      errno = ENOMEM;
      return -1;
    };
    static int slabs;
    slabs = 0;
    sys.mmap = [](void* at, std::size_t size, int protection, int flags, int fd, off_t offset) {
      return ++slabs, ::mmap(at, size, protection, flags, fd, offset);
    };
    sys.munmap = [](void* at, std::size_t size) { return --slabs, ::munmap(at, size); };
    StackPool pool(64 * 1024);
    try {
      pool.reserve();
      std::fputs("no error\n", stderr);
    } catch (const OsError& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    if (slabs != 0) std::fputs("a slab was leaked\n", stderr);
    calls_left = 1 << 20;
    take_from(pool);
    std::fputs("went on\n", stderr);
  });
  CHECK(end.exited_with(0));
  CHECK_THAT(end.errors, Catch::Contains("vm.max_map_count") && Catch::EndsWith("went on\n"));
  CHECK_THAT(end.errors, !Catch::Contains("leaked") && !Catch::Contains("no error"));
}

TEST_CASE("a seccomp filter that refuses guards with EPERM or ENOSYS leads to mprotect, or to a clear error") {
  static int refusal;
  refusal = GENERATE(EPERM, ENOSYS);
  const auto end = run_in_child([] {
    sys.madvise = [](void* at, std::size_t size, int advice) {
      if (advice != guard_install) return ::madvise(at, size, advice);
      errno = refusal;
      return -1;
    };
    StackPool pool(64 * 1024);
    try {
      take_from(pool).low[0] = 1;
    } catch (const OsError& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
  });
  CHECK(end.exited_with(0));
  if (!end.errors.empty()) CHECK_THAT(end.errors, Catch::Contains("MADV_GUARD_INSTALL"));
}

TEST_CASE("a stack size is rounded up to pages and to the minimum; what no address space could hold is refused") {
  CHECK(round_stack_size(1) == StackPool::minimum_bytes);
  CHECK(round_stack_size(100'000) == 102'400);
  CHECK(round_stack_size(65'536) == 65'536);
  CHECK_THROWS_AS(round_stack_size(std::size_t{1} << 50), std::invalid_argument);
  CHECK_THROWS_AS(round_stack_size(~std::size_t{0}), std::invalid_argument);
}

// The size is asked for once per process, so each question takes a process of its own, which is this very case.
TEST_CASE("TULP_STACK_SIZE sets the default stack size, and nonsense in it does not") {
  if (::getenv("TULP_TEST_PRINTS_STACK_SIZE") != nullptr) {
    std::fprintf(stderr, "%zu", default_stack_size_bytes());
    return;
  }
  const auto size_with = [](const char* text) {
    const auto end = run_in_child([text] {
      ::setenv("TULP_TEST_PRINTS_STACK_SIZE", "1", 1);
      ::setenv("TULP_STACK_SIZE", text, 1);
      ::execl("/proc/self/exe", "tulp_unit", "TULP_STACK_SIZE sets the default*", "-o", "/dev/null", nullptr);
    });
    return std::stoul(end.errors);
  };
  const std::size_t usual = size_with("");
  CHECK(usual >= 256 * 1024);
  CHECK(size_with("1M") == usual * 4);
  CHECK(size_with("512k") == usual * 2);
  CHECK(size_with("131072") == usual / 2);
  for (const char* nonsense : {"abc", "12X", "-1", "0", "99999999999999999999", "18446744073709551615M"}) {
    CAPTURE(nonsense);
    CHECK(size_with(nonsense) == usual);
  }
}
