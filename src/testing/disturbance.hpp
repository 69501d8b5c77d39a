// Disturbance: the decisions that come from a seed.  Floor 9, testing.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <utility>

namespace tulp::testing {

/// Without the distributions of <random>, whose results differ from library to library.
class Disturbance {
 public:
  explicit Disturbance(std::uint64_t seed) : seed_(seed), random_(seed) {}

  std::uint64_t seed() const noexcept { return seed_; }
  /// From 0 to `count` - 1.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(random_() % count); }
  /// True in one of `count` cases.
  bool one_in(std::size_t count) { return below(count) == 0; }
  /// The same `row` times in a row at most, so that a run makes progress whatever the seed.
  class Repeated {
   public:
    explicit Repeated(int row) : row_(row) {}
    bool one_in(std::size_t count, Disturbance& disturbance) {
      so_far_ = so_far_ < row_ && disturbance.one_in(count) ? so_far_ + 1 : 0;
      return so_far_ > 0;
    }

   private:
    int row_;
    int so_far_ = 0;
  };
  /// A part of `size`, one at least: each order of magnitude as likely as the others.
  std::size_t part_of(std::size_t size) {
    const std::size_t limit = std::size_t{1} << below(static_cast<std::size_t>(std::bit_width(size)) + 1);
    return std::min(size, 1 + below(limit));
  }
  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[below(left)]);
  }

 private:
  std::uint64_t seed_;
  std::mt19937_64 random_;
};

}  // namespace tulp::testing
