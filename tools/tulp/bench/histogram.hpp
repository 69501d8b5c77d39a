// Histogram: how often each latency was seen, in memory that does not grow, to within one percent.
#pragma once
#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tool::bench {

/// Up to 128 ns there is a bucket for each; above, each doubling is cut into 128 equal ones.  What is longer than 36
/// minutes counts as that long.
class Histogram {
 public:
  using Span = std::chrono::nanoseconds;

  void record(Span latency, std::uint64_t times = 1) {
    const auto value = static_cast<std::uint64_t>(std::max<Span::rep>(latency.count(), 0));
    counts_[index_of(std::min(value, highest))] += times;
    count_ += times;
    sum_ += static_cast<double>(value) * static_cast<double>(times);
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
  }

  void merge(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
  }

  std::uint64_t count() const noexcept { return count_; }
  /// Exactly, as are mean() and max(); 0 of nothing.
  Span min() const noexcept { return span(count_ > 0 ? min_ : 0); }
  Span max() const noexcept { return span(max_); }
  Span mean() const noexcept {
    return span(count_ > 0 ? static_cast<std::uint64_t>(sum_ / static_cast<double>(count_)) : 0);
  }

  /// What `percent` of all were not longer than; 0 of nothing.
  Span percentile(double percent) const {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > 0 && seen >= wanted) return span(std::min(highest_of(i), max_));
    }
    return max();
  }

  /// How many were longer than `low` and not longer than `high`, if these are limits of buckets, as percentile() gives.
  std::uint64_t count_between(Span low, Span high) const {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      const Span end = span(highest_of(i));
      if (counts_[i] > 0 && end > low && end <= high) count += counts_[i];
    }
    return count;
  }

 private:
  static constexpr unsigned sub_bits = 7;
  static constexpr std::size_t sub_count = std::size_t{1} << sub_bits;
  static constexpr unsigned value_bits = 41;
  static constexpr std::uint64_t highest = (std::uint64_t{1} << value_bits) - 1;

  static Span span(std::uint64_t value) noexcept { return Span(static_cast<Span::rep>(value)); }

  static std::size_t index_of(std::uint64_t value) noexcept {
    if (value < sub_count) return static_cast<std::size_t>(value);
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - (sub_bits + 1);
    return (shift << sub_bits) + static_cast<std::size_t>(value >> shift);
  }
  /// The highest value that belongs into the bucket.
  static std::uint64_t highest_of(std::size_t index) noexcept {
    if (index < sub_count) return index;
    const std::size_t shift = (index >> sub_bits) - 1;
    return ((index - (shift << sub_bits) + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>((value_bits - sub_bits + 1) << sub_bits);
  std::uint64_t count_ = 0;
  double sum_ = 0;
  std::uint64_t min_ = UINT64_MAX;
  std::uint64_t max_ = 0;
};

}  // namespace tool::bench
