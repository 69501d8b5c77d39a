#include "hosts/driver.hpp"

#include <map>

#include "support/hosts.hpp"
#include "support/leaks.hpp"

namespace tulp::test {
namespace {

const std::map<std::string, std::unique_ptr<Driver> (*)()>& drivers() {
  static const std::map<std::string, std::unique_ptr<Driver> (*)()> all{
#ifdef TULP_TEST_UV
      {"uv", make_uv_driver},
#endif
#ifdef TULP_TEST_ASIO
      {"asio", make_asio_driver},
#endif
#ifdef TULP_TEST_GLIB
      {"glib", make_glib_driver},
#endif
  };
  return all;
}

[[maybe_unused]] const bool is_warm = [] {
  for (const auto& [name, make] : drivers()) warm_up_host(name);
  accept_open_descriptors();
  return true;
}();

}  // namespace

std::vector<std::string> driver_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : drivers()) names.push_back(name);
  return names;
}

std::unique_ptr<Driver> make_driver(const std::string& name) { return drivers().at(name)(); }

}  // namespace tulp::test
