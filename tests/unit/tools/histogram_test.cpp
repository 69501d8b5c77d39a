// The latencies of tulp bench.
#include "../../../tools/tulp/bench/histogram.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using tool::bench::Histogram;

TEST_CASE("percentiles are within one percent above what sorting finds") {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latencies(12, 2);
  std::vector<std::int64_t> all;
  Histogram histogram;
  for (int i = 0; i < 100'000; ++i) {
    all.push_back(static_cast<std::int64_t>(latencies(random)));
    histogram.record(std::chrono::nanoseconds(all.back()));
  }
  std::sort(all.begin(), all.end());
  for (const double percent : {0.001, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(all.size())));
    const auto exact = static_cast<double>(all[rank - 1]);
    const auto found = static_cast<double>(histogram.percentile(percent).count());
    CHECK(found >= exact);
    CHECK(found <= exact * 1.01 + 1);
  }
  CHECK(histogram.min().count() == all.front());
  CHECK(histogram.max().count() == all.back());
  CHECK(histogram.count() == all.size());
}

TEST_CASE("small latencies are exact, and those without end are kept") {
  Histogram histogram;
  for (const auto latency : {0ns, 1ns, 127ns, 128ns, 129ns}) histogram.record(latency);
  CHECK(histogram.percentile(20) == 0ns);
  CHECK(histogram.percentile(40) == 1ns);
  CHECK(histogram.percentile(60) == 127ns);
  CHECK(histogram.percentile(80) == 128ns);
  CHECK(histogram.percentile(100) == 129ns);
  histogram.record(std::chrono::nanoseconds::max());
  histogram.record(-1ns);
  CHECK(histogram.max() == std::chrono::nanoseconds::max());
  CHECK(histogram.min() == 0ns);
  CHECK(histogram.count() == 7);
}

TEST_CASE("nothing has no latency") {
  const Histogram histogram;
  CHECK(histogram.percentile(99) == 0ns);
  CHECK(histogram.min() == 0ns);
  CHECK(histogram.max() == 0ns);
  CHECK(histogram.mean() == 0ns);
}

TEST_CASE("two histograms merge into what one of all would be") {
  Histogram first, second, both;
  for (int i = 1; i <= 1000; ++i) {
    const auto latency = std::chrono::microseconds(i);
    (i % 3 == 0 ? first : second).record(latency);
    both.record(latency);
  }
  first.merge(second);
  CHECK(first.count() == both.count());
  CHECK(first.mean() == both.mean());
  for (const double percent : {1.0, 50.0, 99.0}) CHECK(first.percentile(percent) == both.percentile(percent));
}

TEST_CASE("every latency is between two limits once") {
  Histogram histogram;
  for (int i = 0; i < 1000; ++i) histogram.record(std::chrono::microseconds(i));
  std::uint64_t sum = 0;
  std::chrono::nanoseconds low{-1};
  for (const auto high : {10'000ns, 100'000ns, 500'000ns, 2'000'000ns}) {
    sum += histogram.count_between(low, high);
    low = high;
  }
  CHECK(sum == 1000);
}
