// You learn: back-pressure.  write() parks while the peer does not keep up, so memory stays bounded however much is sent.
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <limits>
#include <string>

void pour(const std::string& host, std::uint16_t port, std::uint64_t megabytes) {
  auto [reader, writer] = tulp::open_connection(host, port);
  const std::string megabyte(1'000'000, 'x');
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t sent = 0;
  try {
    for (; sent < megabytes; ++sent) writer.write(megabyte);
    writer.close();
    writer.wait_closed();  // until the last byte has left
  } catch (const tulp::ConnectionError& error) {
    std::cerr << error.what() << '\n';  // the sink has had enough
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::cout << sent << " MB in " << seconds.count() << " s\n";
}

int main(int argc, char** argv) {
  if (argc < 3) return std::cerr << "usage: source HOST PORT [MEGABYTES]\n", 2;
  const std::uint64_t megabytes = argc > 3 ? std::stoull(argv[3]) : std::numeric_limits<std::uint64_t>::max();
  return tulp::run_main([&] { pour(argv[1], static_cast<std::uint16_t>(std::stoi(argv[2])), megabytes); });
}
