// You learn: a server that takes commands, and its client, in one program: each is written as if it were alone.
#include <tulp/tulp.hpp>

#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

void handle_client(tulp::StreamReader reader, tulp::StreamWriter writer) {
  for (const std::string& line : reader.lines()) {  // parks until there is one; ends when the client has
    std::istringstream words(line);
    std::string command, what;
    double a = 0, b = 0;
    int times = 0;
    words >> command;
    if (command == "add" && words >> a >> b) {
      writer.write((std::ostringstream() << a + b << '\n').str());
    } else if (command == "repeat" && words >> times >> what) {
      for (int i = 1; i <= times; ++i) writer.write(std::to_string(i) + ". " + what + '\n');
      writer.write("end\n");
    } else {
      writer.write("bad command\n");
    }
  }
}

class Client {
 public:
  explicit Client(std::uint16_t port) : streams_(tulp::open_connection("127.0.0.1", port)) {}

  void send(const std::string& line) {
    std::cout << "> " << line << '\n';
    streams_.writer.write(line + '\n');
  }
  std::string receive() {
    const std::string line = streams_.reader.readline();
    std::cout << "< " << line;
    return line;
  }

 private:
  tulp::Streams streams_;
};

void talk() {
  tulp::Server server = tulp::start_server(handle_client, "127.0.0.1", 0);
  {
    Client client(server.port());
    client.send("add 1.5 2");
    client.receive();
    client.send("repeat 3 hello");
    while (client.receive() != "end\n") continue;
    client.send("sing");
    client.receive();
  }  // its connection closes here
  server.close();
  server.wait_closed();
}

int main() { return tulp::run_main(talk); }
