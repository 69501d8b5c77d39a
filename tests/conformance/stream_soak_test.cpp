// Byte streams between tasks, with everything about them left to chance, by seed: what arrives is what was sent, and what
// does not arrive is an error.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

using Random = std::minstd_rand;

std::size_t up_to(Random& random, std::size_t most) { return random() % (most + 1); }

/// Most pieces are small, some are large.
std::size_t some_size(Random& random) {
  switch (random() % 8) {
    case 0: return 1 + up_to(random, 150'000);
    case 1: return 1 + up_to(random, 20'000);
    case 2: return 1 + up_to(random, 4'096);
    default: return 1 + up_to(random, 200);
  }
}

void maybe_pause(Random& random) {
  switch (random() % 6) {
    case 0: sleep(0s); break;
    case 1: sleep(std::chrono::microseconds(up_to(random, 200))); break;
    default: break;
  }
}

enum class End { half_close, close, reset };

struct SoakOutcome {
  std::size_t sent = 0;  // was accepted by write()
  std::size_t received = 0;
  bool has_ended = false;   // the reader saw a clean end
  bool has_failed = false;  // reader or writer threw
};

/// One direction: what the writer does.
void send(Random& random, StreamWriter& writer, std::string_view bytes, SoakOutcome& outcome) {
  try {
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, some_size(random));
      switch (random() % 4) {
        case 0: writer.write_nowait(piece); break;
        case 1: {
          const std::string_view halves[] = {piece.substr(0, piece.size() / 2), piece.substr(piece.size() / 2)};
          writer.writelines(halves);
          break;
        }
        default: writer.write(piece);
      }
      outcome.sent += piece.size();
      bytes.remove_prefix(piece.size());
      if (random() % 10 == 0) writer.drain();
      maybe_pause(random);
    }
  } catch (const std::exception&) {  // the other side has reset, or closed
    outcome.has_failed = true;
  }
}

/// One direction: what the reader does, with `expected` to compare.
void receive(Random& random, StreamReader& reader, std::string_view expected, SoakOutcome& outcome) {
  auto take = [&](std::string_view data) {
    CHECK(same(data, expected.substr(std::min(outcome.received, expected.size()), data.size())));
    outcome.received += data.size();
  };
  std::array<char, 3000> memory{};
  std::string line;
  try {
    while (!reader.at_eof()) {
      maybe_pause(random);
      switch (random() % 7) {
        case 0: take(reader.read(1 + up_to(random, 100'000))); break;
        case 1: take({memory.data(), reader.read_into(std::span(memory).first(1 + up_to(random, 2'999)))}); break;
        case 2: take(reader.read_view()); break;
        case 3: try { take(reader.readexactly(1 + up_to(random, 5'000)));
          } catch (const IncompleteReadError& error) {
            take(error.partial());
          }
          break;
        case 4:
          reader.readline_into(line);
          take(line);
          break;
        case 5: {  // given up on the way
          auto reading = create_task([&] { take(reader.read(1000)); });
          sleep(0s);
          reading.cancel();
          while (!reading.done()) sleep(0s);
          if (!reading.cancelled()) reading.result();
          break;
        }
        default: try { take(reader.readuntil("ab"));
          } catch (const IncompleteReadError& error) {
            take(error.partial());
          }
      }
    }
    outcome.has_ended = true;
  } catch (const OsError&) {
    outcome.has_failed = true;
  }
}

struct Side {
  Random random;
  std::string bytes;  // to send
  End end;
  SoakOutcome sending;    // of these bytes
  SoakOutcome receiving;  // of the other side's
};

Side make_side(Random& random) {
  Side side{
      Random(random()), pattern(up_to(random, 400'000), static_cast<std::uint32_t>(random())), End::half_close, {}, {}};
  const auto kind = random() % 8;
  side.end = kind == 0 ? End::reset : kind == 1 ? End::close : End::half_close;
  return side;
}

/// Reads and writes at once until both directions have ended.
void play(Side& side, const Side& other, StreamReader reader, StreamWriter writer) {
  Random reading_random(side.random());
  auto reading = create_task([&] { receive(reading_random, reader, other.bytes, side.receiving); });
  send(side.random, writer, side.bytes, side.sending);
  switch (side.end) {
    case End::half_close: writer.write_eof(); break;
    case End::close: writer.close(); break;
    case End::reset: writer.transport().abort(); break;
  }
  await(reading);
  writer.close();
}

void check(const Side& from, const Side& to) {
  INFO("sent " << from.sending.sent << " of " << from.bytes.size() << ", received " << to.receiving.received
               << ", ended " << to.receiving.has_ended << ", failed " << to.receiving.has_failed);
  CHECK(to.receiving.received <= from.sending.sent);
  CHECK((to.receiving.has_ended || to.receiving.has_failed));
  if (to.receiving.has_ended) CHECK(to.receiving.received == from.sending.sent);
  const bool is_peaceful = from.end == End::half_close && to.end == End::half_close;
  if (is_peaceful) {
    CHECK(to.receiving.received == from.bytes.size());
    CHECK_FALSE(to.receiving.has_failed);
  }
}

}  // namespace

TEST_CASE_METHOD(NetTest, "soak: random streams arrive whole, or end in an error") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    constexpr int connections = 4;
    std::vector<std::pair<Side, Side>> pairs;
    for (int i = 0; i < connections; ++i) {
      Side client = make_side(random), server = make_side(random);
      pairs.emplace_back(std::move(client), std::move(server));
    }
    run([&] {
      std::vector<Task<>> playing;
      Server server = start_server(
          [&](StreamReader reader, StreamWriter writer) {
            const auto which = static_cast<std::size_t>(reader.readexactly(1)[0]);
            playing.push_back(create_task([&, which, r = std::move(reader), w = std::move(writer)]() mutable {
              play(pairs[which].second, pairs[which].first, std::move(r), std::move(w));
            }));
          },
          "127.0.0.1", 0, {.limit_bytes = 1'000'000});
      std::vector<Task<>> clients;
      for (std::size_t i = 0; i < connections; ++i) {
        clients.push_back(create_task([&, i] {
          auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.limit_bytes = 1'000'000});
          const char number = static_cast<char>(i);
          writer.write({&number, 1});
          writer.drain();
          play(pairs[i].first, pairs[i].second, std::move(reader), std::move(writer));
        }));
      }
      for (auto& task : clients) await(task);
      while (playing.size() < connections && report_count() == 0) sleep(0s);
      for (auto& task : playing) await(task);
      server.close();
      server.wait_closed();
    });
    for (const auto& [client, server] : pairs) {
      check(client, server);
      check(server, client);
    }
  }
}
