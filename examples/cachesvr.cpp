// You learn: a protocol of lines and counted bytes, and how to bound what a client may cost.
//
//   get KEY            value LENGTH, and so many bytes behind the line; or none
//   set KEY LENGTH     with so many bytes behind the line; ok
//   delete KEY         ok; or none
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;

constexpr std::size_t longest_line = 1'000, longest_value = 1'000'000;

std::map<std::string, std::string> cache;  // needs no lock: another task runs only while this one is parked

std::string answer(const std::string& request, tulp::StreamReader& reader) {
  std::istringstream words(request);
  std::string operation, key;
  std::size_t length = 0;
  words >> operation >> key;
  if (operation == "get" && !key.empty()) {
    const auto found = cache.find(key);
    if (found == cache.end()) return "none\n";
    return "value " + std::to_string(found->second.size()) + '\n' + found->second;
  }
  if (operation == "set" && words >> length && length <= longest_value) {
    std::string value = reader.readexactly(length);
    cache[key] = std::move(value);
    return "ok\n";
  }
  if (operation == "delete" && !key.empty()) return cache.erase(key) == 1 ? "ok\n" : "none\n";
  throw std::invalid_argument("bad request");
}

void serve_client(tulp::StreamReader reader, tulp::StreamWriter writer) {
  reader.set_read_timeout(5s);  // for each line and each value, however slowly they come
  try {
    for (const std::string& request : reader.lines({.limit_bytes = longest_line}))
      writer.write(answer(request, reader));
  } catch (const tulp::OsError&) {              // it has gone
  } catch (const tulp::IncompleteReadError&) {  // in the middle of a value
  } catch (const tulp::TimeoutError&) {         // or it has nothing to ask
  } catch (const std::exception& error) {
    writer.write("error: " + std::string(error.what()) + '\n');
  }
}

void serve(std::uint16_t port) {
  tulp::Server server = tulp::start_server(serve_client, "127.0.0.1", port);
  std::cout << "listening on " << server.addresses().front() << std::endl;
  server.serve_forever();
}

int main(int argc, char** argv) {
  return tulp::run_main([&] { serve(static_cast<std::uint16_t>(argc > 1 ? std::stoi(argv[1]) : 0)); });
}
