#include <tulp/detail/ref.hpp>

#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace tulp::detail;

namespace {
struct Counted : RefCounted {
  explicit Counted(int* d) : deaths(d) {}
  ~Counted() override { ++*deaths; }
  int* deaths;
};
struct Derived : Counted {
  using Counted::Counted;
};
}  // namespace

TEST_CASE("the last Ref takes its object along") {
  int deaths = 0;
  {
    Ref<Counted> first = Ref<Counted>::adopt(new Counted(&deaths));
    CHECK(first->is_unique());
    Ref<Counted> second = first;
    CHECK_FALSE(first->is_unique());
    Ref<Counted> third = std::move(second);
    CHECK_FALSE(second);
    const Ref<Counted>& same = third;
    third = same;
    first = nullptr;
    CHECK(third->is_unique());
    CHECK(deaths == 0);
  }
  CHECK(deaths == 1);
}

TEST_CASE("a Ref to a derived object converts, and release() hands the count over") {
  int deaths = 0;
  Ref<Counted> base = Ref<Derived>::adopt(new Derived(&deaths));
  Counted* raw = base.release();
  CHECK_FALSE(base);
  CHECK(deaths == 0);
  Ref<Counted>::adopt(raw);
  CHECK(deaths == 1);
  CHECK_FALSE(Ref<Counted>::share(nullptr));
}

TEST_CASE("references are counted rightly from many threads") {
  int deaths = 0;
  {
    const auto shared = Ref<Counted>::adopt(new Counted(&deaths));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([shared] {
        for (int i = 0; i < 20'000; ++i) {
          Ref<Counted> copy = shared;
          Ref<Counted> other = copy;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    threads.clear();
    CHECK(shared->is_unique());
  }
  CHECK(deaths == 1);
}
