#include <tulp/detail/unique_function.hpp>

#include <array>
#include <memory>
#include <stdexcept>

#include "support/allocations.hpp"
#include "support/catch.hpp"

using tulp::detail::UniqueFunction;

static_assert(!std::is_copy_constructible_v<UniqueFunction<void()>>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFunction<void()>>);
static_assert(!std::is_constructible_v<UniqueFunction<void()>, int>);

TEST_CASE("a UniqueFunction holds what can only be moved, and calls it with its arguments") {
  UniqueFunction<int(int)> add = [owned = std::make_unique<int>(4)](int n) { return *owned + n; };
  CHECK(add(3) == 7);
  UniqueFunction<std::unique_ptr<int>(std::unique_ptr<int>)> pass = [](std::unique_ptr<int> p) { return p; };
  CHECK(*pass(std::make_unique<int>(2)) == 2);
  UniqueFunction<void()> returns_something = [] { return 5; };
  returns_something();
}

TEST_CASE("a UniqueFunction that is empty, or was moved from, says so") {
  UniqueFunction<void()> function;
  CHECK_FALSE(function);
  CHECK_FALSE(UniqueFunction<void()>(nullptr));
  function = [] {};
  CHECK(function);
  UniqueFunction<void()> other = std::move(function);
  CHECK(other);
  CHECK_FALSE(function);
  other = nullptr;
  CHECK_FALSE(other);
}

TEMPLATE_TEST_CASE_SIG("what a UniqueFunction holds, inside or outside, is destroyed exactly once", "",
                       ((std::size_t size), size), 8, 40, 200) {
  auto held = std::make_shared<int>(6);
  const auto holding = [held, padding = std::array<char, size>{}] { return *held + padding[0]; };
  {
    UniqueFunction<int()> function = holding;
    CHECK(held.use_count() == 3);
    UniqueFunction<int()> moved = std::move(function);
    CHECK(moved() == 6);
    UniqueFunction<int()> target = [held] { return 1; };
    CHECK(held.use_count() == 4);
    target = std::move(moved);
    CHECK(held.use_count() == 3);
    UniqueFunction<int()>& same = target;
    target = std::move(same);
    CHECK(target() == 6);
  }
  CHECK(held.use_count() == 2);
}

TEST_CASE("a target of up to six words costs no allocation") {
  const tulp::test::AllocationCount allocations;
  UniqueFunction<int()> function = [words = std::array<long, 6>{1}] { return static_cast<int>(words[0]); };
  UniqueFunction<int()> moved = std::move(function);
  const int result = moved();
  const auto count = allocations.count();
  CHECK(result == 1);
  if (tulp::test::AllocationCount::is_counting()) CHECK(count == 0);
}

TEST_CASE("a target whose move may throw is kept outside, so that moving the function never throws") {
  struct Throwing {
    Throwing() = default;
    Throwing(const Throwing&) = default;
    Throwing(Throwing&& other) : armed(other.armed) {
      if (armed) throw std::runtime_error("moved");
    }
    int operator()() const { return 3; }
    bool armed = false;
  };
  Throwing target;
  UniqueFunction<int()> function = target;
  UniqueFunction<int()> moved = std::move(function);
  CHECK(moved() == 3);
  target.armed = true;
  CHECK_THROWS_AS(UniqueFunction<int()>(std::move(target)), std::runtime_error);
}
