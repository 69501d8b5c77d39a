// You learn: a server is a function that is called with the two halves of each connection, on a fiber of its own.
#include <tulp/tulp.hpp>

#include <iostream>
#include <string>

void echo(tulp::StreamReader reader, tulp::StreamWriter writer) {
  for (;;) {
    std::string data = reader.read(65536);  // parks until something comes; empty at the end
    if (data.empty()) return;
    writer.write(data);  // parks while the peer does not read what it is sent
  }
}

void serve() {
  tulp::Server server = tulp::start_server(echo, "127.0.0.1", 0);
  std::cout << "listening on " << server.addresses().front() << std::endl;
  server.serve_forever();
}

int main() { return tulp::run_main(serve); }
