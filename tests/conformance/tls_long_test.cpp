// Volumes over TLS: thousands of handshakes, hundreds of idle connections.
#include <tulp/error.hpp>
#include <tulp/run.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <malloc.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "support/engines.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

std::size_t allocated_bytes() { return ::mallinfo2().uordblks; }

}  // namespace

TEST_CASE("ten thousand handshakes, good and failed ones, full and resumed, leave nothing behind") {
  Certificates certificates;
  run([&] {
    get_event_loop().set_exception_handler([](EventLoop&, const ExceptionContext&) {});
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    const SslContext client = certificates.client();
    const auto shake = [&](int number) {
      const bool fails = number % 4 == 0;
      const ConnectOptions options{.ssl = number % 4 == 1 ? certificates.client() : client,
                                   .server_hostname = fails ? "elsewhere" : "localhost"};
      if (fails) {
        CHECK_THROWS_AS(open_connection("127.0.0.1", server.port(), options), SslCertificateError);
        return;
      }
      auto [reader, writer] = open_connection("127.0.0.1", server.port(), options);
      writer.write("x\n");
      REQUIRE(reader.readline() == "x\n");
      writer.close();
      writer.wait_closed();
    };
    for (int number = 0; number < 1000; ++number) shake(number);
    const std::size_t before = allocated_bytes();
    for (int number = 0; number < 9000; ++number) shake(number);
    const std::size_t after = allocated_bytes();
    std::printf("tls: %td bytes more after 9000 handshakes\n", static_cast<std::ptrdiff_t>(after - before));
    CHECK(after < before + 100'000);
    server.close();
    server.wait_closed();
  });
}

TEST_CASE("an idle connection over TLS takes little memory") {
  constexpr std::size_t count = 500;
  Certificates certificates;
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    const SslContext client = certificates.client();
    std::vector<Streams> streams;
    const auto open = [&] {
      streams.push_back(open_connection("127.0.0.1", server.port(), {.ssl = client}));
      streams.back().writer.write("x\n");
      REQUIRE(streams.back().reader.readline() == "x\n");
    };
    for (std::size_t i = 0; i < 50; ++i) open();
    const std::size_t before = allocated_bytes();
    for (std::size_t i = 0; i < count; ++i) open();
    const std::size_t each = (allocated_bytes() - before) / (2 * count);
    std::printf("tls: %zu bytes for each end of an idle connection, beside its stack\n", each);
    CHECK(each < 32 * 1024);
    streams.clear();
    server.close();
    server.wait_closed();
  });
}
