// Page: memory that the kernel copies into fast.  Floor 1, base.
//
// recv(2) copies with `rep movsb`, which some processors (AMD's Zen) do several times as slowly into a place that lies a few
// bytes behind the beginning of a page, as what malloc() has from mmap(2) does, by 16.  Measured: half of a proxy's time.
#pragma once
#include <cstddef>
#include <memory>
#include <span>

namespace tulp {

struct alignas(4096) Page {
  char bytes[4096];
};

/// `bytes` of memory, rounded up to whole pages; not written to.
inline std::unique_ptr<Page[]> make_pages(std::size_t bytes) {
  return std::make_unique_for_overwrite<Page[]>((bytes + sizeof(Page) - 1) / sizeof(Page));
}
inline char* bytes_of(const std::unique_ptr<Page[]>& pages) noexcept { return pages[0].bytes; }

}  // namespace tulp
