#include "fiber/stack.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "fiber/sanitizer.hpp"

namespace tulp {
namespace {

constexpr int madv_guard_install = 102;  // Linux 6.13; the headers of older systems do not name it
constexpr std::size_t first_slab_count = 16;
constexpr std::size_t largest_slab_count = 1024;

std::size_t page_bytes() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

/// "64K", "1M" or a plain number of bytes; 0 for anything else.
std::size_t parse_size(std::string_view text) {
  constexpr std::size_t largest = 1 << 30;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number > largest) return 0;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit == "K" || unit == "k")
    number <<= 10;
  else if (unit == "M" || unit == "m")
    number <<= 20;
  else if (!unit.empty())
    return 0;
  return number <= largest ? number : 0;
}

/// reserve() alone would copy everything each time.
template <class T>
void make_room(std::vector<T>& vector, std::size_t size) {
  if (vector.capacity() < size) vector.reserve(std::max(size, 2 * vector.capacity()));
}

}  // namespace

bool Stack::guard_contains(const void* address) const noexcept {
  const auto* at = static_cast<const char*>(address);
  return low != nullptr && at < low && at >= low - StackPool::guard_bytes;
}

std::size_t Stack::high_water_bytes() const noexcept {
  const std::size_t page = page_bytes();
  std::size_t untouched = 0;
  for (unsigned char resident = 0; untouched < size_bytes; untouched += page) {
    if (::mincore(low + untouched, page, &resident) != 0 || (resident & 1) != 0) break;
  }
  return size_bytes - untouched;
}

StackPool::~StackPool() {
  if (taken_count_ != 0) return;
  for (const Slab& slab : slabs_) sys.munmap(slab.begin, slab.stack_count * stride());
}

void StackPool::reserve() {
  if (available() == promised_) grow();
  ++promised_;
}

Stack StackPool::take() noexcept {
  --promised_;
  ++taken_count_;
  if (!free_.empty()) {
    char* low = free_.back();
    free_.pop_back();
    return {low, size_bytes_};
  }
  char* begin = fresh_;
  fresh_ += stride();
  --fresh_count_;
  return {begin + guard_bytes, size_bytes_};
}

void StackPool::give_back(const Stack& stack) noexcept {
  unpoison(stack.low, stack.size_bytes);
  sys.madvise(stack.low, stack.size_bytes, MADV_DONTNEED);
  free_.push_back(stack.low);  // never allocates: grow() made room
  --taken_count_;
}

void StackPool::grow() {
  const std::size_t count =
      slabs_.empty() ? first_slab_count : std::min(slabs_.back().stack_count * 2, largest_slab_count);
  make_room(slabs_, slabs_.size() + 1);
  make_room(free_, taken_count_ + available() + count);
  for (; fresh_count_ > 0; --fresh_count_, fresh_ += stride()) free_.push_back(fresh_ + guard_bytes);

  const std::size_t bytes = count * stride();
  void* memory =
      sys.mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) {
    throw_os_error(errno, "mmap of " + std::to_string(bytes >> 10) +
                              " KiB of address space for fiber stacks (see ulimit -v, vm.overcommit_memory and "
                              "vm.max_map_count, or choose smaller stacks)");
  }
  sys.madvise(memory, bytes, MADV_NOHUGEPAGE);  // a huge page would commit eight stacks at the first touch of one
  char* begin = static_cast<char*>(memory);
  try {
    for (std::size_t i = 0; i < count; ++i) install_guard(begin + i * stride());
  } catch (...) {
    sys.munmap(memory, bytes);
    throw;
  }
  slabs_.push_back({begin, count});
  fresh_ = begin;
  fresh_count_ = count;
}

void StackPool::install_guard(char* begin) {
  static bool kernel_has_guards = true;  // raced only towards false, by threads that all learnt the same
  if (kernel_has_guards) {
    if (retry_on_eintr([&] { return sys.madvise(begin, guard_bytes, madv_guard_install); }) == 0) return;
    if (errno != EINVAL) throw_os_error(errno, "madvise(MADV_GUARD_INSTALL) below a fiber stack");
    kernel_has_guards = false;
  }
  if (sys.mprotect(begin, guard_bytes, PROT_NONE) != 0) {
    throw_os_error(errno,
                   "mprotect of the guard below a fiber stack, which takes two mappings each (raise "
                   "vm.max_map_count, or use Linux 6.13 or later, where guards take none)");
  }
}

std::size_t default_stack_size_bytes() {
  static const std::size_t size = [] {
    const char* text = std::getenv("TULP_STACK_SIZE");
    const std::size_t asked = text != nullptr ? parse_size(text) : 0;
    return round_stack_size((asked != 0 ? asked : 256 * 1024) * stack_size_factor);
  }();
  return size;
}

std::size_t round_stack_size(std::size_t size_bytes) {
  if (size_bytes > (std::size_t{1} << 45))
    throw std::invalid_argument("stack_size_bytes: larger than the address space");
  const std::size_t page = page_bytes();
  return (std::max(size_bytes, StackPool::minimum_bytes) + page - 1) / page * page;
}

}  // namespace tulp
