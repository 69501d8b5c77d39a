// Records with tulp's streams, as one writes them without a thought for system calls: each is read and answered by itself.
//
//   tulp_records PORT      prints "port N"
#include <tulp/tulp.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

namespace {

constexpr std::size_t record_bytes = 64;

void serve(tulp::StreamReader reader, tulp::StreamWriter writer) {
  std::array<char, record_bytes> record;
  try {
    for (;;) {
      reader.readexactly_into(record);
      writer.write(std::string_view(record.data(), record.size()));
    }
  } catch (const std::exception&) {  // the load goes as it likes
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  return tulp::run_main([port] {
    tulp::Server server = tulp::start_server(serve, "127.0.0.1", port);
    std::printf("port %u\n", static_cast<unsigned>(server.addresses().front().port()));
    std::fflush(stdout);
    server.serve_forever();
  });
}
