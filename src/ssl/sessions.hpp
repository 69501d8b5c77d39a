// SslSessions: what a client remembers of its servers, so that the next handshake is short.  Floor 6, ssl.
#pragma once
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "ssl/openssl.hpp"

namespace tulp::detail {

/// Thread: any.  Whom a session belongs to is its key: one that was verified for a name is never used for another one.
class SslSessions {
 public:
  static constexpr std::size_t most_servers = 256;
  static constexpr std::size_t most_for_each = 4;

  void add(const std::string& server, SslSessionPtr session);
  /// The newest one, or null.  Of TLS 1.3 each is used once, so that nobody can link connections by it (RFC 8446, C.4).
  SslSessionPtr take(const std::string& server);
  void clear();

 private:
  struct Server {
    std::deque<SslSessionPtr> sessions;  // the newest one last
    std::list<std::string>::iterator place;
  };

  std::mutex mutex_;
  std::unordered_map<std::string, Server> servers_;
  std::list<std::string> by_age_;  // who was heard of last, last
};

}  // namespace tulp::detail
