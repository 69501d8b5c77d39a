// AllocationCount: how often this thread called operator new since.
#pragma once
#include <cstddef>

namespace tulp::test {

class AllocationCount {
 public:
  AllocationCount() noexcept : at_start_(so_far()) {}
  std::size_t count() const noexcept { return so_far() - at_start_; }
  /// False under a sanitizer or Valgrind, which bring an operator new of their own.
  static bool is_counting();

 private:
  static std::size_t so_far() noexcept;
  std::size_t at_start_;
};

}  // namespace tulp::test
