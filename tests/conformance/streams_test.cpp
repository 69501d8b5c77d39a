// Reading from a stream: semantics rows 76 to 81.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Starts `read` as a task and lets it park.
template <class F>
auto parked(F read) {
  auto task = create_task(std::move(read));
  let_others_run(2);
  REQUIRE_FALSE(task.done());
  return task;
}

}  // namespace

// read.

TEST_CASE_METHOD(NetTest,
                 "read(n) gives at least one byte and at most n, as soon as any is there; nothing at the end") {
  run([&] {
    auto s = open_stream();
    s.peer.send("abcdef");
    CHECK(s.reader.read(4) == "abcd");
    CHECK(s.reader.read(4) == "ef");
    auto reading = parked([&] { return s.reader.read(1000); });
    s.peer.send("x");
    CHECK(await(reading) == "x");
    s.peer.half_close();
    CHECK(s.reader.read(4) == "");
    CHECK(s.reader.read(4) == "");
    s.writer.close();
  });
}

TEST_CASE_METHOD(
    NetTest, "try_read_into() gives what is there and never waits; wait_readable() waits without memory to read into") {
  run([&] {
    auto s = open_stream();
    std::array<char, 4> memory{};
    CHECK(s.reader.try_read_into(memory) == std::nullopt);
    CHECK(s.reader.try_read_into({}) == 0);
    auto waiting = parked([&] {
      s.reader.wait_readable();
      return s.reader.try_read_into(memory);
    });
    s.peer.send("abcdef");
    CHECK(await(waiting) == 4);
    CHECK(std::string(memory.data(), 4) == "abcd");
    s.reader.wait_readable();
    CHECK(s.reader.try_read_into(memory) == 2);
    CHECK(s.reader.try_read_into(memory) == std::nullopt);
    s.peer.send("line\nrest");
    CHECK(s.reader.readline() == "line\n");
    s.reader.wait_readable();
    CHECK(s.reader.try_read_into(memory) == 4);  // what readline() had to look at
    s.peer.half_close();
    s.reader.wait_readable();
    CHECK(s.reader.try_read_into(memory) == 0);
    s.reader.wait_readable();
    CHECK(s.reader.at_eof());
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "wait_readable() ends when the stream fails, is closed, or the time is over") {
  run([&] {
    std::array<char, 4> memory{};
    auto broken = open_stream();
    CHECK(broken.reader.try_read_into(memory) == std::nullopt);
    auto waiting = parked([&] {
      broken.reader.wait_readable();
      return broken.reader.try_read_into(memory);
    });
    broken.peer.reset();
    CHECK_THROWS_AS(await(waiting), ConnectionResetError);
    auto closed = open_stream();
    CHECK(closed.reader.try_read_into(memory) == std::nullopt);
    waiting = parked([&] {
      closed.reader.wait_readable();
      return closed.reader.try_read_into(memory);
    });
    CHECK_THROWS_AS(closed.reader.try_read_into(memory), InvalidStateError);  // one task reads at a time
    closed.writer.transport().abort();
    CHECK(errno_thrown_by([&] { await(waiting); }) == ECANCELED);
    auto slow = open_stream();
    slow.reader.set_read_timeout(1ms);
    CHECK(slow.reader.try_read_into(memory) == std::nullopt);
    CHECK_THROWS_AS(slow.reader.wait_readable(), TimeoutError);
    slow.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "read(0) is empty at once, with nothing to read, at the end, and after a failure") {
  run([&] {
    auto s = open_stream();
    CHECK(s.reader.read(0) == "");
    s.peer.half_close();
    CHECK(s.reader.read(1) == "");
    CHECK(s.reader.read(0) == "");
    s.writer.transport().abort();
    CHECK(s.reader.read(0) == "");
  });
}

TEST_CASE_METHOD(NetTest, "read() waits for the end and gives everything before it, however it came") {
  run([&] {
    auto s = open_stream();
    const std::string much = pattern(3'000'000);
    auto reading = create_task([&] { return s.reader.read(); });
    for (std::size_t at = 0; at < much.size(); at += 100'000) {
      s.peer.send(std::string_view(much).substr(at, 100'000));
      sleep(0s);
    }
    CHECK_FALSE(reading.done());
    s.peer.half_close();
    CHECK(same(await(reading), much));
    CHECK(s.reader.read() == "");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "read_into fills the caller's memory, from the buffer first, and gives 0 at the end") {
  run([&] {
    auto s = open_stream();
    std::array<char, 8> memory{};
    s.peer.send("line\nrest");
    CHECK(s.reader.readline() == "line\n");  // leaves "rest" in the buffer
    const std::size_t first = s.reader.read_into(std::span(memory).first(3));
    CHECK(std::string(memory.data(), first) == "res");
    CHECK(s.reader.read_into(memory) == 1);
    CHECK(memory[0] == 't');
    CHECK(s.reader.read_into({}) == 0);
    s.peer.send("0123456789");
    CHECK(s.reader.read_into(memory) == 8);
    CHECK(s.reader.read_into(memory) == 2);
    s.peer.half_close();
    CHECK(s.reader.read_into(memory) == 0);
    CHECK(s.reader.at_eof());
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "read_view gives bytes that stay until the next read, and is empty at the end") {
  run([&] {
    auto s = open_stream();
    s.peer.send("line\nrest");
    CHECK(s.reader.readline() == "line\n");
    CHECK(s.reader.read_view() == "rest");
    s.peer.send("more");
    const std::string_view view = s.reader.read_view();
    {
      auto other = open_stream();  // whatever others read meanwhile
      other.peer.send("something else");
      CHECK(other.reader.read_view() == "something else");
      other.writer.transport().abort();
    }
    CHECK(view == "more");
    const std::string much = pattern(1'000'000);
    auto sending = create_task([&] {
      for (std::size_t at = 0; at < much.size(); at += 50'000)
        s.peer.send(std::string_view(much).substr(at, 50'000)), sleep(0s);
      s.peer.half_close();
    });
    std::string all;
    for (std::string_view piece; !(piece = s.reader.read_view()).empty();) all += piece;
    CHECK(same(all, much));
    s.writer.close();
  });
}

// readline.

TEST_CASE_METHOD(NetTest, "readline gives lines with their end, the last one without it, and then nothing") {
  run([&] {
    auto s = open_stream();
    s.peer.send("one\n\ntwo\r\nlast");
    s.peer.half_close();
    CHECK(s.reader.readline() == "one\n");
    CHECK(s.reader.readline() == "\n");
    CHECK(s.reader.readline() == "two\r\n");
    CHECK_FALSE(s.reader.at_eof());
    CHECK(s.reader.readline() == "last");
    CHECK(s.reader.at_eof());
    CHECK(s.reader.readline() == "");
    CHECK(s.reader.readline() == "");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "readline_into reuses the string's memory and is false at the end") {
  run([&] {
    auto s = open_stream();
    s.peer.send("one\n\nlast");
    s.peer.half_close();
    std::string line(100, 'x');
    const char* const memory = line.data();
    CHECK(s.reader.readline_into(line));
    CHECK(line == "one\n");
    CHECK(line.data() == memory);
    CHECK(s.reader.readline_into(line));
    CHECK(line == "\n");
    CHECK(s.reader.readline_into(line));
    CHECK(line == "last");
    CHECK_FALSE(s.reader.readline_into(line));
    CHECK(line.empty());
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a line that comes byte by byte is one line, and 100000 lines in one piece are 100000") {
  run([&] {
    auto s = open_stream();
    auto reading = create_task([&] { return s.reader.readline(); });
    for (const char c : std::string("slowly\n")) {
      let_others_run();
      s.peer.send({&c, 1});
    }
    CHECK(await(reading) == "slowly\n");
    std::string lines;
    for (int i = 0; i < 100'000; ++i) lines += std::to_string(i) + '\n';
    auto sending = create_task([&] {
      for (std::size_t at = 0; at < lines.size(); at += 30'000) {
        s.peer.send(std::string_view(lines).substr(at, 30'000));
        sleep(0s);
      }
    });
    std::string line;
    for (int i = 0; i < 100'000; ++i) {
      if (!s.reader.readline_into(line) || line != std::to_string(i) + '\n') FAIL(i << ": " << line);
    }
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a line over the limit is a LimitOverrunError, and all its bytes stay") {
  run([&] {
    auto s = open_stream({.limit_bytes = 10});
    SECTION("with its end in the buffer") {
      s.peer.send("0123456789abc\nnext\n");
      try {
        s.reader.readline();
        FAIL("a line of 14 bytes within 10");
      } catch (const LimitOverrunError& error) {
        CHECK(error.consumed() == 13);
        CHECK(std::string(error.what()).find("10 bytes") != std::string::npos);
      }
      CHECK_THROWS_AS(s.reader.readline(), LimitOverrunError);  // and again
      CHECK(s.reader.readexactly(13) == "0123456789abc");
      CHECK(s.reader.readline() == "\n");
      CHECK(s.reader.readline() == "next\n");
    }
    SECTION("without") {
      s.peer.send("0123456789a");
      try {
        s.reader.readline();
        FAIL("11 bytes within 10");
      } catch (const LimitOverrunError& error) {
        CHECK(error.consumed() == 11);
      }
      s.peer.send("bc\n");
      CHECK(s.reader.read(11) == "0123456789a");
      CHECK(s.reader.readline() == "bc\n");
    }
    SECTION("a line just within it is one") {
      s.peer.send("012345678\n0123456789");
      s.peer.half_close();
      CHECK(s.reader.readline() == "012345678\n");
      CHECK(s.reader.readline() == "0123456789");  // at the end, as long as the limit
    }
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a peer that sends no end of line costs no more memory than the limit and one piece") {
  run([&] {
    auto s = open_stream();
    bool has_overrun = false;
    auto reading = create_task([&] {
      try {
        s.reader.readline();
      } catch (const LimitOverrunError&) {
        has_overrun = true;
      }
    });
    const std::string piece(20'000, 'x');
    std::size_t sent = 0;
    for (; !has_overrun && sent < 10'000'000; sent += piece.size()) {
      s.peer.send(piece);
      let_others_run(2);
    }
    CHECK(has_overrun);
    CHECK(sent < 1'000'000);
    await(reading);
    s.writer.transport().abort();
  });
}

// readexactly.

TEST_CASE_METHOD(NetTest, "readexactly waits for all of n, leaves the rest, and ignores the limit") {
  run([&] {
    auto s = open_stream({.limit_bytes = 4});
    auto reading = parked([&] { return s.reader.readexactly(10); });
    s.peer.send("01234");
    let_others_run(3);
    CHECK_FALSE(reading.done());
    s.peer.send("56789abc");
    CHECK(await(reading) == "0123456789");
    CHECK(s.reader.readexactly(3) == "abc");
    CHECK(s.reader.readexactly(0) == "");
    std::array<char, 4> memory{};
    s.peer.send("wxyz");
    s.reader.readexactly_into(memory);
    CHECK(std::string(memory.data(), 4) == "wxyz");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "readexactly at the end is an IncompleteReadError with what there was, which is consumed") {
  run([&] {
    auto s = open_stream();
    s.peer.send("abc");
    s.peer.half_close();
    try {
      s.reader.readexactly(10);
      FAIL("10 of 3");
    } catch (const IncompleteReadError& error) {
      CHECK(error.partial() == "abc");
      CHECK(error.expected() == 10);
    }
    CHECK(s.reader.at_eof());
    try {
      s.reader.readexactly(1);
      FAIL("1 of 0");
    } catch (const IncompleteReadError& error) {
      CHECK(error.partial() == "");
      CHECK(error.expected() == 1);
    }
    CHECK(s.reader.readexactly(0) == "");
    s.writer.close();
  });
}

// readuntil.

TEST_CASE_METHOD(NetTest, "readuntil finds its separator however the bytes are cut into pieces") {
  const std::string text = "a--b-\r\n-x--\r\n--rest";
  const std::string separator = "\r\n--";
  for (std::size_t first = 0; first <= text.size(); ++first) {
    run([&] {
      auto s = open_stream();
      auto reading = create_task([&] { return s.reader.readuntil(separator); });
      s.peer.send(std::string_view(text).substr(0, first));
      let_others_run(3);
      s.peer.send(std::string_view(text).substr(first));
      CHECK(await(reading) == "a--b-\r\n-x--\r\n--");
      s.peer.half_close();
      CHECK(s.reader.read() == "rest");
      s.writer.close();
    });
  }
}

TEST_CASE_METHOD(NetTest, "readuntil finds separators that begin with a piece of themselves, byte by byte") {
  run([&] {
    auto s = open_stream();
    for (const std::string separator : {"aab", "aaab", "abab", "aa", "b"}) {
      auto reading = create_task([&] { return s.reader.readuntil(separator); });
      std::string sent;
      for (const char c : std::string("aaaababaabaaab")) {
        s.peer.send({&c, 1});
        sent += c;
        let_others_run(2);
        if (sent.find(separator) != std::string::npos) break;
      }
      CHECK(await(reading) == sent);
    }
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "readuntil at the end is an IncompleteReadError with what there was") {
  run([&] {
    auto s = open_stream();
    s.peer.send("no separator\r");
    s.peer.half_close();
    try {
      s.reader.readuntil("\r\n");
      FAIL("there is none");
    } catch (const IncompleteReadError& error) {
      CHECK(error.partial() == "no separator\r");
      CHECK(error.expected() == 0);
    }
    CHECK(s.reader.at_eof());
    CHECK_THROWS_AS(s.reader.readuntil("\r\n"), IncompleteReadError);
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "readuntil over the limit is a LimitOverrunError; what is consumed cannot cut a separator in two") {
  run([&] {
    auto s = open_stream({.limit_bytes = 8});
    s.peer.send("0123456789\r");
    std::size_t consumed = 0;
    try {
      s.reader.readuntil("\r\n");
    } catch (const LimitOverrunError& error) {
      consumed = error.consumed();
    }
    CHECK(consumed == 10);  // the '\r' may be the beginning of one
    CHECK(s.reader.readexactly(consumed) == "0123456789");
    s.peer.send("\n");
    CHECK(s.reader.readuntil("\r\n") == "\r\n");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "readuntil refuses an empty separator") {
  run([&] {
    auto s = open_stream();
    CHECK_THROWS_AS(s.reader.readuntil(""), std::invalid_argument);
    s.writer.close();
  });
}

// The end.

TEST_CASE_METHOD(NetTest, "at_eof is true only when the end was seen and everything before it was read") {
  run([&] {
    auto s = open_stream();
    CHECK_FALSE(s.reader.at_eof());
    s.peer.send("ab\ncd");
    s.peer.half_close();
    CHECK_FALSE(s.reader.at_eof());
    CHECK(s.reader.readline() == "ab\n");
    CHECK_FALSE(s.reader.at_eof());
    CHECK(s.reader.read(2) == "cd");
    CHECK_FALSE(s.reader.at_eof());  // not seen yet
    CHECK(s.reader.read(2) == "");
    CHECK(s.reader.at_eof());
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "after the peer's end the writer goes on") {
  run([&] {
    auto s = open_stream();
    s.peer.send("question");
    s.peer.half_close();
    CHECK(s.reader.read() == "question");
    let_others_run(3);
    const std::string much = pattern(2'000'000);
    auto answering = create_task([&] {
      s.writer.write(much);
      s.writer.close();
      s.writer.wait_closed();
    });
    while (!s.peer.is_over()) sleep(0s);
    CHECK(same(s.peer.received, much));
    CHECK(s.peer.has_ended);
    await(answering);
  });
}

// Errors.

TEST_CASE_METHOD(NetTest, "what arrived before a reset is read before the ConnectionResetError, which then stays") {
  run([&] {
    auto s = open_stream();
    s.peer.send("one\ntwo\nthree");
    CHECK(s.reader.readline() == "one\n");
    s.peer.reset();
    let_others_run(3);
    CHECK(s.reader.readline() == "two\n");
    CHECK_THROWS_AS(s.reader.readline(), ConnectionResetError);
    CHECK(s.reader.read(100) == "three");  // still there
    CHECK_THROWS_AS(s.reader.read(100), ConnectionResetError);
    CHECK_THROWS_AS(s.reader.readexactly(1), ConnectionResetError);
    CHECK_THROWS_AS(s.reader.read(), ConnectionResetError);
    CHECK_THROWS_AS(s.reader.read_view(), ConnectionResetError);
    CHECK_FALSE(s.reader.at_eof());
    let_others_run(3);
    CHECK_THROWS_AS(s.reader.readuntil("x"), ConnectionResetError);  // also when connection_lost has run
    CHECK_THROWS_AS(s.writer.write("x"), ConnectionResetError);
    CHECK_THROWS_AS(s.writer.wait_closed(), ConnectionResetError);
  });
}

TEST_CASE_METHOD(NetTest, "a reader that is parked when the peer resets wakes with ConnectionResetError") {
  run([&] {
    auto s = open_stream();
    auto reading = parked([&] { return s.reader.readline(); });
    s.peer.reset();
    CHECK_THROWS_AS(await(reading), ConnectionResetError);
  });
}

TEST_CASE_METHOD(NetTest, "an error's text names operation and peer") {
  run([&] {
    auto s = open_stream();
    const std::string peer = s.writer.get_extra_info<Address>("peername")->to_string();
    s.peer.reset();
    try {
      s.reader.read();
      FAIL("there was no error");
    } catch (const ConnectionResetError& error) {
      CHECK(std::string(error.what()) == "recv " + peer + ": Connection reset by peer");
    }
  });
}

TEST_CASE_METHOD(NetTest, "a reset that a write meets first is no clean end for the reader") {
  run([&] {
    auto s = open_stream();
    s.peer.send("arrived");
    s.peer.reset();
    const auto write_until_it_fails = [&] {
      for (int i = 0; i < 100; ++i) s.writer.write("x"), s.writer.drain();
    };
    CHECK_THROWS_AS(write_until_it_fails(), ConnectionError);
    CHECK(s.reader.read(100) == "arrived");
    CHECK_THROWS_AS(s.reader.read(100), ConnectionResetError);
    CHECK_FALSE(s.reader.at_eof());
  });
}

TEST_CASE_METHOD(CallingNetTest, "what came before a write failed is read, even if the loop has not heard of it") {
  run([&] {
    auto s = open_stream();
    s.peer.send("first");
    CHECK(s.reader.read(100) == "first");
    s.peer.send("arrived");
    {
      const PatchedSystem patched;
      sys.send = [](int, const void*, size_t, int) { return errno = ETIMEDOUT, ssize_t{-1}; };
      CHECK(errno_thrown_by([&] { s.writer.write(std::string(10'000, 'x')); }) == ETIMEDOUT);
    }
    CHECK(s.reader.read(100) == "arrived");
    CHECK(errno_thrown_by([&] { s.reader.read(100); }) == ETIMEDOUT);
  });
}

TEST_CASE_METHOD(CallingNetTest, "whatever error a write meets first is no clean end for the reader") {
  run([&] {
    auto s = open_stream();
    s.peer.send("arrived");
    {
      const PatchedSystem patched;  // the kernel tells an error once, to whoever asks first
      sys.send = [](int, const void*, size_t, int) { return errno = ETIMEDOUT, ssize_t{-1}; };
      s.writer.write("x");
      sleep(0s);
    }
    s.peer.close();
    CHECK(s.reader.read(100) == "arrived");
    CHECK(errno_thrown_by([&] { s.reader.read(100); }) == ETIMEDOUT);
    CHECK_FALSE(s.reader.at_eof());
  });
}

TEST_CASE_METHOD(CallingNetTest, "a reader does not wait for an answer to what could not be sent") {
  run([&] {
    auto s = open_stream();
    auto reading = parked([&] { return errno_thrown_by([&] { s.reader.read(100); }); });
    {
      const PatchedSystem patched;
      sys.send = [](int, const void*, size_t, int) { return errno = ETIMEDOUT, ssize_t{-1}; };
      s.writer.write("question");
      sleep(0s);
    }
    let_others_run(5);
    CHECK(reading.done());
    if (!reading.done()) s.writer.close();
    CHECK(await(reading) == ETIMEDOUT);
    CHECK(errno_thrown_by([&] { s.reader.read(100); }) == ETIMEDOUT);
  });
}

TEST_CASE_METHOD(NetTest,
                 "reads after this side's close throw OsError with ECANCELED, and a parked one wakes with it") {
  run([&] {
    auto s = open_stream();
    auto reading = parked([&] { return errno_thrown_by([&] { s.reader.read(1); }); });
    s.writer.close();
    CHECK(await(reading) == ECANCELED);
    CHECK(errno_thrown_by([&] { s.reader.read(1); }) == ECANCELED);
    CHECK(errno_thrown_by([&] { s.reader.readline(); }) == ECANCELED);
    let_others_run(3);
    CHECK(errno_thrown_by([&] { s.reader.readexactly(1); }) == ECANCELED);
    CHECK(errno_thrown_by([&] { s.reader.read(); }) == ECANCELED);
    s.writer.wait_closed();
  });
}

TEST_CASE_METHOD(NetTest, "close wakes a parked reader at once, though much is still to be sent") {
  run([&] {
    auto s = open_stream({}, 4096);
    s.writer.write_nowait(std::string(10'000'000, 'x'));
    auto reading = parked([&] { return errno_thrown_by([&] { s.reader.read(1); }); });
    s.writer.close();
    let_others_run(2);
    REQUIRE(reading.done());
    CHECK(await(reading) == ECANCELED);
    CHECK(s.writer.transport().get_write_buffer_size() > 0);
    s.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest,
                 "dropping the writer closes under a parked reader; dropping the reader does not touch the writer") {
  run([&] {
    auto s = std::make_unique<StreamAndPeer>(open_stream());
    auto reading = parked([&reader = s->reader] { return errno_thrown_by([&] { reader.read(1); }); });
    { const StreamWriter dropped = std::move(s->writer); }
    CHECK(await(reading) == ECANCELED);
    auto second = open_stream();
    { const StreamReader dropped = std::move(second.reader); }
    second.writer.write("alone");
    second.writer.drain();
    CHECK(second.peer.collect() == "alone");
    second.writer.close();
  });
}

// One reader at a time.

TEST_CASE_METHOD(NetTest,
                 "a second reader gets InvalidStateError at once, naming the function, and the first one goes on") {
  run([&] {
    auto s = open_stream();
    auto reading = parked([&] { return s.reader.readline(); });
    auto message_of = [](auto call) -> std::string {
      try {
        call();
      } catch (const InvalidStateError& error) {
        return error.what();
      }
      return "nothing";
    };
    std::array<char, 4> memory{};
    CHECK(message_of([&] { s.reader.read(1); }).find("read") != std::string::npos);
    CHECK(message_of([&] { s.reader.read(); }).find("read") != std::string::npos);
    CHECK(message_of([&] { s.reader.readline(); }).find("readline") != std::string::npos);
    CHECK(message_of([&] { s.reader.readexactly(1); }).find("readexactly") != std::string::npos);
    CHECK(message_of([&] { s.reader.readuntil("x"); }).find("readuntil") != std::string::npos);
    CHECK(message_of([&] { s.reader.read_into(memory); }).find("read_into") != std::string::npos);
    CHECK(message_of([&] { s.reader.read_view(); }).find("read_view") != std::string::npos);
    CHECK_FALSE(reading.done());
    s.peer.send("mine\n");
    CHECK(await(reading) == "mine\n");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "after a read that failed, was cancelled or timed out the next one is not called a second reader") {
  run([&] {
    auto s = open_stream({.limit_bytes = 4});
    auto reading = parked([&] { return s.reader.readline(); });
    reading.cancel();
    CHECK_THROWS_AS(await(reading), FutureCancelledError);
    s.peer.send("too long for it");
    CHECK_THROWS_AS(s.reader.readline(), LimitOverrunError);
    CHECK(s.reader.readexactly(15) == "too long for it");
    s.reader.set_read_timeout(1ms);
    CHECK_THROWS_AS(s.reader.read(1), TimeoutError);
    s.peer.half_close();
    CHECK_THROWS_AS(s.reader.readexactly(1), IncompleteReadError);
    CHECK(s.reader.read(1) == "");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "every read outside a task throws InvalidStateError, even if it would not have had to park") {
  std::optional<StreamAndPeer> s;
  run([&] {
    s.emplace(open_stream());
    s->peer.send("a\nb\n");
    CHECK(s->reader.readline() == "a\n");  // the other line is in the buffer
  });
  std::array<char, 4> memory{};
  CHECK_THROWS_AS(s->reader.readline(), InvalidStateError);
  CHECK_THROWS_AS(s->reader.read(0), InvalidStateError);
  CHECK_THROWS_AS(s->reader.read_into(memory), InvalidStateError);
  loop().call_soon([&] {
    CHECK_THROWS_AS(s->reader.readexactly(0), InvalidStateError);
    CHECK_THROWS_AS(s->writer.write("x"), InvalidStateError);
    CHECK_THROWS_AS(s->writer.drain(), InvalidStateError);
    CHECK_THROWS_AS(s->writer.wait_closed(), InvalidStateError);
    CHECK_FALSE(s->reader.at_eof());
    CHECK_NOTHROW(s->writer.write_nowait("from a callback"));
    CHECK_NOTHROW(s->writer.write_eof());
    CHECK_NOTHROW(s->writer.close());
  });
  until([&] { return s->peer.is_over(); });
  CHECK(s->peer.received == "from a callback");
  run([&] { s->writer.wait_closed(); });
}

// Cancellation and time limits.

TEST_CASE_METHOD(NetTest, "a cancelled read consumes nothing: what had come is there for the next one") {
  run([&] {
    auto s = open_stream();
    auto cancel = [&](auto reading) {
      reading.cancel();
      CHECK_THROWS_AS(await(reading), FutureCancelledError);
    };
    auto after_some = [&](auto read, std::string_view sent) {
      auto reading = parked(read);
      s.peer.send(sent);
      let_others_run(5);
      REQUIRE_FALSE(reading.done());
      cancel(std::move(reading));
    };
    after_some([&] { return s.reader.readline(); }, "li");
    after_some([&] { return s.reader.readexactly(100); }, "ne\n");
    CHECK(s.reader.readline() == "line\n");
    after_some([&] { return s.reader.readuntil("|"); }, "re");
    after_some([&] { return s.reader.read(); }, "st");
    cancel(create_task([&] { return s.reader.readline(); }));
    std::array<char, 50> memory{};
    after_some([&] { return s.reader.readexactly_into(memory), 0; }, "...");
    CHECK(s.reader.readexactly(7) == "rest...");
    cancel(parked([&] { return s.reader.read(5); }));
    cancel(parked([&] { return s.reader.read_into(memory); }));
    s.peer.send("end");
    CHECK(s.reader.read(100) == "end");
    s.writer.close();
  });
}

TEST_CASE_METHOD(
    NetTest, "a cancellation that comes when the data have come is late: the read gives them, the next park throws") {
  run([&] {
    auto s = open_stream();
    std::string got;
    bool was_cancelled = false;
    auto reading = create_task([&] {
      got = s.reader.read(100);
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        was_cancelled = true;
        throw;
      }
    });
    let_others_run(2);
    s.peer.send("precious");
    // In the iteration in which the data are seen the reader is queued, and this callback before it or behind it.
    while (got.empty() && !reading.done()) {
      sleep(0s);
      if (reading.cancelling() == 0) {
        pollfd seen{*s.writer.get_extra_info<int>("socket"), POLLIN, 0};
        if (::poll(&seen, 1, 0) == 1) reading.cancel();
      }
    }
    CHECK_THROWS_AS(await(reading), FutureCancelledError);
    if (got.empty())
      got = s.reader.read(100);  // the cancellation came first, and took nothing
    else
      CHECK(was_cancelled);
    CHECK(got == "precious");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "10000 reads that are cancelled while bytes trickle in lose none and repeat none") {
  run([&] {
    auto s = open_stream();
    std::string received, sent;
    for (int i = 0; i < 10'000; ++i) {
      auto reading = create_task([&, i] {
        switch (i % 3) {
          case 0: received += s.reader.readline(); break;
          case 1: received += s.reader.read(3); break;
          case 2: received += s.reader.readexactly(5); break;
        }
      });
      if (i % 4 != 0) let_others_run(i % 5);
      const std::string piece = std::to_string(i) + (i % 2 == 0 ? "\n" : "");
      s.peer.send(piece);
      sent += piece;
      let_others_run(i % 7);
      reading.cancel();
      while (!reading.done()) sleep(0s);
    }
    s.peer.half_close();
    received += s.reader.read();
    CHECK(same(received, sent));
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a read timeout throws TimeoutError, keeps what had come, and can be taken back") {
  run([&] {
    auto s = open_stream();
    s.reader.set_read_timeout(5ms);
    const auto start = loop().time();
    CHECK_THROWS_AS(s.reader.read(1), TimeoutError);
    CHECK(loop().time() - start >= 5ms);
    s.peer.send("part of a line");
    CHECK_THROWS_AS(s.reader.readline(), TimeoutError);
    CHECK_THROWS_AS(s.reader.readexactly(100), TimeoutError);
    s.peer.send("\n");
    CHECK(s.reader.readline() == "part of a line\n");
    s.reader.set_read_timeout(Duration::max());
    auto reading = parked([&] { return s.reader.read(10); });
    sleep(20ms);
    CHECK_FALSE(reading.done());
    s.peer.send("late");
    CHECK(await(reading) == "late");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "data that come in time are given, though the timeout passes before the reader's turn") {
  run([&] {
    auto s = open_stream();
    s.reader.set_read_timeout(2ms);
    auto reading = parked([&] { return s.reader.read(10); });
    s.peer.send("in time");
    const auto until = std::chrono::steady_clock::now() + 5ms;
    while (std::chrono::steady_clock::now() < until) {
    }  // the loop is late
    CHECK(await(reading) == "in time");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "with_timeout around a read consumes nothing either") {
  run([&] {
    auto s = open_stream();
    s.peer.send("half");
    CHECK_THROWS_AS(with_timeout(5ms, [&] { return s.reader.readline(); }), TimeoutError);
    s.peer.send(" whole\n");
    CHECK(s.reader.readline() == "half whole\n");
    s.writer.close();
  });
}

// Both directions.

TEST_CASE_METHOD(NetTest, "one task reads while another writes, both at full length") {
  run([&] {
    auto s = open_stream();
    const std::string out = pattern(3'000'000, 1), in = pattern(3'000'000, 2);
    auto writing = create_task([&] {
      s.writer.write(out);
      s.writer.write_eof();
    });
    auto reading = create_task([&] { return s.reader.read(); });
    std::size_t sent = 0;
    while (sent < in.size() || !s.peer.is_over()) {
      if (sent < in.size()) {
        const ssize_t n = ::send(s.peer.fd(), in.data() + sent, in.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) sent += static_cast<std::size_t>(n);
        if (sent == in.size()) s.peer.half_close();
      }
      sleep(0s);
    }
    CHECK(same(await(reading), in));
    CHECK(same(s.peer.received, out));
    await(writing);
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "reader and writer can be moved, also while a task is parked in a read") {
  run([&] {
    auto s = open_stream();
    StreamReader reader = std::move(s.reader);
    StreamWriter writer = std::move(s.writer);
    auto reading = parked([&] { return reader.readline(); });
    StreamWriter writer2 = std::move(writer);
    s.peer.send("moved\n");
    CHECK(await(reading) == "moved\n");
    auto other = open_stream();
    writer2.write("over");
    other.writer = std::move(writer2);
    other.reader = std::move(reader);
    other.writer.drain();
    CHECK(s.peer.collect() == "over");
    other.writer.close();
  });
}

TEST_CASE_METHOD(CallingNetTest, "a reader whose socket always has data lets other tasks run") {
  run([&] {
    auto s = open_stream();
    s.peer.send("x");  // else nobody asks
    const PatchedSystem patched;
    sys.recv = [](int, void* into, size_t size, int) {
      std::memset(into, 'x', size);
      return static_cast<ssize_t>(size);
    };
    bool is_over = false;
    auto reading = create_task([&] {
      std::array<char, 16> memory{};
      for (int i = 0; i < 100'000 && !is_over; ++i) s.reader.read_into(memory);
      return is_over;
    });
    let_others_run(20);
    is_over = true;
    CHECK(await(reading));
    s.writer.transport().abort();
  });
}
