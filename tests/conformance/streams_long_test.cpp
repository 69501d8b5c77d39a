// Volumes: a gigabyte through a slow reader, and thousands of connections at once.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// The byte at each place of an endless text.
char byte_at(std::size_t place) { return static_cast<char>((place * 2654435761U) >> 13); }

}  // namespace

TEST_CASE("a gigabyte goes through a reader that stops and goes, in bounded memory, byte for byte") {
  constexpr std::size_t total = std::size_t{1} << 30;
  LoopTest test(GENERATE(LoopKind::epoll, LoopKind::poll, LoopKind::select));
  std::size_t most = 0;
  const std::size_t before = resident_bytes();
  test.run([&] {
    Server server = start_server(
        [&](StreamReader, StreamWriter writer) {
          std::string piece(1'000'003, '\0');
          for (std::size_t sent = 0; sent < total; sent += piece.size()) {
            piece.resize(std::min(piece.size(), total - sent));
            for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = byte_at(sent + i);
            writer.write(piece);
          }
        },
        "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    std::size_t received = 0, wrong = 0;
    for (std::string_view piece; !(piece = reader.read_view()).empty();) {
      for (std::size_t i = 0; i < piece.size(); ++i) wrong += piece[i] != byte_at(received + i);
      received += piece.size();
      if (received % 64 == 0) sleep(0s);
      if (received % 512 == 0) {
        most = std::max(most, resident_bytes());
        sleep(100us);
      }
    }
    CHECK(received == total);
    CHECK(wrong == 0);
    writer.close();
    server.close();
    server.wait_closed();
  });
  most = std::max(most, resident_bytes());
  CHECK(most < before + (std::size_t{16} << 20));
}

TEST_CASE("5000 connections exchange at once, each its own bytes, and give everything back") {
  constexpr std::size_t count = 5000;
  if (!allow_descriptors(2 * count + 100)) {
    WARN("skipped: fewer than " << 2 * count + 100 << " descriptors may be open here");
    return;
  }
  LoopTest test(GENERATE(LoopKind::epoll, LoopKind::poll));  // select holds a thousand
  std::size_t at_once = 0, open = 0;
  test.run([&] {
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) {
          at_once = std::max(at_once, ++open);
          for (std::string line; reader.readline_into(line);) writer.write(line);
          --open;
        },
        "127.0.0.1", 0, {.backlog = 1000});
    std::size_t ready = 0, wrong = 0;
    Future<> go;
    std::vector<Task<>> clients;
    for (std::size_t i = 0; i < count; ++i) {
      if (i % 100 == 99) sleep(1ms);  // the backlog is finite
      clients.push_back(create_task([&, i] {
        auto [reader, writer] = open_connection("127.0.0.1", server.port());
        const std::string line = "connection " + std::to_string(i) + '\n';
        writer.write(line);
        wrong += reader.readline() != line;
        if (++ready == count) go.set_result();
        await(go);
        for (int round = 0; round < 3; ++round) {
          writer.write(line);
          wrong += reader.readline() != line;
        }
        writer.close();
      }));
    }
    for (auto& client : clients) await(client);
    CHECK(wrong == 0);
    CHECK(at_once == count);
    server.close();
    server.wait_closed();
    CHECK(open == 0);
  });
}
