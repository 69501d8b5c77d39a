// You learn: a test of code that waits takes no time: on a test loop time jumps, and seeds try out what else may happen.
#include <tulp/testing/run.hpp>
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

// What is tested: asks again when a connection fails, after one second, two, four...

std::string ask(std::uint16_t port) {
  auto [reader, writer] = tulp::open_connection("127.0.0.1", port);
  writer.write("how much?\n");
  return reader.readuntil("\n");
}

std::string ask_again_and_again(std::uint16_t port) {
  for (auto pause = 1s;; pause *= 2) {
    try {
      return ask(port);
    } catch (const std::exception&) {
      if (pause > 1h) throw;
      tulp::sleep(pause);
    }
  }
}

// The test, for a server that hangs up ten times.

void expect(bool is_so, const char* what) {
  if (!is_so) throw std::runtime_error(what);
}

void test() {
  int calls = 0;
  auto answer = [&](tulp::StreamReader reader, tulp::StreamWriter writer) {
    if (++calls <= 10) return;
    expect(reader.readline() == "how much?\n", "the question is put in a line");
    writer.write("42\n");
  };
  tulp::Server server = tulp::start_server(answer, "127.0.0.1", 0);
  const auto start = tulp::get_event_loop().time();
  expect(ask_again_and_again(server.addresses().front().port()) == "42\n", "the answer comes through in the end");
  expect(tulp::get_event_loop().time() - start == 1023s, "the pauses double");
}

int main() {
  try {
    for (const std::uint64_t seed : tulp::testing::seeds(20)) tulp::testing::run(test, {.seed = seed});
    std::cout << "20 times 17 minutes have passed\n";
  } catch (const std::exception& error) {  // the seed has been printed
    std::cout << "failed: " << error.what() << '\n';
    return 1;
  }
}
