#include "support/hosts.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#ifdef TULP_TEST_UV
#include <tulp/uv/event_loop.hpp>
#endif
#ifdef TULP_TEST_ASIO
#include <tulp/asio/event_loop.hpp>
#endif
#ifdef TULP_TEST_GLIB
#include <tulp/glib/event_loop.hpp>
#endif

namespace tulp::test {

std::unique_ptr<EventLoopPolicy> make_host_policy(std::string_view name) {
#ifdef TULP_TEST_UV
  if (name == "uv") return std::make_unique<uv::EventLoopPolicy>();
#endif
#ifdef TULP_TEST_ASIO
  if (name == "asio") return std::make_unique<asio::EventLoopPolicy>();
#endif
#ifdef TULP_TEST_GLIB
  if (name == "glib") return std::make_unique<glib::EventLoopPolicy>();
#endif
  throw std::invalid_argument("there is no host '" + std::string(name) + "' here");
}

void set_suite_policy() {
  const char* name = std::getenv("TULP_TEST_LOOP");
  set_event_loop_policy(name != nullptr ? make_host_policy(name) : nullptr);
}

void warm_up_host(std::string_view name) { make_host_policy(name)->new_event_loop({})->run_once(RunMode::nowait); }

}  // namespace tulp::test
