// Where liburing is not there.
#include <cerrno>

#include <tulp/error.hpp>

#include "selector/selector.hpp"

namespace tulp {

std::unique_ptr<Selector> make_ring_selector() { throw_os_error(ENOSYS, "io_uring, without which tulp was built"); }

}  // namespace tulp
