#include "base/huge_page.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <new>

#include "base/sys.hpp"

namespace tulp {
namespace {

constexpr int madv_collapse = 25;  // Linux 6.1; the headers of older systems do not name it

}  // namespace

void* HugePage::map(Use use) {
  void* const mapped =
      sys.mmap(nullptr, 2 * size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(mapped);
  const std::size_t before = (size_bytes - reinterpret_cast<std::uintptr_t>(mapped) % size_bytes) % size_bytes;
  if (before > 0) sys.munmap(begin, before);
  sys.munmap(begin + before + size_bytes, size_bytes - before);
  sys.madvise(begin + before, size_bytes, use == Use::wholly ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return begin + before;
}

/// Where the kernel does not do it at once, it may do it later.
void HugePage::collapse(void* page) noexcept {
  const int kept = errno;
  sys.madvise(page, size_bytes, MADV_HUGEPAGE);
  sys.madvise(page, size_bytes, madv_collapse);
  errno = kept;
}

void HugePage::split(void* page) noexcept {
  const int kept = errno;
  sys.madvise(page, size_bytes, MADV_NOHUGEPAGE);
  errno = kept;
}

void HugePage::unmap(void* page) noexcept {
  const int kept = errno;
  sys.munmap(page, size_bytes);
  errno = kept;
}

void HugePage::give_back(void* memory, std::size_t part_bytes) noexcept {
  const int kept = errno;
  sys.madvise(memory, part_bytes, MADV_DONTNEED);  // memory that the program has locked stays
  errno = kept;
}

}  // namespace tulp
