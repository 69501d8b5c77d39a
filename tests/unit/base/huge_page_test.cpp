#include "base/huge_page.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "base/sys.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"

using tulp::HugePage;
using tulp::sys;
using tulp::test::PatchedSystem;

namespace {

struct Mapped {
  explicit Mapped(HugePage::Use use) : bytes(static_cast<char*>(HugePage::map(use))) {}
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() { HugePage::unmap(bytes); }
  char* const bytes;
};

bool holds(const Mapped& page, char byte) {
  return std::all_of(page.bytes, page.bytes + HugePage::size_bytes, [=](char found) { return found == byte; });
}

}  // namespace

TEST_CASE("a HugePage begins at a multiple of its size, and is zero") {
  for (const auto use : {HugePage::Use::partly, HugePage::Use::wholly}) {
    const Mapped page(use);
    CHECK(reinterpret_cast<std::uintptr_t>(page.bytes) % HugePage::size_bytes == 0);
    CHECK(holds(page, 0));
  }
}

TEST_CASE("a HugePage that was mapped partly keeps what is in it when it becomes one") {
  const Mapped page(HugePage::Use::partly);
  std::fill_n(page.bytes, HugePage::size_bytes, 'x');
  HugePage::change_use(page.bytes, HugePage::Use::wholly);
  CHECK(holds(page, 'x'));
}

TEST_CASE("where the system does not collapse pages, nothing happens to them, nor to errno") {
  const PatchedSystem patched;
  const Mapped page(HugePage::Use::partly);
  std::fill_n(page.bytes, HugePage::size_bytes, 'x');
  sys.madvise = [](void*, size_t, int) { return errno = EINVAL, -1; };
  errno = 7;
  HugePage::change_use(page.bytes, HugePage::Use::wholly);
  CHECK(errno == 7);
  CHECK(holds(page, 'x'));
}

TEST_CASE("what a part of a HugePage gives back is zero when it is touched again, and the rest stays") {
  const Mapped page(HugePage::Use::wholly);
  std::fill_n(page.bytes, HugePage::size_bytes, 'x');
  HugePage::give_back(page.bytes + 16 * 1024, 16 * 1024);
  CHECK(std::all_of(page.bytes, page.bytes + 16 * 1024, [](char found) { return found == 'x'; }));
  CHECK(std::all_of(page.bytes + 16 * 1024, page.bytes + 32 * 1024, [](char found) { return found == 0; }));
  CHECK(page.bytes[32 * 1024] == 'x');
}
