// You learn: a fiber's plain call is the await point.  The talk's slide, without `yield from`, and nothing to squint at.
#include <tulp/tulp.hpp>

#include <cstdint>
#include <iostream>
#include <string>

std::string strip(const std::string& line) { return line.substr(0, line.find_last_not_of(" \t\r\n") + 1); }

std::string fetch(const std::string& host, std::uint16_t port) {
  auto [r, w] = tulp::open_connection(host, port);
  w.write("GET / HTTP/1.0\r\n\r\n");
  while (!strip(r.readline()).empty()) continue;
  auto body = r.read();
  return body;
}

void start(const std::string& host = "python.org", std::uint16_t port = 80) {
  auto data = fetch(host, port);
  std::cout << data << '\n';
}

int main(int argc, char** argv) {
  if (argc != 3) return tulp::run_main([] { start(); });
  return tulp::run_main([&] { start(argv[1], static_cast<std::uint16_t>(std::stoi(argv[2]))); });
}
