#include "net/happy_eyeballs.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <tulp/error.hpp>

#include "net/socket.hpp"

namespace tulp::detail {

std::vector<Address> interleave(const std::vector<Address>& addresses, std::size_t first_count) {
  if (first_count == 0 || addresses.size() < 2) return addresses;
  std::vector<std::vector<Address>> families;  // each in its order, none of them empty
  for (const Address& address : addresses) {
    const auto is_of_its_family = [&](const auto& family) { return family.front().family() == address.family(); };
    const auto found = std::find_if(families.begin(), families.end(), is_of_its_family);
    if (found != families.end())
      found->push_back(address);
    else
      families.push_back({address});
  }
  std::vector<Address>& first = families.front();
  const auto lead_end = first.begin() + static_cast<std::ptrdiff_t>(std::min(first_count, first.size())) - 1;
  std::vector<Address> ordered(first.begin(), lead_end);
  first.erase(first.begin(), lead_end);
  for (std::size_t i = 0; ordered.size() < addresses.size(); ++i) {
    for (const auto& family : families) {
      if (i < family.size()) ordered.push_back(family[i]);
    }
  }
  return ordered;
}

ConnectRace::ConnectRace(TaskControl& me, const std::vector<Address>& addresses, const ConnectOptions& options)
    : me_(me), options_(options) {
  for (const Address& address : interleave(addresses, options.interleave)) attempts_.push_back({address});
}

ConnectRace::~ConnectRace() { undo(); }

std::unique_ptr<ByteStream> ConnectRace::run() {
  for (;;) {
    if (is_next_due())
      begin(attempts_[begun_count_++]);
    else if (is_any_under_way())
      wait();
    else
      return nullptr;
    for (Attempt& attempt : attempts_) {
      if (attempt.connecting && stands(attempt)) return std::exchange(attempt.connecting, nullptr)->take_stream();
    }
  }
}

bool ConnectRace::is_next_due() const {
  if (begun_count_ == attempts_.size()) return false;
  return begun_count_ == 0 || attempts_[begun_count_ - 1].error != 0 || me_.loop().time() >= next_.when();
}

bool ConnectRace::is_any_under_way() const {
  return std::any_of(attempts_.begin(), attempts_.end(),
                     [](const Attempt& attempt) { return attempt.connecting != nullptr; });
}

void ConnectRace::begin(Attempt& attempt) {
  next_.set_when(after(me_.loop().time(), options_.happy_eyeballs_delay));
  const Address& address = attempt.address;
  if (options_.local_addr && options_.local_addr->family() != address.family()) {
    attempt.error = EAFNOSUPPORT;
    return;
  }
  try {
    UniqueFd socket = make_stream_socket(address.family(), options_.proto);
    if (options_.local_addr) bind_socket(socket.get(), *options_.local_addr);
    tune(socket.get(), options_);
    attempt.connecting = make_connecting(me_.loop(), std::move(socket), address);
  } catch (const OsError& error) {
    attempt.error = error.code().value();
  }
}

/// An attempt that has failed is closed.
bool ConnectRace::stands(Attempt& attempt) {
  const std::optional<int> outcome = attempt.connecting->outcome();
  if (!outcome) return false;
  attempt.error = *outcome;
  // A port of this machine's own range may be dialled from itself, and then talks to itself.
  if (attempt.error == 0 && local_address(attempt.connecting->fd()) == attempt.address) attempt.error = ECONNREFUSED;
  if (attempt.error != 0) attempt.connecting = nullptr;
  return attempt.error == 0;
}

/// Parks: until there is something to look at, or the next attempt is due.
void ConnectRace::wait() {
  throw_if_cancelled();
  for (const Attempt& attempt : attempts_) {
    if (attempt.connecting) attempt.connecting->arm(me_);
  }
  if (begun_count_ < attempts_.size()) me_.loop().start_timer(next_);
  park(*this);
  undo();
}

std::string ConnectRace::description() const {
  std::string text = "a connection to ";
  for (const Attempt& attempt : attempts_) {
    if (attempt.connecting == nullptr) continue;
    if (!text.ends_with(' ')) text += " or ";
    text += attempt.address.to_string();
  }
  return text.ends_with(' ') ? text + "another address" : text;
}

void ConnectRace::undo() noexcept {
  me_.loop().stop_timer(next_);
  for (const Attempt& attempt : attempts_) {
    if (attempt.connecting) attempt.connecting->disarm();
  }
}

}  // namespace tulp::detail
