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

/// By a name, or by an address if there is one.
struct HostQuestion : Question {
  std::string name;
  std::vector<char> address;
  int family = AF_INET;
  std::vector<char> buffer = std::vector<char>(1024);
  hostent host{};
  hostent* found = nullptr;
  int result = 0;

  void look_up() noexcept {
    while ((result = try_once()) == ERANGE) buffer.resize(2 * buffer.size());
    errno = result;
  }

 private:
  int try_once() noexcept {
    if (address.empty())
      return sys.gethostbyname2_r(name.c_str(), family, &host, buffer.data(), buffer.size(), &found, &h_errno);
    return sys.gethostbyaddr_r(address.data(), static_cast<socklen_t>(address.size()), family, &host, buffer.data(),
                               buffer.size(), &found, &h_errno);
  }
};

/// A host as it is in the memory that the caller has brought.
class HostCopy {
 public:
  HostCopy(char* buffer, std::size_t size) noexcept : at_(buffer), left_(size) {}

  /// False if there is too little room.
  bool copy(const hostent& from, hostent& into) noexcept {
    const auto length = static_cast<std::size_t>(from.h_length);
    into = from;
    into.h_addr_list = copy_list(from.h_addr_list, [&](const char*) { return length; });
    into.h_aliases = copy_list(from.h_aliases, [](const char* text) { return std::strlen(text) + 1; });
    into.h_name = copy_bytes(from.h_name, std::strlen(from.h_name) + 1);
    return into.h_addr_list != nullptr && into.h_aliases != nullptr && into.h_name != nullptr;
  }

 private:
  char* take(std::size_t size, std::size_t alignment) noexcept {
    void* at = at_;
    if (std::align(alignment, size, at, left_) == nullptr) return nullptr;
    at_ = static_cast<char*>(at) + size;
    left_ -= size;
    return static_cast<char*>(at);
  }
  char* copy_bytes(const char* from, std::size_t size) noexcept {
    char* const into = take(size, 4);  // an address is looked at as a number
    return into != nullptr ? static_cast<char*>(std::memcpy(into, from, size)) : nullptr;
  }
  template <class Size>
  char** copy_list(char* const* from, Size size_of) noexcept {
    std::size_t count = 0;
    while (from[count] != nullptr) ++count;
    auto** const into = reinterpret_cast<char**>(take((count + 1) * sizeof(char*), alignof(char*)));
    if (into == nullptr) return nullptr;
    for (std::size_t i = 0; i < count; ++i)
      if ((into[i] = copy_bytes(from[i], size_of(from[i]))) == nullptr) return nullptr;
    into[count] = nullptr;
    return into;
  }

  char* at_;
  std::size_t left_;
};

struct HostRoom {
  hostent* into;
  char* buffer;
  std::size_t size;
  hostent** found;
  int* error;
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

namespace detail {
namespace {

/// The answer stays until the thread's next question.  glibc's own is not for several threads either.
hostent* ask_for_host(const char* function, std::shared_ptr<HostQuestion> question, bool needs_nobody) {
  thread_local std::shared_ptr<HostQuestion> answer;
  const auto plain = [&] {
    question->look_up();
    return 0;
  };
  const int outcome = park_or_block(function, plain, [&](TaskControl& me) {
    if (needs_nobody) return plain();
    return ask(me, question), 0;
  });
  if (outcome != 0) h_errno = NETDB_INTERNAL;
  if (outcome != 0 || question->found == nullptr) return nullptr;
  answer = std::move(question);
  return answer->found;
}

/// The same into the caller's memory, as glibc's functions that end in _r.
template <class Plain>
int ask_for_host(const char* function, std::shared_ptr<HostQuestion> question, const HostRoom& room, bool needs_nobody,
                 Plain plain) {
  if (needs_nobody || running_task() == nullptr) return plain();
  *room.found = nullptr;
  *room.error = TRY_AGAIN;  // for one that is cancelled
  int result = 0;
  const int outcome = park_or_block(
      function, [] { return 0; },
      [&](TaskControl& me) {
        ask(me, question);
        *room.error = question->host_error;
        result = question->result;
        if (question->found == nullptr) return 0;
        if (HostCopy(room.buffer, room.size).copy(*question->found, *room.into))
          *room.found = room.into;
        else
          result = ERANGE, *room.error = NETDB_INTERNAL;
        return 0;
      });
  return outcome != 0 ? errno : result;
}

std::shared_ptr<HostQuestion> question_by_name(const char* name, int family) {
  auto question = std::make_shared<HostQuestion>();
  question->name = name;
  question->family = family;
  return question;
}
std::shared_ptr<HostQuestion> question_by_address(const void* address, socklen_t size, int family) {
  auto question = std::make_shared<HostQuestion>();
  question->address.assign(static_cast<const char*>(address), static_cast<const char*>(address) + size);
  question->family = family;
  return question;
}
bool is_number(const char* name) { return Address::parse(name, 0).has_value(); }

}  // namespace
}  // namespace detail

hostent* posix::gethostbyname(const char* name) { return posix::gethostbyname2(name, AF_INET); }

hostent* posix::gethostbyname2(const char* name, int family) {
  return detail::ask_for_host("gethostbyname", detail::question_by_name(name, family), detail::is_number(name));
}

int posix::gethostbyname_r(const char* name, hostent* into, char* buffer, size_t size, hostent** found, int* error) {
  return posix::gethostbyname2_r(name, AF_INET, into, buffer, size, found, error);
}

int posix::gethostbyname2_r(const char* name, int family, hostent* into, char* buffer, size_t size, hostent** found,
                            int* error) {
  return detail::ask_for_host("gethostbyname", detail::question_by_name(name, family),
                              {into, buffer, size, found, error}, detail::is_number(name),
                              [&] { return sys.gethostbyname2_r(name, family, into, buffer, size, found, error); });
}

hostent* posix::gethostbyaddr(const void* address, socklen_t address_size, int family) {
  return detail::ask_for_host("gethostbyaddr", detail::question_by_address(address, address_size, family), false);
}

int posix::gethostbyaddr_r(const void* address, socklen_t address_size, int family, hostent* into, char* buffer,
                           size_t size, hostent** found, int* error) {
  return detail::ask_for_host(
      "gethostbyaddr", detail::question_by_address(address, address_size, family), {into, buffer, size, found, error},
      address_size == 0,
      [&] { return sys.gethostbyaddr_r(address, address_size, family, into, buffer, size, found, error); });
}

}  // namespace tulp
