// What a ring promises to those who send and receive through it, without a loop.
#include "selector/ring.hpp"

#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::detail;
using namespace tulp::test;

namespace {

struct Wire {
  Wire() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
  }
  std::string take() const {
    std::string all;
    std::array<char, 4096> piece;
    for (ssize_t got = 1; got > 0;) {
      got = ::recv(there.get(), piece.data(), piece.size(), 0);
      if (got > 0) all.append(piece.data(), static_cast<std::size_t>(got));
    }
    return all;
  }
  UniqueFd here, there;
  std::string sent;
};

/// Notes what it is told.
struct RingNotes final : RingOperation {
  void on_completion(int result, unsigned) noexcept override { results.push_back(result); }
  std::vector<int> results;
};

void send_over(Ring& ring, Wire& wire, const std::string& text, RingNotes& told) {
  const iovec view{const_cast<char*>(text.data()), text.size()};
  REQUIRE(ring.send(wire.here.get(), {&view, 1}, text.size(), told) == text);
  wire.sent += text;
}

}  // namespace

TEST_CASE("a ring sends what it was given, also when there is more of it in one turn than it has room for") {
  if (!has_io_uring()) return;
  std::array<Wire, 64> wires;
  RingNotes told;
  Ring ring;
  for (std::size_t i = 0; i < 3000; ++i)  // small ones fill the queue, large ones then lie where those were
    send_over(ring, wires[i % wires.size()], std::string(i % 1100 < 1024 ? 40 : 1500, static_cast<char>('a' + i % 26)),
              told);
  ring.submit();
  for (Wire& wire : wires) CHECK(wire.take() == wire.sent);
  CHECK(told.results.empty());
}

TEST_CASE("a ring tells of what the kernel does not take at once, and of nothing else") {
  if (!has_io_uring()) return;
  Wire full, broken, good;
  while (::send(full.here.get(), "0123456789abcdef", 16, MSG_NOSIGNAL) > 0) {
  }
  broken.there.reset();
  RingNotes of_full, of_broken, of_good;
  Ring ring;
  send_over(ring, full, "waits", of_full);
  send_over(ring, broken, "is lost", of_broken);
  send_over(ring, good, "goes", of_good);
  ring.push();
  CHECK(good.take() == "goes");
  CHECK(of_full.results == std::vector{-EAGAIN});
  CHECK(of_broken.results == std::vector{-EPIPE});
  CHECK(of_good.results.empty());
}
