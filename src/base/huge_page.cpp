#include "base/huge_page.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <new>

#include "base/sys.hpp"

namespace tulp {
namespace {

constexpr int madv_collapse = 25;  // Linux 6.1; the headers of older systems do not name it

void advise(void* page, HugePage::Use use) noexcept {
  sys.madvise(page, HugePage::size_bytes, use == HugePage::Use::wholly ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

}  // namespace

void* HugePage::map(Use use) {
  void* const mapped =
      sys.mmap(nullptr, 2 * size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(mapped);
  const std::size_t before = (size_bytes - reinterpret_cast<std::uintptr_t>(mapped) % size_bytes) % size_bytes;
  if (before > 0) sys.munmap(begin, before);
  sys.munmap(begin + before + size_bytes, size_bytes - before);
  advise(begin + before, use);
  return begin + before;
}

void HugePage::change_use(void* page, Use use) noexcept {
  const int kept = errno;
  advise(page, use);
  if (use == Use::wholly) sys.madvise(page, size_bytes, madv_collapse);  // refused: the kernel may do it later
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
