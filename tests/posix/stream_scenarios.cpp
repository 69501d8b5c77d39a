// Bytes through sockets.
#include <sys/un.h>

#include <cstring>

#include "posix/ends.hpp"
#include "posix/stage.hpp"
#include "support/descriptor_message.hpp"

namespace tulp::test {
namespace {

constexpr int limit = 60;  // ms

/// Each scenario for TCP and for Unix sockets.
using Make = Ends (*)();
Ends unix_stream() { return unix_pair(); }

std::string text(const char* from, long size) {
  return size > 0 ? std::string(from, static_cast<std::size_t>(size)) : "";
}

/// Until nothing more fits, also after the peer's kernel has made room of its own accord.
void fill(Stage& s, int sock) {
  const std::string much(1'000'000, 'm');
  for (int refusals = 0; refusals < 3;) {
    const bool is_refused = s.calls.send(sock, much.data(), much.size(), MSG_DONTWAIT) < 0;
    refusals = is_refused ? refusals + 1 : 0;
    if (is_refused) s.pause(20);  // thrice that is longer than an acknowledgement may be put off
  }
}

/// What `call()` returns when nothing fits: on a busy machine the peer's kernel may make room even later.
template <class Call>
ssize_t refused(Call call) {
  ssize_t sent;
  do sent = call();
  while (sent > 0);
  return sent;
}

void read_waits(Stage& s, Make make) {
  const Ends ends = make();
  char into[64];
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(ends.b, "hello", 5);
  });
  s.see("read of more than comes", [&] { return s.calls.read(ends.a, into, sizeof into); });
  writer->join();
  s.note(text(into, 5));
  s.calls.write(ends.b, "abcdef", 6);
  s.see("a part of what is there", [&] { return s.calls.read(ends.a, into, 2); });
  s.see("the rest", [&] { return s.calls.recv(ends.a, into + 2, 60, 0); });
  s.note(text(into, 6));
  s.see("nothing asked for", [&] { return s.calls.read(ends.a, into, 0); });
}

void ends_are_read(Stage& s, Make make) {
  Ends ends = make();
  char into[64];
  s.calls.write(ends.b, "last", 4);
  ::shutdown(ends.b, SHUT_WR);
  s.see("what came before the end", [&] { return s.calls.read(ends.a, into, sizeof into); });
  s.see("the end", [&] { return s.calls.read(ends.a, into, sizeof into); });
  s.see("the end again", [&] { return s.calls.recv(ends.a, into, sizeof into, 0); });
  s.see("writing goes on", [&] { return s.calls.write(ends.a, "x", 1); });
  ends.b.close();
  s.pause(10);
  s.see("writing to a closed peer, first", [&] { return s.calls.send(ends.a, "x", 1, MSG_NOSIGNAL) > 0 ? 1 : -1; });
}

void an_end_wakes_a_reader(Stage& s, Make make) {
  Ends ends = make();
  char into[8];
  auto closer = s.start([&] {
    s.pause(20);
    ends.b.close();
  });
  s.see("read until the peer closes", [&] { return s.calls.read(ends.a, into, sizeof into); });
  closer->join();
}

void writes_are_whole(Stage& s, Make make) {
  Ends ends = make();
  const std::string much(4'000'000, 'm');
  std::size_t received = 0;
  auto reader = s.start([&] {
    std::string into(70'000, ' ');
    while (received < 3 * much.size()) {
      const ssize_t got = s.calls.recv(ends.b, into.data(), into.size(), 0);
      if (got <= 0) break;
      received += static_cast<std::size_t>(got);
    }
  });
  s.see("write", [&] { return s.calls.write(ends.a, much.data(), much.size()); });
  s.see("send", [&] { return s.calls.send(ends.a, much.data(), much.size(), 0); });
  iovec views[4];
  for (iovec& view : views) view = {const_cast<char*>(much.data()), much.size() / 4};
  s.see("writev", [&] { return s.calls.writev(ends.a, views, 4); });
  reader->join();
  s.note(std::to_string(received));
}

void pieces(Stage& s, Make make) {
  const Ends ends = make();
  char first[3], second[64];
  const iovec from[3] = {{const_cast<char*>("ab"), 2}, {nullptr, 0}, {const_cast<char*>("cdef"), 4}};
  const iovec into[2] = {{first, sizeof first}, {second, sizeof second}};
  s.see("writev", [&] { return s.calls.writev(ends.a, from, 3); });
  s.see("readv", [&] { return s.calls.readv(ends.b, into, 2); });
  s.note(text(first, 3) + "|" + text(second, 3));
  s.see("no pieces", [&] { return s.calls.readv(ends.b, into, 0); });
  s.see("fewer than none", [&] { return s.calls.writev(ends.b, from, -1); });
  s.see("too many", [&] { return s.calls.readv(ends.b, into, 5000); });
  set_limit(ends.b, SO_RCVTIMEO, limit);
  s.see_wait("readv with a limit", limit, [&] { return s.calls.readv(ends.b, into, 2); });
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(from);
  message.msg_iovlen = 3;
  s.see("sendmsg", [&] { return s.calls.sendmsg(ends.a, &message, 0); });
  message.msg_iov = const_cast<iovec*>(into);
  message.msg_iovlen = 2;
  s.see("recvmsg", [&] { return s.calls.recvmsg(ends.b, &message, 0); });
  s.see_wait("recvmsg with a limit", limit, [&] { return s.calls.recvmsg(ends.b, &message, 0); });
}

void limits(Stage& s, Make make) {
  const Ends ends = make();
  char into[64];
  set_limit(ends.a, SO_RCVTIMEO, limit);
  set_limit(ends.a, SO_SNDTIMEO, limit);
  s.see_wait("read", limit, [&] { return s.calls.read(ends.a, into, sizeof into); });
  s.see_wait("recv", limit, [&] { return s.calls.recv(ends.a, into, sizeof into, 0); });
  s.see_wait("recvfrom", limit, [&] { return s.calls.recvfrom(ends.a, into, sizeof into, 0, nullptr, nullptr); });
  s.calls.write(ends.b, "x", 1);
  s.see("read of what is there", [&] { return s.calls.read(ends.a, into, sizeof into); });
  const std::string much(8'000'000, 'm');
  const ssize_t sent = s.calls.send(ends.a, much.data(), much.size(), 0);
  s.note("what fits until the limit: " + Stage::part(sent, much.size()));
  fill(s, ends.a);
  s.see_wait("and then", limit,
             [&] { return refused([&] { return s.calls.send(ends.a, much.data(), much.size(), 0); }); });
  s.see_wait("write too", limit,
             [&] { return refused([&] { return s.calls.write(ends.a, much.data(), much.size()); }); });
  s.see("flags", [&] { return ::fcntl(ends.a, F_GETFL) & O_NONBLOCK; });
}

void no_waiting(Stage& s, Make make) {
  const Ends ends = make();
  char into[64];
  const std::string much(8'000'000, 'm');
  s.see("recv", [&] { return s.calls.recv(ends.a, into, sizeof into, MSG_DONTWAIT); });
  s.see("recvfrom", [&] { return s.calls.recvfrom(ends.a, into, sizeof into, MSG_DONTWAIT, nullptr, nullptr); });
  s.note("send: " + Stage::part(s.calls.send(ends.a, much.data(), much.size(), MSG_DONTWAIT), much.size()));
  set_non_blocking(ends.a);
  s.see("flags", [&] { return ::fcntl(ends.a, F_GETFL) & O_NONBLOCK; });
  s.see("read", [&] { return s.calls.read(ends.a, into, sizeof into); });
  s.see("recv without the flag", [&] { return s.calls.recv(ends.a, into, sizeof into, 0); });
  s.see("write", [&] { return refused([&] { return s.calls.write(ends.a, much.data(), much.size()); }); });
  fill(s, ends.a);
  s.see("send when all is full",
        [&] { return refused([&] { return s.calls.send(ends.a, much.data(), much.size(), 0); }); });
  const iovec view{const_cast<char*>(much.data()), much.size()};
  s.see("writev when all is full", [&] { return refused([&] { return s.calls.writev(ends.a, &view, 1); }); });
  s.see("flags still", [&] { return ::fcntl(ends.a, F_GETFL) & O_NONBLOCK; });
}

void all_or_nothing(Stage& s, Make make) {
  Ends ends = make();
  char into[16] = {};
  auto writer = s.start([&] {
    for (const char* piece : {"ab", "cd", "ef"}) {
      s.pause(10);
      s.calls.write(ends.b, piece, 2);
    }
  });
  s.see("MSG_WAITALL", [&] { return s.calls.recv(ends.a, into, 6, MSG_WAITALL); });
  s.note(text(into, 6));
  writer->join();
  auto other = s.start([&] {
    s.calls.write(ends.b, "12", 2);
    s.pause(100);
    s.calls.write(ends.b, "34", 2);
  });
  s.see("MSG_PEEK and MSG_WAITALL", [&] { return s.calls.recv(ends.a, into, 4, MSG_PEEK | MSG_WAITALL); });
  other->join();
  s.see("MSG_PEEK", [&] { return s.calls.recv(ends.a, into, 16, MSG_PEEK); });
  s.see("what was peeked at", [&] { return s.calls.recv(ends.a, into, 16, 0); });
  s.note(text(into, 4));
  set_limit(ends.a, SO_RCVTIMEO, limit);
  s.calls.write(ends.b, "xyz", 3);
  s.see_wait("MSG_WAITALL until the limit", limit, [&] { return s.calls.recv(ends.a, into, 6, MSG_WAITALL); });
  s.see_wait("and with nothing", limit, [&] { return s.calls.recv(ends.a, into, 6, MSG_WAITALL); });
  set_limit(ends.a, SO_RCVTIMEO, 0);  // what comes now need not be in time
  s.calls.write(ends.b, "uvw", 3);
  iovec views[2] = {{into, 2}, {into + 2, 4}};
  msghdr message{};
  message.msg_iov = views;
  message.msg_iovlen = 2;
  auto last = s.start([&] {
    s.pause(20);
    s.calls.write(ends.b, "_", 1);
    ends.b.close();
  });
  s.see("MSG_WAITALL of several pieces, until the end", [&] { return s.calls.recvmsg(ends.a, &message, MSG_WAITALL); });
  s.note(text(into, 4));
  last->join();
  s.see("the end", [&] { return s.calls.recv(ends.a, into, 6, MSG_WAITALL); });
}

Ends tcp() { return tcp_pair(); }

template <void (*scenario)(Stage&, Make), Make make>
void of(Stage& s) {
  scenario(s, make);
}

void reset_while_reading(Stage& s) {
  Ends ends = tcp_pair();
  char into[16];
  auto resetter = s.start([&] {
    s.pause(20);
    reset(ends.b);
  });
  s.see("read", [&] { return s.calls.read(ends.a, into, sizeof into); });
  resetter->join();
  s.see("read again", [&] { return s.calls.read(ends.a, into, sizeof into); });
  s.see("send", [&] { return s.calls.send(ends.a, "x", 1, MSG_NOSIGNAL); });
}

void reset_while_writing(Stage& s) {
  Ends ends = tcp_pair();
  const std::string much(8'000'000, 'm');
  auto resetter = s.start([&] {
    s.pause(200);  // when the other side has begun to send, on a busy machine as well
    reset(ends.b);
  });
  const ssize_t sent = s.calls.send(ends.a, much.data(), much.size(), MSG_NOSIGNAL);
  s.note("send: " + Stage::part(sent, much.size()));
  resetter->join();
  s.see("the next one has the error", [&] { return s.calls.send(ends.a, "x", 1, MSG_NOSIGNAL); });
  s.see("and then", [&] { return s.calls.send(ends.a, "x", 1, MSG_NOSIGNAL); });
  char into[4];
  s.see("recv", [&] { return s.calls.recv(ends.a, into, sizeof into, 0); });
}

void reset_in_the_middle(Stage& s) {
  Ends ends = tcp_pair();
  char into[16];
  auto resetter = s.start([&] {
    s.calls.send(ends.b, "abc", 3, 0);
    s.pause(30);
    reset(ends.b);
  });
  s.see("MSG_WAITALL", [&] { return s.calls.recv(ends.a, into, 6, MSG_WAITALL); });
  resetter->join();
  s.see("the next one has the error", [&] { return s.calls.recv(ends.a, into, 6, MSG_WAITALL); });
}

void descriptors_travel(Stage& s) {
  const Ends ends = unix_pair();
  const Ends sent = pipe_pair();
  const std::string much(1'000'000, 'm');
  const DescriptorMessage message(much, sent.a);
  auto sender = s.start([&] {
    s.pause(20);
    s.calls.sendmsg(ends.a, message.get(), 0);
  });
  std::string into(much.size(), ' ');
  int descriptor_count = 0;
  std::size_t received = 0;
  while (received < much.size()) {
    char space[CMSG_SPACE(4 * sizeof(int))] = {};
    iovec room{into.data(), into.size()};
    msghdr incoming{};
    incoming.msg_iov = &room;
    incoming.msg_iovlen = 1;
    incoming.msg_control = space;
    incoming.msg_controllen = sizeof space;
    const ssize_t got = s.calls.recvmsg(ends.b, &incoming, received == 0 ? MSG_WAITALL : 0);
    if (got <= 0) break;
    received += static_cast<std::size_t>(got);
    for (cmsghdr* at = CMSG_FIRSTHDR(&incoming); at != nullptr; at = CMSG_NXTHDR(&incoming, at)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(at), sizeof fd);
      ::close(fd);
      ++descriptor_count;
    }
  }
  sender->join();
  s.note(std::to_string(received) + " bytes and " + std::to_string(descriptor_count) + " descriptor");
}

void datagrams(Stage& s) {
  Fd a(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), b(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  Loopback any;
  must(::bind(b, any.get(), any.size) == 0, "bind");
  must(::bind(a, any.get(), any.size) == 0, "bind");
  Loopback to(b), here(a);
  char into[8];
  auto sender = s.start([&] {
    s.pause(20);
    s.calls.sendto(a, "datagram", 8, 0, to.get(), to.size);
  });
  Loopback from;
  s.see("recvfrom", [&] { return s.calls.recvfrom(b, into, sizeof into, 0, from.get(), &from.size); });
  sender->join();
  s.note(from.address.sin_port == here.address.sin_port ? "from the sender" : "from somebody");
  s.see("an empty one", [&] { return s.calls.sendto(a, "", 0, 0, to.get(), to.size); });
  s.see("is received", [&] { return s.calls.recv(b, into, sizeof into, 0); });
  s.calls.sendto(a, "too long for it", 15, 0, to.get(), to.size);
  s.see("a part of one", [&] { return s.calls.recv(b, into, 4, 0); });
  s.calls.sendto(a, "too long for it", 15, 0, to.get(), to.size);
  s.see("MSG_TRUNC", [&] { return s.calls.recv(b, into, 4, MSG_TRUNC); });
  s.calls.sendto(a, "12", 2, 0, to.get(), to.size);
  s.see("MSG_WAITALL is one datagram", [&] { return s.calls.recv(b, into, 8, MSG_WAITALL); });
  set_limit(b, SO_RCVTIMEO, limit);
  s.see_wait("with a limit", limit, [&] { return s.calls.recv(b, into, sizeof into, 0); });
  s.see("MSG_ERRQUEUE", [&] {
    msghdr message{};
    return s.calls.recvmsg(b, &message, MSG_ERRQUEUE);
  });
  const std::string huge(70'000, 'h');
  s.see("too large", [&] { return s.calls.sendto(a, huge.data(), huge.size(), 0, to.get(), to.size); });
  s.see("to nobody", [&] { return s.calls.send(a, "x", 1, 0); });
  b.close();
  must(::connect(a, to.get(), to.size) == 0, "connect");
  s.see("to a closed port", [&] { return s.calls.send(a, "x", 1, 0); });
  s.see("is refused", [&] { return s.calls.recv(a, into, sizeof into, 0); });
}

/// The room that is missing is the receiver's, and of that the sender is told nothing.
void full_unix_datagrams(Stage& s) {
  const Fd server(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
      client(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  must(::bind(server, reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)) == 0, "bind");
  socklen_t size = sizeof address;
  must(::getsockname(server, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  const auto send = [&](int flags) {
    return s.calls.sendto(client, "x", 1, flags, reinterpret_cast<sockaddr*>(&address), size);
  };
  while (send(MSG_DONTWAIT) == 1) {
  }
  s.see("the queue is full", [&] { return send(MSG_DONTWAIT); });
  set_limit(client, SO_SNDTIMEO, limit);
  s.see_wait("with a limit", limit, [&] { return send(0); });
  set_limit(client, SO_SNDTIMEO, 0);
  auto receiver = s.start([&] {
    char into[4];
    s.pause(30);
    for (int i = 0; i < 3; ++i) s.calls.recv(server, into, sizeof into, 0);
  });
  s.see("waits for room", [&] { return send(0); });
  receiver->join();
}

void full_connected_unix_datagrams(Stage& s) {
  const Ends ends = unix_pair(SOCK_SEQPACKET);
  while (s.calls.send(ends.a, "x", 1, MSG_DONTWAIT) == 1) {
  }
  auto receiver = s.start([&] {
    char into[4];
    s.pause(20);
    for (int i = 0; i < 400; ++i) s.calls.recv(ends.b, into, sizeof into, MSG_DONTWAIT);
  });
  s.see("waits for room", [&] { return s.calls.send(ends.a, "xy", 2, 0); });
  receiver->join();
}

void mistakes(Stage& s) {
  char into[8];
  const Ends pipe = pipe_pair();
  const Fd sock(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Fd server = listener();
  s.see("read of no descriptor", [&] { return s.calls.read(-1, into, 1); });
  s.see("write to no descriptor", [&] { return s.calls.write(1000, into, 1); });
  s.see("recv of a pipe", [&] { return s.calls.recv(pipe.a, into, 1, 0); });
  s.see("send to a pipe", [&] { return s.calls.send(pipe.b, into, 1, 0); });
  s.see("sendmsg to a pipe", [&] {
    msghdr message{};
    return s.calls.sendmsg(pipe.b, &message, 0);
  });
  s.see("read of the wrong end", [&] { return s.calls.read(pipe.b, into, 1); });
  s.see("write to the wrong end", [&] { return s.calls.write(pipe.a, into, 1); });
  s.see("recv without a connection", [&] { return s.calls.recv(sock, into, 1, 0); });
  s.see("send without a connection", [&] { return s.calls.send(sock, into, 1, MSG_NOSIGNAL); });
  s.see("recv of a listener", [&] { return s.calls.recv(server, into, 1, 0); });
  const Ends ends = unix_pair();
  void* const nowhere = reinterpret_cast<void*>(16);
  s.see("write from nowhere", [&] { return s.calls.write(ends.a, nowhere, 8); });
  s.calls.write(ends.a, "x", 1);
  s.see("read to nowhere", [&] { return s.calls.read(ends.b, nowhere, 8); });
  s.see("no urgent data", [&] { return s.calls.recv(ends.b, into, 1, MSG_OOB); });
}

}  // namespace

const Scenarios& stream_scenarios() {
  static const Scenarios all = {
#define TULP_EACH(name) {#name " (TCP)", of<name, tcp>}, {#name " (Unix)", of<name, unix_stream>}
      TULP_EACH(read_waits),
      TULP_EACH(ends_are_read),
      TULP_EACH(an_end_wakes_a_reader),
      TULP_EACH(writes_are_whole),
      TULP_EACH(pieces),
      TULP_EACH(limits),
      TULP_EACH(no_waiting),
      TULP_EACH(all_or_nothing),
#undef TULP_EACH
      {"reset_while_reading", reset_while_reading},
      {"reset_while_writing", reset_while_writing},
      {"reset_in_the_middle", reset_in_the_middle},
      {"descriptors_travel", descriptors_travel},
      {"datagrams", datagrams},
      {"full_unix_datagrams", full_unix_datagrams},
      {"full_connected_unix_datagrams", full_connected_unix_datagrams},
      {"mistakes", mistakes},
  };
  return all;
}

}  // namespace tulp::test
