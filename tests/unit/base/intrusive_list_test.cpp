#include <tulp/detail/intrusive_list.hpp>

#include <memory>
#include <optional>
#include <vector>

#include "support/catch.hpp"

using namespace tulp::detail;

namespace {
struct Item : ListHook<Item> {
  explicit Item(int n) : number(n) {}
  int number;
};
using List = IntrusiveList<Item>;

std::vector<int> numbers(List& list) {
  std::vector<int> found;
  list.for_each([&](Item& item) { found.push_back(item.number); });
  return found;
}
}  // namespace

TEST_CASE("an IntrusiveList keeps its members in order") {
  List list;
  Item one(1), two(2), three(3);
  CHECK(list.empty());
  list.push_back(one);
  CHECK(list.has_one());
  list.push_back(two);
  list.push_back(three);
  CHECK_FALSE(list.has_one());
  CHECK(numbers(list) == std::vector{1, 2, 3});
  two.unlink();
  two.unlink();
  CHECK_FALSE(two.is_linked());
  CHECK(numbers(list) == std::vector{1, 3});
  CHECK(list.pop_front().number == 1);
  CHECK(list.has_one());
  CHECK(&list.front() == &three);
}

TEST_CASE("a member that dies leaves its list, and a list that dies leaves its members unlinked") {
  Item survivor(1);
  {
    List list;
    list.push_back(survivor);
    {
      Item passing(2);
      list.push_back(passing);
    }
    CHECK(numbers(list) == std::vector{1});
  }
  CHECK_FALSE(survivor.is_linked());
  List next;
  next.push_back(survivor);
  CHECK(next.has_one());
}

TEST_CASE("a list takes over the members of another one, and for_each lets each member leave") {
  List from, to;
  std::vector<std::unique_ptr<Item>> items;
  for (int i = 0; i < 5; ++i) from.push_back(*items.emplace_back(std::make_unique<Item>(i)));
  to.take(from);
  CHECK(from.empty());
  CHECK(numbers(to) == std::vector{0, 1, 2, 3, 4});
  from.push_back(*std::make_unique<Item>(9));  // gone at once
  CHECK(from.empty());
  to.take(from);
  to.for_each([](Item& item) {
    if (item.number % 2 == 0) item.unlink();
  });
  CHECK(numbers(to) == std::vector{1, 3});
}
