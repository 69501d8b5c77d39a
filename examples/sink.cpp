// You learn: a server on every core.  Each worker is a thread with a loop of its own, and takes its share of connections.
#include <tulp/tulp.hpp>

#include <iostream>

void swallow(tulp::StreamReader reader, tulp::StreamWriter) {
  while (!reader.read_view().empty()) continue;  // in memory of the reader's own: nothing is copied, nothing kept
}

void serve() {
  tulp::Workers workers = tulp::start_workers(swallow, "127.0.0.1", 0);
  std::cout << "listening on " << workers.addresses().front() << std::endl;
  workers.serve_forever();  // until SIGTERM; Ctrl-C leaves it with an exception
  const tulp::ServeStatistics all = workers.statistics();
  std::cout << all.bytes_received << " bytes from " << all.connections_accepted << " connections" << std::endl;
}

int main() { return tulp::run_main(serve); }
