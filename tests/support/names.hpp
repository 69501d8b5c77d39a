// Names and hosts that behave as a test wants.
#pragma once
#include <netdb.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/net.hpp"

namespace tulp::test {

/// getaddrinfo() that knows the addresses of one test's names; the last element of an address is its port's offset.
class FakeNames {
 public:
  explicit FakeNames(std::vector<std::string> addresses) {
    table() = std::move(addresses);
    sys.getaddrinfo = [](const char*, const char* service, const addrinfo*, addrinfo** found) {
      *found = nullptr;
      for (auto at = table().rbegin(); at != table().rend(); ++at) {
        addrinfo hints{};
        hints.ai_flags = AI_NUMERICHOST;
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* one = nullptr;
        if (::getaddrinfo(at->c_str(), service, &hints, &one) != 0) return EAI_NONAME;
        one->ai_next = *found;
        *found = one;
      }
      return *found != nullptr ? 0 : EAI_NONAME;
    };
    sys.freeaddrinfo = [](addrinfo* first) {
      while (first != nullptr) {
        addrinfo* next = std::exchange(first->ai_next, nullptr);
        ::freeaddrinfo(first);
        first = next;
      }
    };
  }

 private:
  static std::vector<std::string>& table() {
    static std::vector<std::string> names;
    return names;
  }
  PatchedSystem patched_;
};

/// An address to which connecting neither succeeds nor fails: the listener's queue is full.
class BlackHole {
 public:
  BlackHole() : listener_(0, 0) {
    // Linux takes one connection more than the backlog, and ignores the rest for seconds.
    for (int i = 0; i < 4; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      const sockaddr_in address = loopback_address(listener_.port());
      static_cast<void>(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
      waiting_.emplace_back(fd);
    }
  }
  std::uint16_t port() const { return listener_.port(); }

 private:
  PlainListener listener_;
  std::vector<Peer> waiting_;
};

}  // namespace tulp::test
