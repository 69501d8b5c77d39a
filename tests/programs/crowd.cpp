// crowd: connections to an echo server, all open at once, in each of which a task sends and checks what comes back.
//
// usage: crowd PORT|unix:PATH CONNECTIONS ROUNDS
#include <tulp/tulp.hpp>

#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace tulp;

namespace {

Streams connect_to(const std::string& where) {
  if (where.starts_with("unix:")) return open_unix_connection(where.substr(5));
  return open_connection("127.0.0.1", static_cast<std::uint16_t>(std::stoi(where)));
}

void talk(Streams& connection, std::size_t number, std::size_t rounds) {
  for (std::size_t round = 0; round < rounds; ++round) {
    std::string sent = "round " + std::to_string(round) + ", connection " + std::to_string(number) + ';';
    sent.append(number % 500, static_cast<char>('a' + round));
    connection.writer.write(sent);
    if (connection.reader.readexactly(sent.size()) != sent)
      throw std::runtime_error("connection " + std::to_string(number) + ": something else came back");
  }
}

std::size_t resident_bytes() {
  std::size_t whole = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> whole >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void meet(const std::string& where, std::size_t count, std::size_t rounds) {
  const std::size_t before = resident_bytes();
  std::vector<Streams> connections;
  while (connections.size() < count) {
    connections.push_back(connect_to(where));
    if (connections.size() % 50 == 0) talk(connections.back(), 0, 1);  // the server's backlog is finite
  }
  std::vector<Task<>> talks;
  for (std::size_t i = 0; i < count; ++i)
    talks.push_back(create_task([&connection = connections[i], i, rounds] { talk(connection, i, rounds); }));
  for (const auto& each : talks) await(Future<>(each));
  std::cout << (resident_bytes() - before) / count << " bytes each" << std::endl;
  for (Streams& connection : connections) connection.writer.close();
  for (Streams& connection : connections) connection.writer.wait_closed();
}

}  // namespace

int main(int count, char** arguments) {
  return run_main([&] {
    if (count != 4) throw std::invalid_argument("usage: crowd PORT|unix:PATH CONNECTIONS ROUNDS");
    meet(arguments[1], std::stoul(arguments[2]), std::stoul(arguments[3]));
  });
}
