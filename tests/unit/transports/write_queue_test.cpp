#include "transports/write_queue.hpp"

#include <random>
#include <string>

#include "support/catch.hpp"

using tulp::detail::WriteQueue;

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
