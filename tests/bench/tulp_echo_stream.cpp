// tulp's streams in the echo comparison: one fiber a connection.
//
//   tulp_echo_stream [--host uv|asio|glib] [--into] [CHAIN_FILE KEY_FILE] PORT|PATH
//
// Prints "port N".  A path means a Unix socket.  With --host its loop runs in that one's; with --into it reads into memory of its own, not std::string;
// with a certificate and its key it speaks TLS.
#include <sys/socket.h>
#include <tulp/tulp.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "support/hosts.hpp"

namespace {

constexpr std::size_t chunk_bytes = 256 * 1024;  // what the loop's own buffer holds, and one read can bring

void echo(tulp::StreamReader reader, tulp::StreamWriter writer) {
  for (;;) {
    auto data = reader.read(chunk_bytes);
    if (data.empty()) break;
    writer.write(data);
  }
}

/// At a page's beginning: the kernel copies several times as slowly to 16 bytes behind that, where malloc has large memory.
struct alignas(4096) Chunk {
  char bytes[chunk_bytes];
};

void echo_into(tulp::StreamReader reader, tulp::StreamWriter writer) {
  const auto chunk = std::make_unique_for_overwrite<Chunk>();  // only the pages that are used become resident
  while (std::size_t size = reader.read_into(chunk->bytes)) writer.write({chunk->bytes, size});
}

/// The load goes as it likes.
template <auto serve>
void until_gone(tulp::StreamReader reader, tulp::StreamWriter writer) {
  try {
    serve(std::move(reader), std::move(writer));
  } catch (const std::system_error&) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::span<char*> arguments(argv + 1, static_cast<std::size_t>(argc - 1));
  if (arguments.size() > 1 && std::string_view(arguments[0]) == "--host") {
    tulp::set_event_loop_policy(tulp::test::make_host_policy(arguments[1]));
    arguments = arguments.subspan(2);
  }
  auto handler = until_gone<echo>;
  if (!arguments.empty() && std::string_view(arguments[0]) == "--into") {
    handler = until_gone<echo_into>;
    arguments = arguments.subspan(1);
  }
  const std::string where = arguments.empty() ? "0" : arguments.back();
  const bool is_path = where.find('/') != std::string::npos;
  return tulp::run_main([&] {
    tulp::ServerOptions options;
    options.backlog = SOMAXCONN;  // as its peers, so that thousands may come at once
    if (arguments.size() == 3) options.ssl = tulp::SslContext::server(arguments[0], arguments[1]);
    const auto port = static_cast<std::uint16_t>(is_path ? 0 : std::atoi(where.c_str()));
    tulp::Server server = is_path ? tulp::start_unix_server(handler, where, options)
                                  : tulp::start_server(handler, "127.0.0.1", port, options);
    std::printf("port %u\n", is_path ? 0U : static_cast<unsigned>(server.addresses().front().port()));
    std::fflush(stdout);
    server.serve_forever();
  });
}
