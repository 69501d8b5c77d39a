#include "testing/disturbance.hpp"

#include <array>
#include <set>

#include "support/catch.hpp"

using tulp::testing::Disturbance;

TEST_CASE("the decisions of a seed are the same everywhere, and those of another one are others") {
  Disturbance first(7), again(7), other(8);
  bool is_different = false;
  for (int i = 0; i < 1000; ++i) {
    const std::size_t decision = first.below(1000);
    CHECK(again.below(1000) == decision);
    is_different = is_different || other.below(1000) != decision;
  }
  CHECK(is_different);
  CHECK(Disturbance(1).below(1'000'000'007) == 2'469'588'189'546'311'528 % 1'000'000'007);  // of the standard's engine
}

TEST_CASE("a part is one at least and the whole at most, and both happen") {
  Disturbance disturbance(1);
  CHECK(disturbance.part_of(1) == 1);
  std::set<std::size_t> parts;
  for (int i = 0; i < 1000; ++i) parts.insert(disturbance.part_of(1000));
  CHECK(*parts.begin() == 1);
  CHECK(*parts.rbegin() == 1000);
  CHECK(disturbance.part_of(static_cast<std::size_t>(-1)) >= 1);
}

TEST_CASE("what repeats itself does so a limited number of times in a row") {
  Disturbance disturbance(1);
  Disturbance::Repeated repeated(3);
  int in_a_row = 0, longest = 0;
  for (int i = 0; i < 1000; ++i) {
    in_a_row = repeated.one_in(1, disturbance) ? in_a_row + 1 : 0;
    longest = std::max(longest, in_a_row);
  }
  CHECK(longest == 3);
}

TEST_CASE("shuffling loses nothing and finds every order") {
  std::set<std::array<int, 3>> orders;
  Disturbance disturbance(1);
  for (int i = 0; i < 200; ++i) {
    std::array<int, 3> items{1, 2, 3};
    disturbance.shuffle(std::span<int>(items));
    CHECK(std::set<int>(items.begin(), items.end()) == std::set<int>{1, 2, 3});
    orders.insert(items);
  }
  CHECK(orders.size() == 6);
  disturbance.shuffle(std::span<int>());
}
