// Lines and records: iteration, several separators, and limits of a call's own.  Semantics rows 77 and 78, modern row 38.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <iterator>
#include <optional>
#include <random>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

static_assert(std::ranges::input_range<Lines>);
static_assert(std::input_iterator<Lines::Iterator> && !std::forward_iterator<Lines::Iterator>);
template <class Reader>
concept HasLines = requires(Reader reader) {
  std::forward<Reader>(reader).lines();
};
static_assert(HasLines<StreamReader&> && !HasLines<StreamReader>, "lines would outlive a temporary reader");

namespace {

/// What is left in `reader`, line by line.
std::vector<std::string> all_lines(StreamReader& reader, ReadOptions options = {}) {
  std::vector<std::string> all;
  for (std::string& line : reader.lines(options)) all.push_back(std::move(line));
  return all;
}

using Strings = std::vector<std::string>;

}  // namespace

// lines().

TEST_CASE_METHOD(NetTest, "lines() gives each line with its end, the last one without it, and then it is over") {
  run([&] {
    auto s = open_stream();
    auto reading = create_task([&] { return all_lines(s.reader); });
    for (const std::string_view piece : {"one\n\ntw", "o\r", "\nlast"}) {
      s.peer.send(piece);
      let_others_run(2);
    }
    CHECK_FALSE(reading.done());
    s.peer.half_close();
    CHECK(await(reading) == Strings{"one\n", "\n", "two\r\n", "last"});
    CHECK(s.reader.at_eof());
    CHECK(all_lines(s.reader).empty());
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "who leaves a loop over lines finds the rest, with whatever reads next") {
  run([&] {
    auto s = open_stream();
    s.peer.send("GET /\nHost: a\n\nbody\nof two lines\n");
    s.peer.half_close();
    Strings head;
    for (const std::string& line : s.reader.lines()) {
      if (line == "\n") break;
      head.push_back(line);
    }
    CHECK(head == Strings{"GET /\n", "Host: a\n"});
    CHECK(s.reader.readexactly(4) == "body");
    CHECK(all_lines(s.reader) == Strings{"\n", "of two lines\n"});
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "within a loop over lines other reads may take what stands between two of them") {
  run([&] {
    auto s = open_stream();
    s.peer.send("5\nab\ncd3\nxyz");
    s.peer.half_close();
    Strings bodies;
    for (const std::string& length : s.reader.lines()) bodies.push_back(s.reader.readexactly(std::stoul(length)));
    CHECK(bodies == Strings{"ab\ncd", "xyz"});
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "a loop over lines meets the limit, the end of the connection and a second reader as readline does") {
  run([&] {
    auto s = open_stream({.limit_bytes = 6});
    s.peer.send("short\nlonger than that\n");
    Strings lines;
    const auto read = [&] {
      for (const std::string& line : s.reader.lines()) lines.push_back(line);
    };
    CHECK_THROWS_AS(read(), LimitOverrunError);
    CHECK_THROWS_AS(read(), LimitOverrunError);
    CHECK(lines == Strings{"short\n"});
    CHECK(s.reader.readline({.limit_bytes = 100}) == "longer than that\n");
    auto other = create_task([&] { s.reader.readline(); });
    let_others_run(2);
    CHECK_THROWS_AS(read(), InvalidStateError);
    s.peer.send("last\n");
    await(other);
    s.peer.reset();
    CHECK_THROWS_AS(read(), ConnectionResetError);
  });
}

TEST_CASE_METHOD(NetTest, "a loop over lines that is cancelled loses nothing, and a new one goes on") {
  run([&] {
    auto s = open_stream();
    s.peer.send("first\nsec");
    Strings lines;
    auto reading = create_task([&] {
      for (const std::string& line : s.reader.lines()) lines.push_back(line);
    });
    while (lines.empty()) sleep(0s);
    reading.cancel();
    CHECK_THROWS_AS(await(reading), FutureCancelledError);
    s.peer.send("ond\n");
    s.peer.half_close();
    CHECK(lines == Strings{"first\n"});
    CHECK(all_lines(s.reader) == Strings{"second\n"});
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "lines() outside a task throws InvalidStateError") {
  std::optional<StreamAndPeer> s;
  run([&] { s.emplace(open_stream()); });
  Lines lines = s->reader.lines();
  CHECK_THROWS_AS(lines.begin(), InvalidStateError);
  s->writer.close();
  settle();
}

// A limit for one call.

TEST_CASE_METHOD(NetTest, "a call's own limit holds for that call, above and below the reader's") {
  run([&] {
    auto s = open_stream({.limit_bytes = 8});
    const std::string long_line = std::string(100'000, 'x') + '\n';
    s.peer.send(long_line + "a|b\nshort\n" + long_line + "end");
    CHECK_THROWS_AS(s.reader.readline(), LimitOverrunError);
    CHECK(same(s.reader.readline({.limit_bytes = long_line.size()}), long_line));
    CHECK_THROWS_AS(s.reader.readuntil("|", {.limit_bytes = 1}), LimitOverrunError);
    CHECK(s.reader.readuntil("|", {.limit_bytes = 2}) == "a|");
    std::string line;
    CHECK_THROWS_AS(s.reader.readline_into(line, {.limit_bytes = 1}), LimitOverrunError);
    CHECK(s.reader.readline_into(line));
    CHECK(line == "b\n");
    s.peer.half_close();
    const Strings rest = all_lines(s.reader, {.limit_bytes = 1'000'000});
    REQUIRE(rest.size() == 3);
    CHECK(rest[0] == "short\n");
    CHECK(same(rest[1], long_line));
    CHECK(rest[2] == "end");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "the error of a call that met its own limit names that") {
  run([&] {
    auto s = open_stream();
    s.peer.send("0123456789");
    const std::string text = message_of([&] { s.reader.readline({.limit_bytes = 5}); });
    CHECK(text.find("limit of 5 bytes") != std::string::npos);
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "a separator that is longer than the limit lets nothing be skipped in which one may begin") {
  run([&] {
    auto s = open_stream({.limit_bytes = 4});
    s.peer.send("abcdef");
    try {
      s.reader.readuntil("a separator of some length");
      FAIL("6 bytes within 4");
    } catch (const LimitOverrunError& error) {
      CHECK(error.consumed() == 0);
    }
    CHECK(s.reader.readexactly(6) == "abcdef");
    s.writer.close();
  });
}

// Several separators.

TEST_CASE_METHOD(NetTest, "readuntil with several separators stops at the one that ends first") {
  run([&] {
    auto s = open_stream();
    s.peer.send("one\r\ntwo\nthree;four-->five");
    const auto next = [&] { return s.reader.readuntil({"-->", "\n", "\r\n", ";"}); };
    CHECK(next() == "one\r\n");
    CHECK(next() == "two\n");
    CHECK(next() == "three;");
    CHECK(next() == "four-->");
    s.peer.half_close();
    try {
      next();
      FAIL("there is none");
    } catch (const IncompleteReadError& error) {
      CHECK(error.partial() == "five");
      CHECK(error.expected() == 0);
    }
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "which of several separators is found does not depend on how the bytes came") {
  const std::string text = "ab-=-=>cd=>";
  const std::vector<std::string_view> separators{"-=-=>cd", "=>", "=-=>c"};
  for (std::size_t first = 0; first <= text.size(); ++first) {
    run([&] {
      auto s = open_stream();
      auto reading = create_task([&] { return s.reader.readuntil(separators); });
      s.peer.send(std::string_view(text).substr(0, first));
      let_others_run(3);
      s.peer.send(std::string_view(text).substr(first));
      CHECK(await(reading) == "ab-=-=>");
      CHECK(s.reader.readuntil(separators) == "cd=>");
      s.writer.close();
    });
  }
}

TEST_CASE_METHOD(NetTest, "over the limit with several separators nothing is skipped in which any of them may begin") {
  run([&] {
    auto s = open_stream({.limit_bytes = 8});
    const auto consumed = [&] {
      try {
        s.reader.readuntil({"\n", "\r\n", "<end>"});
      } catch (const LimitOverrunError& error) {
        return error.consumed();
      }
      return std::size_t{999};
    };
    s.peer.send("0123456789<en");
    const std::size_t before_any = consumed();
    CHECK(before_any == 9);  // the last 4 may be the beginning of the longest
    CHECK(s.reader.readexactly(before_any) == "012345678");
    s.peer.send("d>0123456789\r\n");
    CHECK(s.reader.readuntil({"\n", "\r\n", "<end>"}) == "9<end>");
    const std::size_t before_line_end = consumed();
    CHECK(before_line_end == 10);  // "\r\n" is kept whole, though "\n" would do
    CHECK(s.reader.readexactly(before_line_end) == "0123456789");
    CHECK(s.reader.readuntil({"\n", "\r\n"}) == "\r\n");
    s.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "readuntil refuses to look for nothing, or for an empty separator among others") {
  run([&] {
    auto s = open_stream();
    s.peer.send("x\n");
    CHECK_THROWS_AS(s.reader.readuntil(std::vector<std::string_view>{}), std::invalid_argument);
    CHECK_THROWS_AS(s.reader.readuntil({"\n", ""}), std::invalid_argument);
    CHECK(s.reader.readuntil({"\n"}) == "x\n");
    s.writer.close();
  });
}

TEST_CASE_METHOD(
    NetTest, "random records, separators, limits and pieces: what is read is what stands in the text, to the byte") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    std::minstd_rand random(seed);
    const auto some_text = [&](std::size_t longest) {
      std::string text(1 + random() % longest, ' ');
      for (char& c : text) c = "ab\r\n"[random() % 4];
      return text;
    };
    const std::string text = some_text(400);
    std::vector<std::string> separators;
    for (auto i = 1 + random() % 3; i > 0; --i) separators.push_back(some_text(4));
    const std::vector<std::string_view> views(separators.begin(), separators.end());
    const std::size_t limit = 1 + random() % 40;
    /// Where the first record from `at` on ends; beyond the text if it does not.
    const auto end_of_record = [&](std::size_t at) {
      std::size_t end = text.size() + 1;
      for (const std::string& separator : separators)
        if (const auto found = text.find(separator, at); found != std::string::npos)
          end = std::min(end, found + separator.size());
      return end;
    };
    run([&] {
      auto s = open_stream({.limit_bytes = limit});
      auto sending = create_task([&, pieces = std::minstd_rand(seed)]() mutable {
        for (std::size_t at = 0, size = 0; at < text.size(); at += size) {
          size = 1 + pieces() % 30;
          s.peer.send(std::string_view(text).substr(at, size));
          let_others_run(static_cast<int>(pieces() % 3));
        }
        s.peer.half_close();
      });
      std::string read;
      while (read.size() < text.size()) {
        const std::size_t begin = read.size(), end = end_of_record(begin);
        try {
          read += s.reader.readuntil(views);
          CHECK(read.size() == end);
          CHECK(end - begin <= limit);
        } catch (const LimitOverrunError& error) {
          CHECK(std::min(end, text.size()) - begin > limit);
          CHECK(begin + error.consumed() < end);
          read += s.reader.readexactly(std::max<std::size_t>(error.consumed(), 1));
        } catch (const IncompleteReadError& error) {
          CHECK(end > text.size());
          read += error.partial();
        }
        CHECK(text.starts_with(read));
      }
      await(sending);
      s.writer.close();
    });
  }
}
