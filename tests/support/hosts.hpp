// The hosts that are built: libraries whose loops run in those of others.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>
#include <string_view>

namespace tulp::test {

/// The policy of the host of this name: uv, asio or glib.  Throws: std::invalid_argument - it is not built.
std::unique_ptr<EventLoopPolicy> make_host_policy(std::string_view name);

/// Has the host open what it opens once for the whole process.
void warm_up_host(std::string_view name);
/// The policy that the suite runs with: that of the host that TULP_TEST_LOOP names, else the default.  Set at the start.
void set_suite_policy();

}  // namespace tulp::test
