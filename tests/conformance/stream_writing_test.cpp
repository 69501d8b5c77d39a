// Writing to a stream: semantics rows 82 and 83, back-pressure, and what cancellation does to a write.
#include <tulp/run.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// As open_stream(), with kernel buffers so small that most of a large write stays with tulp.
StreamAndPeer open_narrow_stream() {
  auto s = open_stream({}, 4096);
  const int small = 4096;
  ::setsockopt(*s.writer.get_extra_info<int>("socket"), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  return s;
}

/// Writes small pieces until the kernel takes no more and `bytes` of them wait with tulp.
void fill(StreamAndPeer& s, std::size_t bytes) {
  while (s.writer.transport().get_write_buffer_size() < bytes) {
    s.writer.write_nowait(std::string(1024, '.'));
  }
}

template <class Done>
void collect_until(Peer& peer, Done done) {
  while (!done()) {
    peer.collect();
    sleep(0s);
  }
}

}  // namespace

TEST_CASE_METHOD(CallingNetTest, "small writes are sent when the task parks anywhere, in one piece") {
  run([&] {
    auto s = open_stream();
    s.writer.write("a");
    s.writer.write("b");
    CHECK(s.peer.collect() == "");  // gathered
    sleep(0s);
    CHECK(s.peer.collect() == "ab");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "small writes are sent at drain, at write_eof and at close, without a park") {
  run([&] {
    auto s = open_stream();
    s.writer.write("drained ");
    s.writer.drain();
    CHECK(s.peer.collect() == "drained ");
    s.writer.write("ended");
    s.writer.write_eof();
    CHECK(s.peer.collect() == "drained ended");
    CHECK(s.peer.has_ended);
    auto other = open_stream();
    other.writer.write("closed");
    other.writer.close();
    CHECK(other.peer.collect() == "closed");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a large piece goes at once, behind the small ones that wait") {
  run([&] {
    auto s = open_stream();
    const std::string large = pattern(20'000);
    s.writer.write("small");
    s.writer.write(large);
    CHECK(same(s.peer.collect(), "small" + large));
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "writes of every size, in any order, arrive in order") {
  run([&] {
    auto s = open_narrow_stream();
    std::string expected;
    auto writing = create_task([&] {
      for (std::uint32_t i = 0; i < 300; ++i) {
        const std::size_t sizes[] = {1, 4096, 4097, 0, 300, 16 * 1024, 64 * 1024, 64 * 1024 + 1, 70'000, 3};
        const std::string piece = pattern(sizes[i * 7 % 10], i);
        expected += piece;
        if (i % 11 == 5)
          s.writer.write_nowait(piece);
        else if (i % 13 == 5)
          s.writer.writelines(std::vector<std::string_view>{piece.substr(0, 0), piece});
        else
          s.writer.write(piece);
        if (i % 17 == 0) s.writer.drain();
        if (i % 5 == 0) sleep(0s);
      }
      s.writer.close();
    });
    collect_until(s.peer, [&] { return s.peer.has_ended; });
    CHECK(same(s.peer.received, expected));
    await(writing);
  });
}

TEST_CASE_METHOD(NetTest, "writing from a callback or another task is sent without anybody's drain") {
  run([&] {
    auto s = open_stream();
    loop().call_soon([&] { s.writer.write_nowait("callback "); });
    create_task([&] { s.writer.write("task"); });
    collect_until(s.peer, [&] { return s.peer.received.size() == 13; });
    CHECK(s.peer.received == "callback task");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "writelines of more than may be queued parks, in bounded memory, and keeps the order") {
  run([&] {
    auto s = open_narrow_stream();
    std::string expected = "gathered";
    std::vector<std::string> memory;
    for (const std::size_t size : {300'000, 0, 10, 50'000, 50'000, 1, 50'000, 200'000, 7})
      expected += memory.emplace_back(pattern(size, static_cast<std::uint32_t>(memory.size())));
    const std::vector<std::string_view> pieces(memory.begin(), memory.end());
    s.writer.write("gathered");
    auto writing = create_task([&] { s.writer.writelines(pieces); });
    let_others_run(3);
    CHECK_FALSE(writing.done());
    collect_until(s.peer, [&] {
      CHECK(s.writer.transport().get_write_buffer_size() <= 64 * 1024 + 50'000);
      return s.peer.received.size() >= expected.size();
    });
    await(writing);
    CHECK(same(s.peer.received, expected));
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a writelines that is cancelled inside a large piece breaks the writer") {
  run([&] {
    auto s = open_narrow_stream();
    const std::string large = pattern(1'000'000);
    const std::vector<std::string_view> pieces{"before", large, "after"};
    auto writing = create_task([&] { s.writer.writelines(pieces); });
    let_others_run(3);
    REQUIRE_FALSE(writing.done());
    writing.cancel();
    CHECK_THROWS_AS(await(writing), FutureCancelledError);
    CHECK_THROWS_AS(s.writer.write("more"), OsError);
    s.writer.close();
    collect_until(s.peer, [&] { return s.peer.is_over(); });
    CHECK(s.peer.error == ECONNRESET);
  });
}

TEST_CASE_METHOD(NetTest, "writelines is the same as its pieces one after another") {
  run([&] {
    auto s = open_stream();
    const std::vector<std::string_view> pieces{"a", "", "bc", "def"};
    s.writer.writelines(pieces);
    s.writer.writelines({});
    s.writer.drain();
    CHECK(s.peer.collect() == "abcdef");
    s.writer.close();
  });
}

// Back-pressure.

TEST_CASE_METHOD(NetTest, "a write parks while more than the high-water mark waits; memory stays bounded by the mark") {
  run([&] {
    auto s = open_narrow_stream();
    std::size_t written = 0, most = 0;
    auto writing = create_task([&] {
      const std::string piece = pattern(3000);
      for (int i = 0; i < 1000; ++i) {
        s.writer.write(piece);
        written += piece.size();
        most = std::max(most, s.writer.transport().get_write_buffer_size());
      }
    });
    let_others_run(50);
    CHECK_FALSE(writing.done());
    const std::size_t written_before_stall = written;
    CHECK(s.writer.transport().get_write_buffer_size() <= 64 * 1024 + 2 * 3000);
    let_others_run(50);
    CHECK(written == written_before_stall);
    collect_until(s.peer, [&] { return s.peer.received.size() == 3'000'000; });
    await(writing);
    CHECK(most <= 64 * 1024 + 2 * 3000);
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a write of 50 MB to a reader that stops is fed from the caller's memory, not copied") {
  run([&] {
    auto s = open_narrow_stream();
    const std::string much = pattern(50'000'000);
    std::size_t most = 0;
    auto writing = create_task([&] { s.writer.write(much); });
    let_others_run(50);
    CHECK_FALSE(writing.done());
    CHECK(s.writer.transport().get_write_buffer_size() <= 64 * 1024);
    s.peer.received.reserve(much.size());
    const int large = 1 << 20;
    ::setsockopt(*s.writer.get_extra_info<int>("socket"), SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    collect_until(s.peer, [&] {
      most = std::max(most, s.writer.transport().get_write_buffer_size());
      return s.peer.received.size() == much.size();
    });
    CHECK(most <= 64 * 1024);
    CHECK(same(s.peer.received, much));
    await(writing);
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "write_nowait queues without limit and never parks; the next write then waits") {
  run([&] {
    auto s = open_narrow_stream();
    s.writer.write_nowait(std::string(1'000'000, '1'));
    s.writer.write_nowait(std::string(1'000'000, '2'));
    CHECK(s.writer.transport().get_write_buffer_size() > 1'500'000);
    auto writing = create_task([&] { s.writer.write("3"); });
    let_others_run(20);
    CHECK_FALSE(writing.done());
    collect_until(s.peer, [&] { return s.peer.received.size() == 2'000'001; });
    await(writing);
    CHECK(s.peer.received == std::string(1'000'000, '1') + std::string(1'000'000, '2') + "3");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a large write behind a long queue ends, even if the kernel takes all of it in one go") {
  run([&] {
    auto s = open_narrow_stream();
    const std::string first(200'000, '1'), second(100'000, '2');
    s.writer.write_nowait(first);
    auto writing = create_task([&] { s.writer.write(second); });
    let_others_run(5);
    CHECK_FALSE(writing.done());
    {
      const PatchedSystem patched;  // from now on the kernel takes everything, and somebody else gets it
      static std::string taken;
      taken.clear();
      sys.send = [](int, const void* data, size_t size, int) {
        taken.append(static_cast<const char*>(data), size);
        return static_cast<ssize_t>(size);
      };
      sys.sendmsg = [](int, const msghdr* message, int) {
        std::size_t size = 0;
        for (std::size_t i = 0; i < message->msg_iovlen; ++i) {
          taken.append(static_cast<const char*>(message->msg_iov[i].iov_base), message->msg_iov[i].iov_len);
          size += message->msg_iov[i].iov_len;
        }
        return static_cast<ssize_t>(size);
      };
      for (int i = 0; i < 10'000 && !writing.done(); ++i) {
        s.peer.collect();
        sleep(0s);
      }
      CHECK(writing.done());
      let_others_run(5);
      CHECK(same(s.peer.received + taken, first + second));
    }
    if (!writing.done()) writing.cancel();
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest,
                 "drain returns at once when little waits, else when the queue has fallen to the low-water mark") {
  run([&] {
    auto s = open_narrow_stream();
    s.writer.drain();
    fill(s, 10'000);
    s.writer.drain();  // below the high-water mark
    fill(s, 70'000);
    std::size_t at_return = 0;
    auto draining = create_task([&] {
      s.writer.drain();
      at_return = s.writer.transport().get_write_buffer_size();
    });
    let_others_run(20);
    CHECK_FALSE(draining.done());
    while (!draining.done()) {
      s.peer.collect(1024);
      sleep(0s);
    }
    CHECK(at_return <= 16 * 1024);
    CHECK(at_return > 0);
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "many tasks may drain at once, and all of them return") {
  run([&] {
    auto s = open_narrow_stream();
    fill(s, 100'000);
    std::vector<Task<>> draining;
    for (int i = 0; i < 10; ++i) draining.push_back(create_task([&] { s.writer.drain(); }));
    let_others_run(5);
    for (auto& task : draining) CHECK_FALSE(task.done());
    draining[3].cancel();
    collect_until(s.peer,
                  [&] { return std::all_of(draining.begin(), draining.end(), [](auto& t) { return t.done(); }); });
    CHECK(draining[3].cancelled());
    CHECK_NOTHROW(await(draining[4]));
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "the marks of the transport are the marks of the stream") {
  run([&] {
    auto s = open_narrow_stream();
    s.writer.transport().set_write_buffer_limits({.high_bytes = 1000});
    auto writing = create_task([&] {
      for (int i = 0; i < 100; ++i) s.writer.write(std::string(500, 'x'));
    });
    let_others_run(30);
    CHECK_FALSE(writing.done());
    CHECK(s.writer.transport().get_write_buffer_size() <= 17 * 1024);
    collect_until(s.peer, [&] { return writing.done(); });
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(CallingNetTest, "a writer whose peer always takes lets other tasks run") {
  run([&] {
    auto s = open_stream();
    const PatchedSystem patched;
    sys.send = [](int, const void*, size_t size, int) { return static_cast<ssize_t>(size); };
    bool is_over = false;
    auto writing = create_task([&] {
      const std::string piece(5000, 'x');
      for (int i = 0; i < 100'000 && !is_over; ++i) s.writer.write(piece);
      return is_over;
    });
    let_others_run(20);
    is_over = true;
    CHECK(await(writing));
    s.writer.transport().abort();
  });
}

// Several writers.

TEST_CASE_METHOD(NetTest, "what two tasks write at once is not mixed, however large") {
  run([&] {
    auto s = open_narrow_stream();
    std::vector<Task<>> writing;
    std::string order;
    for (const char letter : std::string("abcd")) {
      writing.push_back(create_task([&, letter] {
        for (const std::size_t size : {300'000, 10, 5'000, 70'000, 1}) s.writer.write(std::string(size, letter));
      }));
    }
    constexpr std::size_t all = 4 * 375'011;
    collect_until(s.peer, [&] { return s.peer.received.size() == all; });
    for (auto& task : writing) await(task);
    // Each letter's stretches are whole pieces, or several in a row.
    std::size_t at = 0;
    std::map<char, std::size_t> done;
    const std::vector<std::size_t> ends{300'000, 300'010, 305'010, 375'010, 375'011};
    while (at < all) {
      const char letter = s.peer.received[at];
      const std::size_t end = std::min(s.peer.received.find_first_not_of(letter, at), all);
      done[letter] += end - at;
      CHECK(std::count(ends.begin(), ends.end(), done[letter]) == 1);
      at = end;
    }
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "the pieces of one writelines stay together") {
  run([&] {
    auto s = open_narrow_stream();
    fill(s, 70'000);
    auto both = [&](char letter) {
      return create_task([&, letter] {
        const std::string head(10, letter), body(200'000, letter), tail(10, letter);
        s.writer.writelines(std::vector<std::string_view>{head, body, tail});
      });
    };
    auto a = both('a'), b = both('b');
    collect_until(s.peer, [&] { return a.done() && b.done(); });
    s.writer.close();
    collect_until(s.peer, [&] { return s.peer.has_ended; });
    const std::size_t begin = s.peer.received.find('a');
    REQUIRE(begin != std::string::npos);
    CHECK(same(s.peer.received.substr(begin), std::string(200'020, 'a') + std::string(200'020, 'b')));
  });
}

TEST_CASE_METHOD(NetTest, "write_nowait while another task is in the middle of a write does not land inside its data") {
  run([&] {
    auto s = open_narrow_stream();
    const std::string large(1'000'000, 'a');
    auto writing = create_task([&] { s.writer.write(large); });
    let_others_run(5);
    REQUIRE_FALSE(writing.done());
    bool is_refused = false;
    try {
      s.writer.write_nowait("b");
    } catch (const InvalidStateError&) {
      is_refused = true;
    }
    collect_until(s.peer, [&] { return s.peer.received.size() == large.size() + (is_refused ? 0 : 1); });
    await(writing);
    if (!is_refused) CHECK(s.peer.received.find('b') == large.size());
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "write_nowait and write_eof come behind a write that is about to go on, not before its rest") {
  for (int turns = 0; turns < 4; ++turns) {
    for (const bool is_end : {false, true}) {
      INFO("after " << turns << " turns of the loop");
      std::optional<StreamAndPeer> s;
      run([&] { s.emplace(open_narrow_stream()); });
      const std::string large(1'000'000, 'a');
      auto writing = create_task([&] { s->writer.write(large); });
      settle();
      REQUIRE_FALSE(writing.done());
      s->peer.collect();
      for (int i = 0; i < turns; ++i) run_once();  // in one of them the task is queued, and has not had its turn
      is_end ? s->writer.write_eof() : s->writer.write_nowait("b");
      const std::size_t expected = large.size() + (is_end ? 0 : 1);
      until([&] { return s->peer.collect().size() >= expected || (writing.done() && s->peer.is_over()); });
      until([&] { return writing.done(); });
      CHECK(writing.exception() == nullptr);
      CHECK(same(s->peer.received, is_end ? large : large + "b"));
      s->writer.transport().abort();
      settle();
    }
  }
}

TEST_CASE_METHOD(CallingNetTest,
                 "every write that returns has been taken, also when another task closes between two of them") {
  run([&] {
    for (int turns = 0; turns < 5; ++turns) {
      auto s = open_stream();
      const PatchedSystem patched;
      static std::size_t taken;
      taken = 0;
      sys.send = [](int, const void*, size_t size, int) { return taken += size, static_cast<ssize_t>(size); };
      std::size_t written = 0;
      const std::string piece(5'000, 'x');
      auto writing = create_task([&] {
        for (;;) s.writer.write(piece), written += piece.size();
      });
      let_others_run(turns);
      s.writer.close();
      CHECK_THROWS_AS(await(writing), InvalidStateError);
      CHECK(taken == written);
    }
  });
}

// Cancellation.

TEST_CASE_METHOD(NetTest, "a cancelled write of up to 64 KiB has been queued whole, and the stream goes on") {
  run([&] {
    for (const std::size_t size : {1000, 5'000, 64 * 1024}) {
      auto s = open_narrow_stream();
      fill(s, 65 * 1024 + 1);
      const std::string data = pattern(size);
      auto writing = create_task([&] { s.writer.write(data); });
      let_others_run(3);
      CHECK_FALSE(writing.done());
      writing.cancel();
      CHECK_THROWS_AS(await(writing), FutureCancelledError);
      auto next = create_task([&] {
        s.writer.write("|next");
        s.writer.close();
      });
      collect_until(s.peer, [&] { return s.peer.has_ended; });
      CHECK(same(s.peer.received.substr(s.peer.received.find_last_of('.', s.peer.received.size() - size - 5) + 1),
                 data + "|next"));
      await(next);
    }
  });
}

TEST_CASE_METHOD(NetTest,
                 "a large write that is cancelled in its middle breaks the writer: later writes throw, close resets") {
  run([&] {
    auto s = open_narrow_stream();
    const std::string much = pattern(1'000'000);
    auto writing = create_task([&] { s.writer.write(much); });
    let_others_run(3);
    s.peer.collect(10'000);
    let_others_run(3);
    REQUIRE_FALSE(writing.done());
    writing.cancel();
    CHECK_THROWS_AS(await(writing), FutureCancelledError);
    try {
      s.writer.write("more");
      FAIL("the stream is broken");
    } catch (const OsError& error) {
      CHECK(error.code().value() == ECANCELED);
    }
    CHECK_THROWS_AS(s.writer.write(much), OsError);
    CHECK_THROWS_AS(s.writer.write_nowait("more"), OsError);
    CHECK_THROWS_AS(s.writer.drain(), OsError);
    s.peer.send("still read");
    CHECK(s.reader.read(100) == "still read");  // writing alone is broken
    s.writer.close();
    collect_until(s.peer, [&] { return s.peer.is_over(); });
    CHECK(s.peer.error == ECONNRESET);
    CHECK(s.peer.received.size() < much.size());
    CHECK(same(s.peer.received, much.substr(0, s.peer.received.size())));
  });
}

TEST_CASE_METHOD(NetTest, "dropping a broken writer resets the connection too") {
  run([&] {
    auto s = std::make_unique<StreamAndPeer>(open_narrow_stream());
    Peer peer = std::move(s->peer);
    auto writing = create_task([&] { s->writer.write(std::string(1'000'000, 'x')); });
    let_others_run(3);
    writing.cancel();
    CHECK_THROWS_AS(await(writing), FutureCancelledError);
    s.reset();
    collect_until(peer, [&] { return peer.is_over(); });
    CHECK(peer.error == ECONNRESET);
  });
}

TEST_CASE_METHOD(NetTest, "a large write that is cancelled before any of it went leaves the stream whole") {
  run([&] {
    auto s = open_narrow_stream();
    fill(s, 1000);
    auto writing = create_task([&] { s.writer.write(std::string(1'000'000, 'x')); });
    let_others_run(2);
    writing.cancel();
    CHECK_THROWS_AS(await(writing), FutureCancelledError);
    s.writer.write("whole");
    s.writer.close();
    collect_until(s.peer, [&] { return s.peer.has_ended; });
    CHECK(s.peer.received.find('x') == std::string::npos);
    CHECK(s.peer.received.substr(s.peer.received.size() - 5) == "whole");
  });
}

TEST_CASE_METHOD(NetTest, "a task that waits for its turn to write can be cancelled, and the others keep theirs") {
  run([&] {
    auto s = open_narrow_stream();
    auto write = [&](char letter) {
      return create_task([&, letter] { s.writer.write(std::string(200'000, letter)); });
    };
    auto a = write('a'), b = write('b'), c = write('c');
    let_others_run(3);
    b.cancel();
    CHECK_THROWS_AS(await(b), FutureCancelledError);
    collect_until(s.peer, [&] { return s.peer.received.size() == 400'000; });
    await(a);
    await(c);
    CHECK(same(s.peer.received, std::string(200'000, 'a') + std::string(200'000, 'c')));
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "an empty write and a cancelled drain harm nothing") {
  run([&] {
    auto s = open_narrow_stream();
    s.writer.write("");
    s.writer.write_nowait("");
    sleep(0s);
    fill(s, 100'000);
    auto draining = create_task([&] { s.writer.drain(); });
    let_others_run(2);
    draining.cancel();
    CHECK_THROWS_AS(await(draining), FutureCancelledError);
    s.writer.close();
    collect_until(s.peer, [&] { return s.peer.has_ended; });
    s.writer.wait_closed();
  });
}

// Errors.

TEST_CASE_METHOD(NetTest,
                 "a writer that is parked when the peer resets wakes with the error, and what waited is freed") {
  run([&] {
    for (const std::size_t size : {60'000, 1'000'000}) {
      auto s = open_narrow_stream();
      fill(s, 70'000);
      auto writing = create_task([&] { s.writer.write(std::string(size, 'x')); });
      let_others_run(3);
      CHECK_FALSE(writing.done());
      s.peer.reset();
      CHECK_THROWS_AS(await(writing), ConnectionError);
      CHECK(s.writer.transport().get_write_buffer_size() == 0);
      CHECK_THROWS_AS(s.writer.write("x"), ConnectionError);
      CHECK_THROWS_AS(s.writer.drain(), ConnectionError);
      s.writer.close();
    }
  });
}

TEST_CASE_METHOD(NetTest, "all who wait to write hear of the end of the connection") {
  const bool is_reset = GENERATE(true, false);
  run([&] {
    auto s = open_narrow_stream();
    std::vector<Task<>> waiting;
    for (int i = 0; i < 5; ++i) waiting.push_back(create_task([&] { s.writer.write(std::string(300'000, 'x')); }));
    let_others_run(3);
    is_reset ? s.peer.reset() : s.writer.transport().abort();
    for (auto& task : waiting) CHECK_THROWS_AS(await(task), std::exception);
    CHECK_THROWS_AS(s.writer.write("x"), std::exception);
    CHECK_THROWS_AS(s.writer.write_nowait("x"), std::exception);
    let_others_run(3);
    CHECK_THROWS_AS(s.writer.write("x"), std::exception);
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest,
                 "close while a task is in the middle of a write sends all of that write, or the task hears of it") {
  run([&] {
    auto s = open_narrow_stream();
    const std::string large = pattern(300'000);
    auto first = create_task([&] { s.writer.write(large); });
    auto second = create_task([&] { s.writer.write(large); });
    let_others_run(3);
    s.writer.close();
    collect_until(s.peer, [&] { return s.peer.is_over() && first.done() && second.done(); });
    CHECK_THROWS_AS(await(second), InvalidStateError);
    if (first.exception() == nullptr)
      CHECK(same(s.peer.received, large));
    else
      CHECK(same(s.peer.received, large.substr(0, s.peer.received.size())));
    s.writer.wait_closed();
  });
}

TEST_CASE_METHOD(NetTest, "writes after this side's close throw InvalidStateError, from the very next one on") {
  run([&] {
    auto s = open_stream();
    s.writer.close();
    CHECK(s.writer.is_closing());
    CHECK_THROWS_AS(s.writer.write("x"), InvalidStateError);
    CHECK_THROWS_AS(s.writer.write(std::string(10'000, 'x')), InvalidStateError);
    CHECK_THROWS_AS(s.writer.write_nowait("x"), InvalidStateError);
    s.writer.wait_closed();
    CHECK_THROWS_AS(s.writer.write("x"), InvalidStateError);
    CHECK(s.peer.is_over());
    CHECK(s.peer.received.empty());
  });
}

TEST_CASE_METHOD(NetTest, "writes after write_eof throw InvalidStateError; drain does not, and reading goes on") {
  run([&] {
    auto s = open_stream();
    s.writer.write("the end");
    s.writer.write_eof();
    s.writer.write_eof();
    CHECK(s.writer.can_write_eof());
    CHECK_THROWS_AS(s.writer.write("x"), InvalidStateError);
    CHECK_THROWS_AS(s.writer.write_nowait("x"), InvalidStateError);
    CHECK_NOTHROW(s.writer.drain());
    CHECK_FALSE(s.writer.is_closing());
    CHECK(s.peer.collect() == "the end");
    CHECK(s.peer.has_ended);
    s.peer.send("answer");
    CHECK(s.reader.read(10) == "answer");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "a write whose data are all queued ends well though another task ends the writing meanwhile") {
  run([&] {
    auto s = open_narrow_stream();
    fill(s, 70'000);
    auto writing = create_task([&] { s.writer.write(std::string(5'000, 'x')); });
    let_others_run(3);
    CHECK_FALSE(writing.done());
    s.writer.write_eof();
    collect_until(s.peer, [&] { return s.peer.has_ended; });
    CHECK_NOTHROW(await(writing));
    CHECK(s.peer.received.substr(s.peer.received.size() - 5'000) == std::string(5'000, 'x'));
    s.writer.close();
  });
}

// Closing.

TEST_CASE_METHOD(NetTest, "wait_closed parks until the connection is closed, with all that was written sent") {
  run([&] {
    auto s = open_narrow_stream();
    s.writer.write_nowait(std::string(500'000, 'x'));
    s.writer.close();
    s.writer.close();
    auto waiting = create_task([&] { s.writer.wait_closed(); });
    let_others_run(10);
    CHECK_FALSE(waiting.done());
    collect_until(s.peer, [&] { return s.peer.has_ended; });
    await(waiting);
    CHECK(s.peer.received.size() == 500'000);
    s.writer.wait_closed();  // and again
    CHECK_FALSE(s.writer.get_extra_info<int>("socket"));
  });
}

TEST_CASE_METHOD(NetTest, "wait_closed throws what ended the connection") {
  run([&] {
    auto s = open_narrow_stream();
    s.writer.write_nowait(std::string(500'000, 'x'));
    s.writer.close();
    s.peer.reset();
    CHECK_THROWS_AS(s.writer.wait_closed(), ConnectionError);
  });
}

TEST_CASE_METHOD(NetTest, "bytes that were gathered and could not be sent are not forgotten: wait_closed says so") {
  run([&] {
    auto s = open_stream();
    s.peer.reset();
    s.writer.write("lost");
    let_others_run(3);  // sent, in vain
    s.writer.close();
    CHECK_THROWS_AS(s.writer.wait_closed(), ConnectionError);
  });
}

TEST_CASE_METHOD(NetTest, "dropping the writer closes, and what was written is sent in the background") {
  run([&] {
    auto s = std::make_unique<StreamAndPeer>(open_narrow_stream());
    Peer peer = std::move(s->peer);
    s->writer.write_nowait(pattern(1'000'000));
    s->writer.write_nowait("|end");
    s.reset();
    collect_until(peer, [&] { return peer.has_ended; });
    CHECK(same(peer.received, pattern(1'000'000) + "|end"));
  });
}

TEST_CASE_METHOD(NetTest, "close answers a peer that has sent more than was read without losing the answer") {
  run([&] {
    const std::string answer = pattern(100'000);
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) {
          reader.readline();
          writer.write(answer);
        },
        "127.0.0.1", 0);
    Peer peer = Peer::connect(server.port());
    peer.send("request\n" + std::string(100'000, 'x'));  // the rest is never read
    while (!peer.is_over()) sleep(0s);
    CHECK(same(peer.received, answer));
    server.close();
    server.wait_closed();
  });
}

TEST_CASE("the end of run sends what dropped writers had accepted, for at most the time of drain") {
  const auto selector = any_selector();
  const PlainListener listener;
  Peer peer;
  run(
      [&] {
        Streams streams = open_connection("127.0.0.1", listener.port());
        peer = listener.accept();
        streams.writer.write("gathered");
      },
      {.loop = {.selector = selector}});
  CHECK(peer.collect() == "gathered");
  CHECK(peer.has_ended);
}

TEST_CASE("the end of run says on stderr how many bytes to whom were not sent") {
  const auto selector = any_selector();
  const PlainListener listener(4096);
  Peer peer;
  const CapturedStderr captured;
  std::string name;
  run(
      [&] {
        Streams streams = open_connection("127.0.0.1", listener.port());
        peer = listener.accept();
        name = streams.writer.get_extra_info<Address>("peername")->to_string();
        streams.writer.write_nowait(std::string(10'000'000, 'x'));
      },
      {.loop = {.selector = selector}, .drain = 10ms});
  CHECK(captured.text().find(" bytes to " + name + " were not sent") != std::string::npos);
}
