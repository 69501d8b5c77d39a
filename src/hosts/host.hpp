// What the hosts share.  Floor 8, hosts.
#pragma once
#include <tulp/error.hpp>
#include <tulp/loop_host.hpp>

#include <chrono>
#include <string>

namespace tulp::hosts {

/// The host of `loop`, if it is of this kind.
/// Throws: InvalidStateError - it is not.
template <class Host>
Host& expect_host(EventLoop& loop, const char* name) {
  auto* host = dynamic_cast<Host*>(host_of(loop));
  if (host == nullptr) throw InvalidStateError(std::string("this event loop does not run in one of ") + name + "'s");
  return *host;
}

/// Rounded up, so that nothing is early.
inline std::chrono::milliseconds to_milliseconds(Duration delay) noexcept {
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(delay));
}

}  // namespace tulp::hosts
