#include <tulp/detail/ref.hpp>

#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace tulp::detail;

namespace {
struct CountedDeath : RefCounted {
  explicit CountedDeath(int* d) : deaths(d) {}
  ~CountedDeath() override { ++*deaths; }
  int* deaths;
};
struct Derived : CountedDeath {
  using CountedDeath::CountedDeath;
};
}  // namespace

TEST_CASE("the last Ref takes its object along") {
  int deaths = 0;
  {
    Ref<CountedDeath> first = Ref<CountedDeath>::adopt(new CountedDeath(&deaths));
    CHECK(first->is_unique());
    Ref<CountedDeath> second = first;
    CHECK_FALSE(first->is_unique());
    Ref<CountedDeath> third = std::move(second);
    CHECK_FALSE(second);
    const Ref<CountedDeath>& same = third;
    third = same;
    first = nullptr;
    CHECK(third->is_unique());
    CHECK(deaths == 0);
  }
  CHECK(deaths == 1);
}

TEST_CASE("a Ref to a derived object converts, and release() hands the count over") {
  int deaths = 0;
  Ref<CountedDeath> base = Ref<Derived>::adopt(new Derived(&deaths));
  CountedDeath* raw = base.release();
  CHECK_FALSE(base);
  CHECK(deaths == 0);
  Ref<CountedDeath>::adopt(raw);
  CHECK(deaths == 1);
  CHECK_FALSE(Ref<CountedDeath>::share(nullptr));
}

TEST_CASE("references are counted rightly from many threads") {
  int deaths = 0;
  {
    const auto shared = Ref<CountedDeath>::adopt(new CountedDeath(&deaths));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([shared] {
        for (int i = 0; i < 20'000; ++i) {
          Ref<CountedDeath> copy = shared;
          Ref<CountedDeath> other = copy;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    threads.clear();
    CHECK(shared->is_unique());
  }
  CHECK(deaths == 1);
}
