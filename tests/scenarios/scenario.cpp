#include "scenarios/scenario.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/transport.hpp>

namespace tulp::scenarios {
namespace {

const Trace trace;

sockaddr_in loopback_address(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

UniqueFd new_socket() {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) throw_os_error(errno, "socket");
  return socket;
}

void check(int result, const char* operation) {
  if (result < 0) throw_os_error(errno, operation);
}

void mark_pass(EventLoop& loop, int number, int count) {
  trace("pass", number);
  if (number < count) loop.call_soon(mark_pass, std::ref(loop), number + 1, count);
}

}  // namespace

void fail(const char* text) { throw Oops(text); }

void mark_passes(EventLoop& loop, int count) { loop.call_soon(mark_pass, std::ref(loop), 1, count); }

std::string name_of(const std::exception_ptr& error) {
  if (!error) return "None";
  try {
    std::rethrow_exception(error);
  } catch (const Oops& oops) {
    return oops.what();
  } catch (const CancelledError&) {
    return "CancelledError";
  } catch (const FutureCancelledError&) {
    return "FutureCancelledError";
  } catch (const InvalidStateError&) {
    return "InvalidStateError";
  } catch (const std::invalid_argument&) {
    return "invalid_argument";
  } catch (const TimeoutError&) {
    return "TimeoutError";
  } catch (const IncompleteReadError&) {
    return "IncompleteReadError";
  } catch (const LimitOverrunError&) {
    return "LimitOverrunError";
  } catch (const ConnectionResetError&) {
    return "ConnectionResetError";
  } catch (const BrokenPipeError&) {
    return "BrokenPipeError";
  } catch (const OsError& os_error) {
    return os_error.code().value() == EAGAIN ? "EAGAIN" : ::strerrorname_np(os_error.code().value());
  } catch (...) {
    return describe(error);
  }
}

void print_line(const std::string& line) { std::puts(line.c_str()); }

void run_once(EventLoop& loop) {
  loop.stop();
  loop.run_forever();
}

void let_pass(EventLoop& loop, Duration time) {
  const TimePoint end = after(loop.time(), time);
  while (loop.time() < end) {
  }
}

std::vector<Scenario>& all_scenarios() {
  static std::vector<Scenario> scenarios;
  return scenarios;
}

// Recorder.

void Recorder::hear(const std::string& what, const std::function<void()>& hook) const {
  trace(prefix_ + what);
  if (hook) hook();
}

void Recorder::connection_made(std::shared_ptr<Transport> made) {
  transport = std::move(made);
  hear("made", on_made);
}

void Recorder::data_received(std::string_view data) {
  ++count;
  hear("data " + std::string(data), on_data);
}

bool Recorder::eof_received() {
  has_ended = true;
  hear("eof", on_eof);
  return keeps_writing;
}

void Recorder::pause_writing() { hear("pause", on_pause); }
void Recorder::resume_writing() { hear("resume", on_resume); }

void Recorder::connection_lost(std::exception_ptr error) {
  is_lost = true;
  hear("lost " + name_of(error), on_lost);
  transport = nullptr;
}

// The other end.

Peer::Peer(UniqueFd socket) : socket_(std::move(socket)) {
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  const int on = 1;
  check(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "setsockopt");
  check(::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
}

Peer Peer::connect(std::uint16_t port) {
  UniqueFd socket = new_socket();
  const sockaddr_in address = loopback_address(port);
  check(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  return Peer(std::move(socket));
}

void Peer::send(std::string_view text) const {
  if (::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    throw_os_error(errno, "send");
}

void Peer::half_close() const { check(::shutdown(socket_.get(), SHUT_WR), "shutdown"); }

void Peer::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  check(::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now), "setsockopt");
  close();
}

std::string Peer::receive() const {
  std::string received;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno != ECONNRESET) throw_os_error(errno, "recv");
    if (got <= 0) return received;
    received.append(buffer, static_cast<std::size_t>(got));
  }
}

std::size_t Peer::take() const {
  static char buffer[1 << 20];
  const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

bool Peer::has_ended() const {
  char byte = 0;
  return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

PlainListener::PlainListener() : socket_(new_socket()) {
  sockaddr_in address = loopback_address(0);
  socklen_t size = sizeof address;
  const int easily_filled = 64 * 1024;
  check(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &easily_filled, sizeof easily_filled), "setsockopt");
  check(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), "bind");
  check(::listen(socket_.get(), 8), "listen");
  check(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  port_ = ntohs(address.sin_port);
}

Peer PlainListener::accept() const {
  const int fd = ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
  check(fd, "accept");
  return Peer(UniqueFd(fd));
}

Wire::Wire(EventLoop& loop, std::shared_ptr<Recorder> protocol) : Wire(loop, protocol, PlainListener()) {}

Wire::Wire(EventLoop& loop, const std::shared_ptr<Recorder>& protocol, const PlainListener& listener)
    : transport(loop.run_until_complete(loop.create_connection([&] { return protocol; }, "127.0.0.1", listener.port()))
                    .transport),
      peer(listener.accept()) {
  run_once(loop);  // the first read is tried before the selector is asked
}

void Wire::send(std::string_view text) const {
  peer.send(text);
  wait_until_readable();
}

void Wire::half_close() const {
  peer.half_close();
  wait_until_readable();
}

void Wire::reset() {
  peer.reset();
  wait_until_readable();
}

void Wire::wait_until_readable() const {
  pollfd waiting{transport->get_extra_info<int>("socket").value(), POLLIN, 0};
  if (::poll(&waiting, 1, 10'000) != 1) throw TimeoutError("nothing came over the wire");
}

}  // namespace tulp::scenarios
