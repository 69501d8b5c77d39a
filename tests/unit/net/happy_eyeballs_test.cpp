#include "net/happy_eyeballs.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace tulp;
using tulp::detail::interleave;

namespace {

/// "4a 6b" are an IPv4 and an IPv6 address.
std::vector<Address> addresses(const std::string& names) {
  std::vector<Address> list;
  for (std::size_t at = 0; at < names.size(); at += 3)
    list.push_back(*Address::parse(
        names[at] == '4' ? "10.0.0." + std::to_string(names[at + 1]) : "::" + std::string(1, names[at + 1]), 1));
  return list;
}

}  // namespace

TEST_CASE("families alternate, each in its order, and the first one begins") {
  CHECK(interleave(addresses("6a 6b 6c 4a 4b"), 1) == addresses("6a 4a 6b 4b 6c"));
  CHECK(interleave(addresses("4a 6a 6b 6c"), 1) == addresses("4a 6a 6b 6c"));
  CHECK(interleave(addresses("4a 6a 4b 6b"), 1) == addresses("4a 6a 4b 6b"));
  CHECK(interleave(addresses("4a 4b"), 1) == addresses("4a 4b"));
}

TEST_CASE("the first family may have more than one address in front") {
  CHECK(interleave(addresses("6a 6b 6c 4a 4b"), 2) == addresses("6a 6b 4a 6c 4b"));
  CHECK(interleave(addresses("6a 6b 4a 4b"), 3) == addresses("6a 6b 4a 4b"));
  CHECK(interleave(addresses("6a 4a"), 100) == addresses("6a 4a"));
}

TEST_CASE("with 0 the order stays, and nothing stays nothing") {
  CHECK(interleave(addresses("6a 6b 4a 6c"), 0) == addresses("6a 6b 4a 6c"));
  CHECK(interleave({}, 1).empty());
}
