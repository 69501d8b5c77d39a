// The host of a whole suite, before any of its tests.
#include <cstdlib>

#include "support/hosts.hpp"
#include "support/leaks.hpp"

namespace tulp::test {
namespace {

[[maybe_unused]] const bool is_set = [] {
  const char* name = std::getenv("TULP_TEST_LOOP");
  if (name == nullptr) return false;
  warm_up_host(name);
  accept_open_descriptors();
  set_suite_policy();
  return true;
}();

}  // namespace
}  // namespace tulp::test
