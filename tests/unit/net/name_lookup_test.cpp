#include "net/name_lookup.hpp"

#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace tulp::detail;

namespace {

std::vector<AddressInfo> numeric(const std::string& host, const std::string& service, AddressInfoOptions options = {}) {
  return numeric_addresses(host, service, options).value();
}

}  // namespace

TEST_CASE("a numeric address stands for itself, once for each kind of socket, as getaddrinfo has it") {
  for (const std::string host : {"127.0.0.1", "::1", "192.0.2.7"}) {
    INFO(host);
    const AddressInfoOptions numbers{.flags = AI_NUMERICHOST};
    CHECK(numeric(host, "80") == look_up_addresses(host, "80", numbers));
    for (const int type : {SOCK_STREAM, SOCK_DGRAM})
      CHECK(numeric(host, "80", {.type = type}) ==
            look_up_addresses(host, "80", {.type = type, .flags = AI_NUMERICHOST}));
    CHECK(numeric(host, "80", {.proto = IPPROTO_UDP}).at(0).type == SOCK_DGRAM);
  }
}

TEST_CASE("a numeric address with a service's name is looked up") {
  PatchedSystem patched;
  sys.getaddrinfo = [](const char* host, const char*, const addrinfo* hints, addrinfo** found) {
    return ::getaddrinfo(host, "80", hints, found);
  };
  CHECK_FALSE(numeric_addresses("127.0.0.1", "http", {}));
  CHECK(look_up_addresses("127.0.0.1", "http", {}).at(0).address.to_string() == "127.0.0.1:80");
}

TEST_CASE("a kind of socket that getaddrinfo does not know is taken at its word for a numeric address") {
  const auto infos = numeric("127.0.0.1", "80", {.type = SOCK_SEQPACKET, .proto = IPPROTO_SCTP});
  REQUIRE(infos.size() == 1);
  CHECK(infos[0].type == SOCK_SEQPACKET);
  CHECK(infos[0].proto == IPPROTO_SCTP);
}

TEST_CASE("a numeric address keeps its scope, and has its own text as its canonical name") {
  CHECK(numeric("fe80::1%lo", "1").at(0).address.to_string() == "[fe80::1%lo]:1");
  CHECK(numeric("127.0.0.1", "", {.flags = AI_CANONNAME}).at(0).canonname == "127.0.0.1");
  CHECK(numeric("127.0.0.1", "").at(0).address.port() == 0);
}

TEST_CASE("an IPv4 address becomes an IPv6 one where that was asked for, and is refused where it was not") {
  CHECK(numeric("127.0.0.1", "1", {.family = AF_INET6, .flags = AI_V4MAPPED}).at(0).address.host() ==
        "::ffff:127.0.0.1");
  CHECK_THROWS_AS(numeric("127.0.0.1", "1", {.family = AF_INET6}), ResolveError);
  CHECK_THROWS_AS(numeric("::1", "1", {.family = AF_INET}), ResolveError);
}

TEST_CASE("a name, or a port that is no number, needs a look-up") {
  CHECK_FALSE(numeric_addresses("localhost", "80", {}));
  CHECK_FALSE(numeric_addresses("127.1", "80", {}));
  CHECK_FALSE(numeric_addresses("", "80", {}));
  for (const std::string service : {"http", "80 ", "-1", "65536", "8o", "0x50"})
    CHECK_FALSE(numeric_addresses("::1", service, {}));
}

TEST_CASE("look_up_addresses hands its hints on, and gives each answer once, with the canonical name at the first") {
  PatchedSystem patched;
  static std::string asked;
  sys.getaddrinfo = [](const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
    asked = std::string(host) + ' ' + service + ' ' + std::to_string(hints->ai_family) + ' ' +
            std::to_string(hints->ai_socktype) + ' ' + std::to_string(hints->ai_protocol) + ' ' +
            std::to_string(hints->ai_flags);
    static sockaddr_in address;
    address = loopback_address(80);
    static char name[] = "canonical.example";
    static addrinfo infos[2];
    infos[1] = {0, AF_INET, SOCK_STREAM, 6, sizeof address, reinterpret_cast<sockaddr*>(&address), nullptr, nullptr};
    infos[0] = infos[1];
    infos[0].ai_canonname = name;
    infos[0].ai_next = &infos[1];
    *found = &infos[0];
    return 0;
  };
  sys.freeaddrinfo = [](addrinfo*) {};
  const auto infos = look_up_addresses("name.example", "http",
                                       {.family = AF_INET, .type = SOCK_STREAM, .proto = 6, .flags = AI_CANONNAME});
  CHECK(asked == "name.example http 2 1 6 2");
  REQUIRE(infos.size() == 1);
  CHECK(infos[0].canonname == "canonical.example");
  CHECK(infos[0].address.to_string() == "127.0.0.1:80");
}

TEST_CASE("no answer, and nothing to ask for, are ResolveErrors that say what was asked") {
  PatchedSystem patched;
  CHECK(message_of([&] { look_up_addresses("", "", {}); }).find("an empty name") != std::string::npos);
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo** found) { return *found = nullptr, 0; };
  sys.freeaddrinfo = [](addrinfo*) {};
  CHECK(message_of([&] { look_up_addresses("name.example", "80", {}); }).find("resolve name.example") !=
        std::string::npos);
  CHECK(message_of([&] { look_up_addresses("", "no-such", {}); }).find("service no-such") != std::string::npos);
  CHECK_THROWS_AS(look_up_addresses("name.example", std::string("80\0x", 4), {}), ResolveError);
}

TEST_CASE("an address has names, or numbers where those are asked for; both at once need no look-up") {
  const Address address = *Address::parse("127.0.0.1", 80);
  CHECK(numeric_names(address, NI_NUMERICHOST | NI_NUMERICSERV) == NameInfo{"127.0.0.1", "80"});
  CHECK_FALSE(numeric_names(address, NI_NUMERICHOST));
  CHECK_FALSE(numeric_names(address, NI_NUMERICSERV));
  CHECK_FALSE(numeric_names(Address::unix_path("/x"), NI_NUMERICHOST | NI_NUMERICSERV));
  PatchedSystem patched;
  sys.getnameinfo = [](const sockaddr*, socklen_t, char* host, socklen_t, char* service, socklen_t, int flags) {
    std::strcpy(host, "name.example");
    std::strcpy(service, flags == NI_DGRAM ? "datagrams" : "http");
    return 0;
  };
  CHECK(look_up_names(address, 0) == NameInfo{"name.example", "http"});
  CHECK(look_up_names(address, NI_DGRAM) == NameInfo{"name.example", "datagrams"});
}

TEST_CASE("getnameinfo that fails is a ResolveError or an OsError that names the address") {
  const Address address = *Address::parse("127.0.0.1", 80);
  PatchedSystem patched;
  sys.getnameinfo = [](const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int) { return EAI_NONAME; };
  CHECK(message_of([&] { look_up_names(address, NI_NAMEREQD); }).find("127.0.0.1:80") != std::string::npos);
  sys.getnameinfo = [](const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int) {
    errno = EMFILE;
    return EAI_SYSTEM;
  };
  CHECK_THROWS_AS(look_up_names(address, 0), OsError);
}
