#include <tulp/posix.hpp>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tulp/address.hpp>
#include <tulp/future.hpp>
#include <tulp/task.hpp>

#include "base/sys.hpp"
#include "net/resolver.hpp"
#include "posix/blocking_call.hpp"

namespace tulp {
namespace detail {
namespace {

std::optional<std::string> copy_of(const char* text) {
  return text != nullptr ? std::optional(std::string(text)) : std::nullopt;
}
const char* pointer_to(const std::optional<std::string>& text) { return text ? text->c_str() : nullptr; }

/// Runs `question`, which owns all that it uses, on a resolver's thread; its answer.  A cancellation leaves it behind.
template <class Question>
void ask(TaskControl& me, std::shared_ptr<Question> question) {
  throw_if_cancelled();
  await(me.loop().service<Resolver>().run([question] {
    question->look_up();
    question->error_number = errno;
    question->host_error = h_errno;
  }));
  errno = question->error_number;
  h_errno = question->host_error;
}

struct Question {
  int error_number = 0;
  int host_error = 0;
};

struct AddressQuestion : Question {
  std::optional<std::string> host, service;
  std::optional<addrinfo> hints;
  addrinfo* found = nullptr;
  int result = 0;

  ~AddressQuestion() {
    if (found != nullptr) sys.freeaddrinfo(found);
  }
  void look_up() noexcept {
    result = sys.getaddrinfo(pointer_to(host), pointer_to(service), hints ? &*hints : nullptr, &found);
    if (result != 0) found = nullptr;
  }
};

int getaddrinfo_in(TaskControl& me, const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  auto question = std::make_shared<AddressQuestion>();
  question->host = copy_of(host);
  question->service = copy_of(service);
  if (hints != nullptr) question->hints = *hints;
  ask(me, question);
  if (question->result == 0) *found = std::exchange(question->found, nullptr);
  return question->result;
}

struct NameQuestion : Question {
  sockaddr_storage address{};
  socklen_t address_size = 0;
  std::vector<char> host, service;
  int flags = 0;
  int result = 0;

  void look_up() noexcept {
    result = sys.getnameinfo(reinterpret_cast<const sockaddr*>(&address), address_size, host.data(),
                             static_cast<socklen_t>(host.size()), service.data(),
                             static_cast<socklen_t>(service.size()), flags);
  }
};

struct HostQuestion : Question {
  std::string name;
  std::vector<char> buffer = std::vector<char>(1024);
  hostent host{};
  hostent* found = nullptr;

  void look_up() noexcept {
    int error = 0;
    while ((error = sys.gethostbyname2_r(name.c_str(), AF_INET, &host, buffer.data(), buffer.size(), &found,
                                         &h_errno)) == ERANGE)
      buffer.resize(2 * buffer.size());
    errno = error;
  }
};

/// Asks nobody.
bool is_number(const char* host, const addrinfo* hints) {
  return host == nullptr || (hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0) || Address::parse(host, 0);
}

/// As park_or_block(), for calls that return an error of netdb.h.
template <class Plain, class Body>
int park_or_block_for_name(const char* function, Plain plain, Body body) {
  int result = 0;
  int error = 0;
  const int outcome = park_or_block(
      function, [&] { return result = plain(), error = errno, 0; },
      [&](TaskControl& me) { return result = body(me), error = errno, 0; });
  if (outcome < 0) return EAI_SYSTEM;
  if (result == EAI_SYSTEM) errno = error;
  return result;
}

}  // namespace
}  // namespace detail

using detail::park_or_block_for_name;
using detail::TaskControl;

int posix::getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  const auto plain = [&] { return sys.getaddrinfo(host, service, hints, found); };
  if (detail::is_number(host, hints)) return plain();
  return park_or_block_for_name(
      "getaddrinfo", plain, [&](TaskControl& me) { return detail::getaddrinfo_in(me, host, service, hints, found); });
}

int posix::getnameinfo(const sockaddr* address, socklen_t address_size, char* host, socklen_t host_size, char* service,
                       socklen_t service_size, int flags) {
  const auto plain = [&] {
    return sys.getnameinfo(address, address_size, host, host_size, service, service_size, flags);
  };
  const bool needs_host = host != nullptr && host_size > 0 && (flags & NI_NUMERICHOST) == 0;
  if (!needs_host || address_size > sizeof(sockaddr_storage)) return plain();
  return park_or_block_for_name("getnameinfo", plain, [&](TaskControl& me) {
    auto question = std::make_shared<detail::NameQuestion>();
    std::memcpy(&question->address, address, address_size);
    question->address_size = address_size;
    question->host.resize(host_size);
    question->service.resize(service != nullptr ? service_size : 0);
    question->flags = flags;
    detail::ask(me, question);
    if (question->result == 0) {
      std::memcpy(host, question->host.data(), host_size);
      if (!question->service.empty()) std::memcpy(service, question->service.data(), service_size);
    }
    return question->result;
  });
}

/// glibc's own is not for several threads either; this one is at least a thread's.
hostent* posix::gethostbyname(const char* name) {
  thread_local std::shared_ptr<detail::HostQuestion> answer;
  auto question = std::make_shared<detail::HostQuestion>();
  question->name = name;
  const auto plain = [&] {
    question->look_up();
    return 0;
  };
  const int outcome = detail::park_or_block("gethostbyname", plain, [&](TaskControl& me) {
    if (Address::parse(name, 0)) return plain();
    return detail::ask(me, question), 0;
  });
  if (outcome != 0) h_errno = NETDB_INTERNAL;
  if (outcome != 0 || question->found == nullptr) return nullptr;
  answer = std::move(question);
  return answer->found;
}

}  // namespace tulp
