#include "transports/datagram_queue.hpp"

#include <deque>
#include <random>
#include <string>
#include <utility>

#include "support/catch.hpp"

using tulp::Address;
using tulp::detail::DatagramQueue;

namespace {

Address address(std::size_t i) { return *Address::parse("127.0.0.1", static_cast<std::uint16_t>(i % 60'000)); }

}  // namespace

TEST_CASE("a queue of datagrams gives them back whole, in order, with their addresses, whatever is taken in between") {
  std::mt19937 random(7);
  DatagramQueue queue;
  std::deque<std::pair<std::string, Address>> model;
  for (std::size_t i = 0; i < 20'000; ++i) {
    const std::string data(random() % 4 == 0 ? 0 : random() % 50, static_cast<char>('a' + i % 26));
    queue.push(data, address(i));
    model.emplace_back(data, address(i));
    for (std::size_t taken = random() % 3; taken > 0 && !model.empty(); --taken) {
      REQUIRE(queue.front() == model.front().first);
      REQUIRE(queue.front_address() == model.front().second);
      queue.pop();
      model.pop_front();
    }
    REQUIRE(queue.count() == model.size());
    REQUIRE(queue.empty() == model.empty());
  }
  queue.for_first(model.size() + 1, [&](std::string_view data, const Address& from) {
    REQUIRE(data == model.front().first);
    REQUIRE(from == model.front().second);
    model.pop_front();
  });
  CHECK(model.empty());
}

TEST_CASE("the size of a queue of datagrams is their bytes, an empty one counting as one") {
  DatagramQueue queue;
  CHECK(queue.size_bytes() == 0);
  queue.push("abc", {});
  queue.push("", {});
  queue.push("de", {});
  CHECK(queue.size_bytes() == 6);
  queue.pop(2);
  CHECK(queue.size_bytes() == 2);
  queue.pop();
  CHECK(queue.size_bytes() == 0);
  queue.push("", {});
  queue.clear();
  CHECK(queue.size_bytes() == 0);
  CHECK(queue.empty());
}

TEST_CASE("a burst of datagrams leaves no memory behind, and the queue can be used again") {
  DatagramQueue queue;
  for (std::size_t i = 0; i < 1000; ++i) queue.push("x", address(i));
  queue.pop(1000);
  CHECK(queue.empty());
  queue.push("y", address(1));
  CHECK(queue.front() == "y");
  CHECK(queue.count() == 1);
}
