// AddressInfo and NameInfo: what a name stands for, and what stands for an address.  Floor 6, net.
#pragma once
#include <tulp/address.hpp>
#include <tulp/future.hpp>

#include <string>
#include <vector>

namespace tulp {

/// What is wanted of EventLoop::getaddrinfo(); 0 takes everything.  Source: getaddrinfo(3), "hints".
struct AddressInfoOptions {
  int family = 0;  ///< AF_INET or AF_INET6.
  int type = 0;    ///< SOCK_STREAM, SOCK_DGRAM or SOCK_RAW.
  int proto = 0;
  int flags = 0;  ///< AI_PASSIVE, AI_CANONNAME, ...
};

/// An address, and the kind of socket that reaches it.
struct AddressInfo {
  Address address;
  int type = 0;
  int proto = 0;
  std::string canonname = {};  ///< In the first answer, with AI_CANONNAME.

  friend bool operator==(const AddressInfo& a, const AddressInfo& b) = default;
};

/// Host and service of an address, as names where they have some.
struct NameInfo {
  std::string host;
  std::string service;

  friend bool operator==(const NameInfo& a, const NameInfo& b) = default;
};

}  // namespace tulp
