// tulp's streams in the echo comparison: one fiber a connection.
//
//   tulp_echo_stream [--host uv|asio|glib] [--into BYTES] [CHAIN_FILE KEY_FILE] PORT|PATH
//
// Prints "port N".  A path means a Unix socket.  With --host its loop runs in that one's; with --into it reads into a buffer
// of that size for each connection, not std::string; with a certificate and its key it speaks TLS.
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

void echo(tulp::StreamReader reader, tulp::StreamWriter writer) {
  constexpr std::size_t most = 256 * 1024;  // what the loop's own buffer holds, and one read can bring
  for (;;) {
    auto data = reader.read(most);
    if (data.empty()) break;
    writer.write(data);
  }
}

std::size_t buffer_bytes;  // a multiple of a page

void echo_into(tulp::StreamReader reader, tulp::StreamWriter writer) {
  // At a page's beginning: the kernel copies several times as slowly to 16 bytes behind that, where malloc has large memory.
  const std::unique_ptr<char, decltype(&std::free)> buffer(static_cast<char*>(std::aligned_alloc(4096, buffer_bytes)),
                                                           &std::free);
  while (std::size_t size = reader.read_into({buffer.get(), buffer_bytes})) writer.write({buffer.get(), size});
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
  if (arguments.size() > 1 && std::string_view(arguments[0]) == "--into") {
    handler = until_gone<echo_into>;
    buffer_bytes = std::strtoul(arguments[1], nullptr, 10);
    arguments = arguments.subspan(2);
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
