// tulp's streams in the echo comparison: one fiber a connection.
//
//   tulp_echo_stream [--into] PORT      prints "port N"; with --into it reads into memory of its own, not std::string
#include <tulp/tulp.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace {

constexpr std::size_t chunk_bytes = 65536;

void echo(tulp::StreamReader reader, tulp::StreamWriter writer) {
  for (;;) {
    auto data = reader.read(chunk_bytes);
    if (data.empty()) break;
    writer.write(data);
  }
}

void echo_into(tulp::StreamReader reader, tulp::StreamWriter writer) {
  auto buffer = std::make_unique_for_overwrite<char[]>(chunk_bytes);  // only the pages that are used become resident
  while (std::size_t size = reader.read_into({buffer.get(), chunk_bytes})) writer.write({buffer.get(), size});
}

}  // namespace

int main(int argc, char** argv) {
  auto handler = argc > 1 && std::string_view(argv[1]) == "--into" ? echo_into : echo;
  auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[argc - 1]) : 0);
  return tulp::run_main([&] {
    tulp::Server server = tulp::start_server(handler, "127.0.0.1", port);
    std::printf("port %u\n", static_cast<unsigned>(server.addresses().front().port()));
    std::fflush(stdout);
    server.serve_forever();
  });
}
