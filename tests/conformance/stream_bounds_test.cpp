// What a peer can cost a reader: memory, time, and what it holds back.  Semantics rows 78 to 83.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <malloc.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "support/allocations.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

constexpr std::size_t megabyte = 1 << 20;

/// What is held by the program, and not by the allocator.
std::size_t held_bytes() {
  ::malloc_trim(0);
  return resident_bytes();
}

/// Sends `data` while others read.
void send_much(const Peer& peer, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = ::send(peer.fd(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) data.remove_prefix(static_cast<std::size_t>(sent));
    sleep(0s);
  }
}

}  // namespace

// Memory.

TEST_CASE_METHOD(NetTest, "a length that the peer only claims costs no memory before the bytes have come") {
  run([&] {
    for (const std::size_t claimed : {std::size_t{1} << 40, to_eof - 1, to_eof}) {
      auto s = open_stream();
      s.peer.send("abc");
      s.peer.half_close();
      try {
        s.reader.readexactly(claimed);
        FAIL("all of memory, of 3 bytes");
      } catch (const IncompleteReadError& error) {
        CHECK(error.partial() == "abc");
        CHECK(error.expected() == claimed);
      }
      s.writer.close();
    }
    auto s = open_stream();
    s.peer.send("abc");
    const std::size_t before = resident_bytes();
    auto reading = create_task([&] { return s.reader.readexactly(256 * megabyte); });
    let_others_run(5);
    CHECK(resident_bytes() < before + 16 * megabyte);
    reading.cancel();
    CHECK_THROWS_AS(await(reading), FutureCancelledError);
    CHECK(s.reader.readexactly(3) == "abc");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a reader that once held much does not go on holding its memory") {
  if (!AllocationCount::is_counting()) return;  // a sanitizer holds what was freed
  run([&] {
    auto s = open_stream();
    const std::string much = pattern(48 * megabyte);
    std::vector<char> memory(much.size());
    const std::size_t before = held_bytes();
    auto reading = create_task([&] { s.reader.readexactly_into(memory); });
    send_much(s.peer, much + "rest");
    await(reading);
    CHECK(same({memory.data(), memory.size()}, much));
    CHECK(held_bytes() < before + 16 * megabyte);
    auto line = create_task([&] { return s.reader.readline({.limit_bytes = 64 * megabyte}).size(); });
    send_much(s.peer, std::string(48 * megabyte, 'x') + "\nbehind it");
    CHECK(await(line) == 48 * megabyte + 5);
    CHECK(held_bytes() < before + 16 * megabyte);
    CHECK(s.reader.readexactly(9) == "behind it");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "what nobody reads stays with the kernel, which holds the peer back, and a reader gets it all") {
  run([&] {
    auto s = open_stream();
    s.peer.send("a line\n");
    CHECK(s.reader.readline() == "a line\n");
    const std::string piece = pattern(64 * 1024);
    std::string sent;
    const int small = 64 * 1024;
    ::setsockopt(s.peer.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    for (int refusals = 0; refusals < 50;) {
      const ssize_t n = ::send(s.peer.fd(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0)
        sent.append(piece, 0, static_cast<std::size_t>(n));
      else
        ++refusals;
      sleep(0s);
      REQUIRE(sent.size() < 64 * megabyte);
    }
    CHECK(same(s.reader.readexactly(sent.size()), sent));
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "readexactly_into of much fills the caller's memory behind what is in the buffer, and no other") {
  run([&] {
    auto s = open_stream();
    const std::string much = pattern(megabyte);
    std::vector<char> memory(much.size());
    auto sending = create_task([&] {
      send_much(s.peer, "a line\n" + much + "rest");
      s.peer.half_close();
    });
    CHECK(s.reader.readline() == "a line\n");  // leaves the beginning in the buffer
    const AllocationCount allocations;
    s.reader.readexactly_into(memory);
    if (AllocationCount::is_counting() && kind() != LoopKind::foreign) CHECK(allocations.count() <= 1);
    CHECK(same({memory.data(), memory.size()}, much));
    CHECK(s.reader.read() == "rest");
    await(sending);
    s.writer.close();
  });
}

TEST_CASE_METHOD(InVirtualTime<NetTest>, "readexactly_into of much that is cut short loses nothing of what had come") {
  run([&] {
    const std::string much = pattern(300'000);
    std::vector<char> memory(megabyte);
    const auto begin_reading = [&](StreamAndPeer& s) {
      s.peer.send("a line\nthe beginning");
      CHECK(s.reader.readline() == "a line\n");
      auto reading = create_task([&] { s.reader.readexactly_into(memory); });
      send_much(s.peer, much);
      let_others_run(20);
      return reading;
    };
    const std::string all = "the beginning" + much;
    auto cancelled = open_stream();
    auto reading = begin_reading(cancelled);
    reading.cancel();
    CHECK_THROWS_AS(await(reading), FutureCancelledError);
    CHECK(same(cancelled.reader.readexactly(all.size()), all));
    cancelled.writer.close();

    auto late = open_stream();
    late.reader.set_read_timeout(50ms);
    CHECK_THROWS_AS(await(begin_reading(late)), TimeoutError);
    late.reader.set_read_timeout(Duration::max());
    CHECK(same(late.reader.readexactly(all.size()), all));
    late.writer.close();

    auto ended = open_stream();
    reading = begin_reading(ended);
    ended.peer.half_close();
    try {
      await(reading);
      FAIL("a megabyte of 300 kB");
    } catch (const IncompleteReadError& error) {
      CHECK(same(error.partial(), all));
      CHECK(error.expected() == megabyte);
    }
    CHECK(ended.reader.at_eof());
    ended.writer.close();

    auto broken = open_stream();
    reading = begin_reading(broken);
    broken.peer.reset();
    CHECK_THROWS_AS(await(reading), ConnectionResetError);
    const std::string received = broken.reader.read(all.size());  // of the rest the kernel made nothing
    CHECK(received.size() > 100);
    CHECK(same(received, all.substr(0, received.size())));
    CHECK_THROWS_AS(broken.reader.read(1), ConnectionResetError);
  });
}

// Time.

TEST_CASE_METHOD(NetTest, "a read timeout bounds the whole call: a peer that sends drop by drop cannot prolong it") {
  run([&] {
    auto s = open_stream();
    s.reader.set_read_timeout(50ms);
    std::string sent;
    bool is_over = false;
    auto dripping = create_task([&] {
      while (!is_over) {
        s.peer.send("x");
        sent += 'x';
        sleep(5ms);
      }
    });
    const auto seconds_of = [&](auto read) {
      const TimePoint begin = loop().time();
      CHECK_THROWS_AS(read(), TimeoutError);
      return Duration(loop().time() - begin).seconds();
    };
    std::array<char, 100'000> memory{};
    CHECK(seconds_of([&] { s.reader.readline(); }) >= 0.05);
    CHECK(seconds_of([&] { s.reader.readuntil({"a", "b"}); }) >= 0.05);
    CHECK(seconds_of([&] { s.reader.readexactly(100'000); }) >= 0.05);
    CHECK(seconds_of([&] { s.reader.readexactly_into(memory); }) >= 0.05);
    CHECK(seconds_of([&] { s.reader.read(); }) >= 0.05);
    CHECK_FALSE(s.reader.read(1).empty());  // and what has come counts as an answer
    is_over = true;
    await(dripping);
    s.peer.half_close();
    CHECK("x" + s.reader.read() == sent);  // nothing was lost
    s.writer.close();
  });
}

TEST_CASE("a read timeout is exact: on a clock that jumps, a drip of ten seconds is cut at the limit") {
  NetTest test(LoopKind::foreign);
  test.run([&] {
    auto s = open_stream();
    s.reader.set_read_timeout(10s);
    bool is_over = false;
    auto dripping = create_task([&] {
      while (!is_over) {
        s.peer.send("x");
        let_others_run(3);
        sleep(3s);
      }
    });
    for (int i = 0; i < 3; ++i) {
      const TimePoint begin = test.loop().time();
      CHECK_THROWS_AS(s.reader.readline(), TimeoutError);
      CHECK(test.loop().time() - begin == 10s);
    }
    is_over = true;
    await(dripping);
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a peer that never stops sending cannot outlast a read timeout either") {
  run([&] {
    auto s = open_stream();
    s.reader.set_read_timeout(20ms);
    const PatchedSystem patched;
    sys.recv = [](int, void* into, size_t size, int) {
      std::memset(into, 'x', std::min<std::size_t>(size, 100));
      return static_cast<ssize_t>(std::min<std::size_t>(size, 100));
    };
    auto ticking = create_task([&] {  // for the clock that moves only when nothing is to do
      for (;;) {
        let_pass(1ms);
        sleep(0s);
      }
    });
    CHECK_THROWS_AS(s.reader.read(), TimeoutError);
    ticking.cancel();
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "a call that finds what it wants in the buffer is not late, whatever the timeout") {
  run([&] {
    auto s = open_stream();
    s.peer.send("one\ntwo\n");
    CHECK(s.reader.readline() == "one\n");
    s.reader.set_read_timeout(0s);
    CHECK(s.reader.readline() == "two\n");
    CHECK_THROWS_AS(s.reader.readline(), TimeoutError);
    s.peer.send("three\n");
    s.reader.set_read_timeout(10s);
    CHECK(s.reader.readline() == "three\n");
    s.writer.close();
  });
}

// Errors and ends.

TEST_CASE_METHOD(NetTest, "the error that ended the connection meets every later read, write and drain") {
  run([&] {
    auto s = open_stream();
    s.peer.reset();
    let_others_run(3);
    for (int i = 0; i < 2; ++i) {
      CHECK_THROWS_AS(s.reader.read(1), ConnectionResetError);
      CHECK_THROWS_AS(s.writer.write("x"), ConnectionResetError);
      CHECK_THROWS_AS(s.writer.drain(), ConnectionResetError);
      let_others_run(3);
    }
  });
}

TEST_CASE_METHOD(NetTest, "wait_closed can tell what ended the connection without throwing it") {
  run([&] {
    auto broken = open_stream();
    broken.peer.reset();
    CHECK_THROWS_AS(broken.reader.read(), ConnectionResetError);
    std::error_code error;
    broken.writer.wait_closed(error);
    CHECK(error == std::errc::connection_reset);
    auto whole = open_stream();
    whole.writer.write("goodbye");
    whole.writer.close();
    whole.writer.wait_closed(error);
    CHECK_FALSE(error);
    CHECK(whole.peer.collect() == "goodbye");
  });
}

TEST_CASE_METHOD(NetTest, "wait_closed that does not throw is cancelled as any other park") {
  run([&] {
    auto s = open_stream();
    auto waiting = create_task([&] {
      std::error_code error;
      s.writer.wait_closed(error);
    });
    let_others_run(2);
    waiting.cancel();
    CHECK_THROWS_AS(await(waiting), FutureCancelledError);
    s.writer.close();
  });
}
