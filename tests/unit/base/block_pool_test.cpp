#include <tulp/detail/block_pool.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include "base/sys.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"

using tulp::sys;
using tulp::detail::BlockPool;
using tulp::detail::pooled_bytes;
using tulp::test::PatchedSystem;
using Pool = BlockPool<64>;

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

std::vector<void*> allocate(std::size_t count) {
  std::vector<void*> blocks(count);
  std::generate(blocks.begin(), blocks.end(), [] { return Pool::allocate(); });
  return blocks;
}

void free(const std::vector<void*>& blocks) { std::for_each(blocks.begin(), blocks.end(), Pool::free); }

}  // namespace

TEST_CASE("a BlockPool gives memory that is aligned and nobody else's") {
  std::vector<void*> blocks;
  for (std::size_t i = 0; i < 60'000; ++i)  // more than a page of them
    blocks.push_back(std::memset(Pool::allocate(), static_cast<int>(i % 251), 64));
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (reinterpret_cast<std::uintptr_t>(blocks[i]) % alignof(std::max_align_t) != 0) FAIL("not aligned");
    const auto* bytes = static_cast<const unsigned char*>(blocks[i]);
    if (std::any_of(bytes, bytes + 64, [&](unsigned char byte) { return byte != i % 251; })) FAIL("written by another");
  }
  CHECK(std::set<void*>(blocks.begin(), blocks.end()).size() == blocks.size());
  free(blocks);
}

TEST_CASE("a block whose size is a multiple of a cache line's begins at one") {
  std::vector<void*> blocks(100);
  for (void*& block : blocks) block = BlockPool<320>::allocate();
  for (void* block : blocks) CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
  for (void* block : blocks) BlockPool<320>::free(block);
}

TEST_CASE("pools of different sizes share pages, and none gets what another one has") {
  std::vector<void*> small, large;
  for (std::size_t i = 0; i < 5000; ++i) {
    small.push_back(std::memset(Pool::allocate(), 1, 64));
    large.push_back(std::memset(BlockPool<640>::allocate(), 2, 640));
  }
  const auto holds = [](const void* block, std::size_t size, char byte) {
    const std::string_view bytes(static_cast<const char*>(block), size);
    return bytes.find_first_not_of(byte) == std::string_view::npos;
  };
  CHECK(std::all_of(small.begin(), small.end(), [&](void* block) { return holds(block, 64, 1); }));
  CHECK(std::all_of(large.begin(), large.end(), [&](void* block) { return holds(block, 640, 2); }));
  free(small);
  for (void* block : large) BlockPool<640>::free(block);
}

TEST_CASE("a BlockPool gives the memory of a burst back") {
  const std::size_t before = pooled_bytes();
  const std::vector<void*> blocks = allocate(200'000);
  if (pooled_bytes() == 0) return free(blocks);  // AddressSanitizer is to see each block
  CHECK(pooled_bytes() >= before + 11 * mebibyte);
  free(blocks);
  CHECK(pooled_bytes() <= before + 2 * mebibyte);
}

TEST_CASE("what few blocks are left of a burst do not keep the memory of all") {
  const std::size_t before = pooled_bytes();
  const std::vector<void*> blocks = allocate(400'000);
  if (pooled_bytes() == 0) return free(blocks);
  CHECK(pooled_bytes() >= before + 20 * mebibyte);
  const auto is_left = [](std::size_t i) { return i % 5000 == 0; };
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (!is_left(i)) Pool::free(blocks[i]);
  CHECK(pooled_bytes() <= before + 8 * mebibyte);
  const std::vector<void*> again = allocate(400'000);  // what was given back can be had again
  for (void* block : again) std::memset(block, 1, 64);
  free(again);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (is_left(i)) Pool::free(blocks[i]);
  CHECK(pooled_bytes() <= before + 8 * mebibyte);
}

TEST_CASE("a BlockPool for which there is no memory throws std::bad_alloc, and goes on when there is") {
  constexpr std::size_t many = 1'000'000;  // more than tests before this one have left
  std::vector<void*> blocks;
  blocks.reserve(many + 1);
  blocks.push_back(Pool::allocate());
  if (pooled_bytes() == 0) return free(blocks);
  {
    const PatchedSystem patched;
    sys.mmap = [](void*, size_t, int, int, int, off_t) { return errno = ENOMEM, MAP_FAILED; };
    try {
      while (blocks.size() < many) blocks.push_back(Pool::allocate());
    } catch (const std::bad_alloc&) {
    }
  }
  CHECK(blocks.size() < many);
  blocks.push_back(Pool::allocate());
  free(blocks);
  std::sort(blocks.begin(), blocks.end());
  CHECK(std::adjacent_find(blocks.begin(), blocks.end()) == blocks.end());
}

TEST_CASE("a BlockPool uses blocks again that another thread freed") {
  std::size_t most = 0;
  for (int round = 0; round < 200; ++round) {
    const std::vector<void*> blocks = allocate(1000);
    std::thread([&] { free(blocks); }).join();
    if (round == 20) most = pooled_bytes();
  }
  CHECK(pooled_bytes() <= most);
}

TEST_CASE("a thread that ends leaves no blocks behind in its hands") {
  std::size_t most = 0;
  for (int round = 0; round < 200; ++round) {
    std::thread([] { free(allocate(3000)); }).join();
    if (round == 20) most = pooled_bytes();
  }
  CHECK(pooled_bytes() <= most);
}

TEST_CASE("a BlockPool can be used while a thread ends, after its own part has gone") {
  struct Late {
    ~Late() {
      Pool::free(block);
      Pool::free(Pool::allocate());
    }
    void* block = nullptr;
  };
  std::thread([] {
    thread_local Late late;
    late.block = nullptr;  // made now, and so destroyed after what the pool makes in the next line
    late.block = Pool::allocate();
  }).join();
}
