// Names: modern row 30, getaddrinfo and getnameinfo on the loop.
#include <tulp/address_info.hpp>
#include <tulp/task.hpp>

#include <netdb.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(NetTest, "getaddrinfo gives the addresses of this machine's name, with the port") {
  const auto infos = loop().run_until_complete(loop().getaddrinfo("localhost", 80, {.type = SOCK_STREAM}));
  REQUIRE_FALSE(infos.empty());
  for (const AddressInfo& info : infos) {
    CHECK(info.address.port() == 80);
    CHECK(info.type == SOCK_STREAM);
    CHECK((info.address.host() == "127.0.0.1" || info.address.host() == "::1"));
  }
  loop().close();
}

TEST_CASE_METHOD(NetTest, "an empty host is the loopback addresses, or with AI_PASSIVE every address") {
  const auto here = loop().run_until_complete(loop().getaddrinfo("", 80, {.family = AF_INET, .type = SOCK_STREAM}));
  REQUIRE(here.size() == 1);
  CHECK(here[0].address.to_string() == "127.0.0.1:80");
  const auto all = loop().run_until_complete(
      loop().getaddrinfo("", 80, {.family = AF_INET, .type = SOCK_STREAM, .flags = AI_PASSIVE}));
  REQUIRE(all.size() == 1);
  CHECK(all[0].address.to_string() == "0.0.0.0:80");
  loop().close();
}

TEST_CASE_METHOD(NetTest, "a numeric address is known when getaddrinfo returns, and starts no thread") {
  PatchedSystem patched;
  sys.pthread_create = [](pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) { return std::abort(), 0; };
  auto four = loop().getaddrinfo("127.0.0.1", 80), six = loop().getaddrinfo("fe80::1%lo", "80", {.type = SOCK_DGRAM});
  REQUIRE(four.done());
  REQUIRE(six.done());
  CHECK(four.result().at(0).address.to_string() == "127.0.0.1:80");
  CHECK(six.result() == std::vector<AddressInfo>{{*Address::parse("fe80::1%lo", 80), SOCK_DGRAM, IPPROTO_UDP}});
  auto wrong = loop().getaddrinfo("127.0.0.1", 80, {.family = AF_INET6});
  CHECK_THROWS_AS(wrong.result(), ResolveError);
  auto numbers = loop().getnameinfo(*Address::parse("::1", 443), NI_NUMERICHOST | NI_NUMERICSERV);
  CHECK(numbers.result() == NameInfo{"::1", "443"});
}

TEST_CASE_METHOD(NetTest, "getnameinfo gives the names of an address; who asks at the same time shares the answer") {
  PatchedSystem patched;
  static std::atomic<int> asked;
  asked = 0;
  sys.getnameinfo = [](const sockaddr*, socklen_t, char* host, socklen_t, char* service, socklen_t, int) {
    ++asked;
    std::strcpy(host, "name.example");
    std::strcpy(service, "https");
    return 0;
  };
  const Address address = *Address::parse("192.0.2.1", 443);
  auto first = loop().getnameinfo(address), second = loop().getnameinfo(address);
  CHECK(loop().run_until_complete(first) == NameInfo{"name.example", "https"});
  CHECK(loop().run_until_complete(second) == NameInfo{"name.example", "https"});
  CHECK(asked == 1);
  loop().close();
}

TEST_CASE_METHOD(NetTest,
                 "a name without an address is a ResolveError in the Future, for who awaits it and who asks it") {
  PatchedSystem patched;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return EAI_NONAME; };
  auto lookup = loop().getaddrinfo("no-such-host.example", 80);
  run([&] { CHECK_THROWS_AS(await(lookup), ResolveError); });
  CHECK_THROWS_AS(lookup.result(), ResolveError);
  loop().close();
}

TEST_CASE_METHOD(NetTest, "a cancelled look-up ends at once, for a task that waits and for a callback") {
  PatchedSystem patched;
  static std::atomic<bool> may_answer;
  may_answer = false;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) {
    while (!may_answer) std::this_thread::yield();
    return EAI_NONAME;
  };
  auto lookup = loop().getaddrinfo("slow.example", 80);
  bool is_told = false;
  lookup.add_done_callback([&](const Future<std::vector<AddressInfo>>& done) { is_told = done.cancelled(); });
  run([&] {
    auto waiting = create_task([&] { await(loop().getaddrinfo("slow.example", 80)); });
    let_others_run(2);
    waiting.cancel();
    let_others_run(2);
    CHECK(waiting.cancelled());
    lookup.cancel();
    let_others_run(2);
    CHECK(is_told);
  });
  loop().close();
  may_answer = true;  // the thread that was left behind
  wait_for_threads(1);
}
