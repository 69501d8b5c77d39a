#include "transports/write_queue.hpp"

#include <deque>
#include <random>
#include <string>
#include <string_view>

#include "support/allocations.hpp"
#include "support/catch.hpp"

using tulp::detail::SpareMemory;
using tulp::detail::WriteQueue;
using tulp::test::AllocationCount;

TEST_CASE("a write queue gives back what was appended, in order, whatever is consumed in between") {
  std::mt19937 random(7);
  WriteQueue queue;
  std::string expected, consumed;
  for (int i = 0; i < 20'000; ++i) {
    const std::string piece(random() % 50, static_cast<char>('a' + i % 26));
    queue.append(piece);
    expected += piece;
    REQUIRE(queue.size() == expected.size() - consumed.size());
    const std::size_t count = random() % (queue.size() + 1);
    consumed += queue.view().substr(0, count);
    queue.consume(count);
    REQUIRE(queue.empty() == (consumed.size() == expected.size()));
  }
  consumed += queue.view();
  CHECK((consumed == expected));
}

TEST_CASE("a write queue that is cleared is empty, and can be used again") {
  WriteQueue queue;
  queue.append("abc");
  queue.consume(1);
  queue.clear();
  CHECK(queue.empty());
  CHECK(queue.size() == 0);
  queue.append("def");
  CHECK(queue.view() == "def");
}

TEST_CASE("write queues that are empty in turn use the same memory") {
  SpareMemory spare;
  WriteQueue first(spare), second(spare);
  first.append("abc");
  const char* const memory = first.view().data();
  first.consume(3);
  second.append("def");
  CHECK(second.view().data() == memory);
  first.append("ghi");
  CHECK(second.view() == "def");
  CHECK(first.view() == "ghi");
}

TEST_CASE("a hundred write queues that fill and become empty together allocate once") {
  SpareMemory spare;
  std::deque<WriteQueue> queues;
  for (int i = 0; i < 100; ++i) queues.emplace_back(spare);
  const auto fill_and_empty = [&] {
    for (WriteQueue& queue : queues) queue.append(std::string_view("0123456789"));
    for (WriteQueue& queue : queues) queue.consume(10);
  };
  fill_and_empty();
  const AllocationCount allocations;
  fill_and_empty();
  CHECK(allocations.count() == 0);
}

TEST_CASE("a write queue keeps what a few writes need for the next one, and not what a burst took") {
  SpareMemory spare;
  WriteQueue queue(spare);
  queue.append(std::string(1000, 'x'));
  queue.clear();
  CHECK(spare.bytes() >= 1000);
  queue.append(std::string(1'000'000, 'x'));
  queue.consume(1'000'000);
  CHECK(spare.bytes() == 0);
}

TEST_CASE("what a thousand write queues leave is not all kept") {
  SpareMemory spare;
  std::deque<WriteQueue> queues;
  for (int i = 0; i < 1000; ++i) queues.emplace_back(spare).append(std::string(10'000, 'x'));
  for (WriteQueue& queue : queues) queue.clear();
  CHECK(spare.bytes() >= 200'000);
  CHECK(spare.bytes() <= 256 * 1024);
}

TEST_CASE("a write queue that is consumed in part, and appended to for ever, takes but a few times as much memory") {
  SpareMemory spare;
  WriteQueue queue(spare);
  queue.append(std::string(500, 'x'));
  for (int i = 0; i < 10'000; ++i) {
    queue.append(std::string(300, 'y'));
    queue.consume(300);
  }
  CHECK(queue.size() == 500);
  queue.consume(500);
  CHECK(spare.bytes() <= 4096);
}
