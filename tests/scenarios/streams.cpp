// Streams: streams.py says what is expected.
#include <tulp/stream.hpp>

#include <algorithm>
#include <functional>
#include <string>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

using End = std::function<void(StreamReader&, StreamWriter&)>;

/// `serve(reader, writer)` on one end of a connection, `client(reader, writer)` on the other.
void talk(EventLoop& loop, const End& serve, const End& client, std::size_t limit_bytes = 64 * 1024) {
  loop.run_until_complete([&] {
    Future<> served;
    const auto handler = [&](StreamReader reader, StreamWriter writer) {
      struct AtEnd {
        StreamWriter& writer;
        Future<>& served;
        ~AtEnd() {
          writer.close();
          served.set_result();
        }
      } const at_end{writer, served};
      serve(reader, writer);
    };
    Server server = start_server(handler, "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.limit_bytes = limit_bytes});
    client(reader, writer);
    writer.close();
    await(served);
    server.close();
    writer.wait_closed();
  });
}

End says(const std::string& text) {
  return [text](StreamReader&, StreamWriter& writer) {
    writer.write(text);
    writer.drain();
  };
}

/// Bytes on one line.
std::string shown(std::string data) {
  std::replace(data.begin(), data.end(), '\n', '/');
  return data + ".";
}

}  // namespace

SCENARIO(lines_go_there_and_back) {
  const auto serve = [&](StreamReader& reader, StreamWriter& writer) {
    for (std::string line; reader.readline_into(line);) {
      trace("server", shown(line));
      std::transform(line.begin(), line.end(), line.begin(),
                     [](char c) { return c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c; });
      writer.write(line);
    }
    trace("server ends");
  };
  talk(loop, serve, [&](StreamReader& reader, StreamWriter& writer) {
    for (const char* line : {"one\n", "two\n"}) {
      writer.write(line);
      trace("client", shown(reader.readline()));
    }
    writer.write_eof();
    const std::string line = reader.readline();
    trace("client", shown(line), reader.at_eof());
  });
}

SCENARIO(the_last_line_may_lack_its_end) {
  talk(loop, says("whole\npart"), [&](StreamReader& reader, StreamWriter&) {
    for (int i = 0; i < 3; ++i) {
      const std::string line = reader.readline();
      trace(shown(line), reader.at_eof());
    }
  });
}

SCENARIO(read_gives_everything_up_to_the_end) {
  talk(loop, says("all of it"), [&](StreamReader& reader, StreamWriter&) {
    trace(shown(reader.read(0)));
    trace(shown(reader.read()));
    trace(shown(reader.read()));
    const std::string rest = reader.read(5);
    trace(shown(rest), reader.at_eof());
  });
}

SCENARIO(readexactly_that_is_cut_says_what_there_was) {
  talk(loop, says("abcdef"), [&](StreamReader& reader, StreamWriter&) {
    trace(shown(reader.readexactly(4)));
    trace(shown(reader.readexactly(0)));
    try {
      reader.readexactly(4);
    } catch (const IncompleteReadError& error) {
      trace("partial", shown(error.partial()), error.expected());
    }
    trace(shown(reader.read()));
  });
}

SCENARIO(readuntil_takes_the_separator_with_it) {
  talk(loop, says("a-b--c-d"), [&](StreamReader& reader, StreamWriter&) {
    trace(shown(reader.readuntil("--")));
    trace(shown(reader.readuntil("-")));
    try {
      reader.readuntil("--");
    } catch (const IncompleteReadError& error) {
      trace("partial", shown(error.partial()));
    }
    trace(outcome([&] { return reader.readuntil(""); }));
  });
}

SCENARIO(readuntil_over_the_limit_leaves_the_data) {
  talk(
      loop, says("aaaaaaaaaabbbbbbbbbb-"),
      [&](StreamReader& reader, StreamWriter&) {
        try {
          reader.readuntil("-");
        } catch (const LimitOverrunError& error) {
          trace("LimitOverrunError", error.consumed());
        }
        trace(shown(reader.readexactly(20)));
        trace(shown(reader.readuntil("-")));
      },
      16);
}

SCENARIO(a_line_over_the_limit) {
  talk(
      loop, says("aaaaaaaaaaaaaaaaaaaa\nnext\n"),
      [&](StreamReader& reader, StreamWriter&) {
        trace("readline", outcome([&] { return reader.readline(); }));
        trace(shown(reader.read()));
      },
      16);
}

SCENARIO(readexactly_does_not_know_the_limit) {
  talk(
      loop, says(std::string(100, '\0')),
      [&](StreamReader& reader, StreamWriter&) { trace(reader.readexactly(100).size()); }, 16);
}

SCENARIO(a_second_reader_is_refused_at_once) {
  const auto serve = [&](StreamReader& reader, StreamWriter& writer) {
    reader.readline();
    writer.write("answer\n");
  };
  talk(loop, serve, [&](StreamReader& reader, StreamWriter& writer) {
    auto task = create_task([&] {
      trace("second", outcome([&] { return reader.read(1); }));
      writer.write("go on\n");
    });
    trace("first", shown(reader.readline()));
    await(task);
  });
}

SCENARIO(a_read_that_is_cancelled_has_consumed_nothing) {
  const auto serve = [&](StreamReader& reader, StreamWriter& writer) {
    writer.write("ab");
    reader.readline();
    writer.write("cdef");
  };
  talk(loop, serve, [&](StreamReader& reader, StreamWriter& writer) {
    auto task = create_task([&] { return reader.readexactly(4); });
    sleep(0s);
    task.cancel();
    sleep(0s);
    trace("cancelled", task.cancelled());
    writer.write("go on\n");
    trace(shown(reader.readexactly(6)));
  });
}

SCENARIO(writelines_is_one_write_after_another) {
  const auto serve = [&](StreamReader& reader, StreamWriter&) { trace("server", shown(reader.read())); };
  talk(loop, serve, [&](StreamReader&, StreamWriter& writer) {
    const std::string_view pieces[] = {"a", "", "bc"};
    writer.writelines(pieces);
    writer.drain();
    trace("can write eof", writer.can_write_eof());
  });
}

SCENARIO(wait_closed_ends_when_the_connection_is_closed) {
  const auto serve = [&](StreamReader& reader, StreamWriter&) { reader.read(); };
  talk(loop, serve, [&](StreamReader&, StreamWriter& writer) {
    trace("closing", writer.is_closing());
    writer.write("data");
    writer.close();
    writer.close();
    trace("closing", writer.is_closing());
    writer.wait_closed();
    trace("closed");
    writer.wait_closed();
    trace("still closed");
  });
}

SCENARIO(a_stream_is_written_after_close) {
  const auto serve = [&](StreamReader& reader, StreamWriter&) { reader.read(); };
  talk(loop, serve, [&](StreamReader&, StreamWriter& writer) {
    writer.close();
    trace("write", outcome([&] { writer.write("more"); }));
  });
}

SCENARIO(a_stream_is_written_after_write_eof) {
  const auto serve = [&](StreamReader& reader, StreamWriter& writer) {
    trace("server", shown(reader.read()));
    writer.write("answer");
  };
  talk(loop, serve, [&](StreamReader& reader, StreamWriter& writer) {
    writer.write("question");
    writer.write_eof();
    writer.write_eof();
    trace("write", outcome([&] { writer.write("more"); }));
    trace("client", shown(reader.read()));
  });
}

SCENARIO(a_handler_that_fails_is_reported) {
  const auto serve = [&](StreamReader& reader, StreamWriter&) {
    reader.readline();
    fail();
  };
  talk(loop, serve, [&](StreamReader& reader, StreamWriter& writer) {
    writer.write("go on\n");
    trace("client got", shown(reader.read()));
  });
}
