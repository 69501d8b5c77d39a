#include "ssl/sessions.hpp"

#include <utility>

namespace tulp::detail {

void SslSessions::add(const std::string& server, SslSessionPtr session) {
  const std::lock_guard lock(mutex_);
  auto found = servers_.find(server);
  if (found == servers_.end()) {
    if (servers_.size() >= most_servers) {
      servers_.erase(by_age_.front());
      by_age_.pop_front();
    }
    found = servers_.emplace(server, Server{}).first;
    found->second.place = by_age_.insert(by_age_.end(), server);
  } else {
    by_age_.splice(by_age_.end(), by_age_, found->second.place);
  }
  auto& sessions = found->second.sessions;
  if (SSL_SESSION_get_protocol_version(session.get()) < TLS1_3_VERSION) sessions.clear();  // one serves for all
  if (sessions.size() >= most_for_each) sessions.pop_front();
  sessions.push_back(std::move(session));
}

SslSessionPtr SslSessions::take(const std::string& server) {
  const std::lock_guard lock(mutex_);
  const auto found = servers_.find(server);
  if (found == servers_.end()) return nullptr;
  auto& sessions = found->second.sessions;
  while (!sessions.empty()) {
    SslSessionPtr session = std::move(sessions.back());
    sessions.pop_back();
    if (SSL_SESSION_is_resumable(session.get()) != 1) continue;
    if (SSL_SESSION_get_protocol_version(session.get()) < TLS1_3_VERSION) {
      SSL_SESSION_up_ref(session.get());
      sessions.emplace_back(session.get());
    }
    return session;
  }
  return nullptr;
}

void SslSessions::clear() {
  const std::lock_guard lock(mutex_);
  servers_.clear();
  by_age_.clear();
}

}  // namespace tulp::detail
