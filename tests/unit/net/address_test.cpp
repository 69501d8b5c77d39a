#include <tulp/address.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include "support/catch.hpp"

using namespace tulp;

TEST_CASE("a numeric IPv4 address is parsed and prints as it was") {
  const auto address = Address::parse("127.0.0.1", 80);
  REQUIRE(address);
  CHECK(address->family() == AF_INET);
  CHECK(address->host() == "127.0.0.1");
  CHECK(address->port() == 80);
  CHECK(address->to_string() == "127.0.0.1:80");
  CHECK(address->size() == sizeof(sockaddr_in));
  CHECK(Address::parse("255.255.255.255", 65535)->to_string() == "255.255.255.255:65535");
}

TEST_CASE("a numeric IPv6 address prints in brackets, in its short form") {
  CHECK(Address::parse("::1", 80)->to_string() == "[::1]:80");
  CHECK(Address::parse("2001:0db8:0:0::0001", 1)->to_string() == "[2001:db8::1]:1");
  CHECK(Address::parse("::ffff:1.2.3.4", 1)->host() == "::ffff:1.2.3.4");
  CHECK(Address::parse("::1", 1)->family() == AF_INET6);
  CHECK(Address::parse("::1", 1)->size() == sizeof(sockaddr_in6));
}

TEST_CASE("an IPv6 address keeps its scope, by name or by number") {
  const auto by_name = Address::parse("fe80::1%lo", 5);
  REQUIRE(by_name);
  CHECK(by_name->host() == "fe80::1%lo");
  CHECK(by_name->to_string() == "[fe80::1%lo]:5");
  const auto by_number = Address::parse("fe80::1%12345", 5);
  REQUIRE(by_number);
  CHECK(by_number->host() == "fe80::1%12345");
  CHECK(*by_name != *Address::parse("fe80::1", 5));
}

TEST_CASE("whatever is not a plain numeric address is none") {
  for (const std::string text : {"",
                                 "localhost",
                                 "127.1",
                                 "0x7f000001",
                                 "2130706433",
                                 "127.0.0.1 ",
                                 " 127.0.0.1",
                                 "127.0.0.01x",
                                 "256.0.0.1",
                                 "1.2.3.4.5",
                                 "[::1]",
                                 "::1]",
                                 ":::1",
                                 "1::2::3",
                                 "fe80::1%",
                                 "fe80::1%no-such-interface",
                                 "fe80::1%-1",
                                 "fe80::1%99999999999",
                                 "127.0.0.1%lo",
                                 "::g"}) {
    INFO("'" << text << "'");
    CHECK_FALSE(Address::parse(text, 1));
  }
  CHECK_FALSE(Address::parse(std::string_view("127.0.0.1\0", 10), 1));
  CHECK_FALSE(Address::parse(std::string_view("::1\0x", 5), 1));
  CHECK_FALSE(Address::parse(std::string(100'000, '1'), 1));
}

TEST_CASE("a default address is none") {
  const Address none;
  CHECK(none.family() == AF_UNSPEC);
  CHECK(none.host() == "");
  CHECK(none.port() == 0);
  CHECK(none.to_string() == "no address");
  CHECK(none.size() == 0);
  CHECK(none == Address());
}

TEST_CASE("Unix paths and abstract names print and are bounded by what the system allows") {
  const Address path = Address::unix_path("/run/x.sock");
  CHECK(path.family() == AF_UNIX);
  CHECK(path.host() == "/run/x.sock");
  CHECK(path.port() == 0);
  CHECK(path.to_string() == "unix:/run/x.sock");
  const Address abstract = Address::unix_path(std::string_view("\0name", 5));
  CHECK(abstract.host() == std::string_view("\0name", 5));
  CHECK(abstract.to_string() == "unix:@name");
  CHECK(Address::unix_path(std::string(107, 'p')).host() == std::string(107, 'p'));
  CHECK_THROWS_AS(Address::unix_path(std::string(108, 'p')), std::invalid_argument);
  CHECK_THROWS_AS(Address::unix_path(""), std::invalid_argument);
}

TEST_CASE("addresses are values: compared, ordered, hashed and printed") {
  const Address a = *Address::parse("127.0.0.1", 1), b = *Address::parse("127.0.0.1", 2),
                six = *Address::parse("::1", 1);
  CHECK(a == *Address::parse("127.0.0.1", 1));
  CHECK(a != b);
  CHECK(a != six);
  CHECK((a < b) != (b < a));
  const std::set<Address> ordered{a, b, six, a};
  CHECK(ordered.size() == 3);
  const std::unordered_set<Address> hashed{a, b, six, a};
  CHECK(hashed.size() == 3);
  std::ostringstream out;
  out << a << ' ' << six;
  CHECK(out.str() == "127.0.0.1:1 [::1]:1");
}

TEST_CASE("an address copies what a system call gave, and no more than fits") {
  sockaddr_in native{};
  native.sin_family = AF_INET;
  native.sin_port = htons(9);
  native.sin_addr.s_addr = htonl(0x0a000001);
  const Address address(reinterpret_cast<const sockaddr*>(&native), sizeof native);
  CHECK(address.to_string() == "10.0.0.1:9");
  CHECK(std::equal(reinterpret_cast<const char*>(address.data()), reinterpret_cast<const char*>(address.data()) + 8,
                   reinterpret_cast<const char*>(&native)));
  sockaddr_storage large{};
  large.ss_family = AF_UNIX;
  CHECK(Address(reinterpret_cast<const sockaddr*>(&large), sizeof large).size() <= 112);
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  CHECK(Address(reinterpret_cast<const sockaddr*>(&unnamed), sizeof(sa_family_t)).host() == "");
}
