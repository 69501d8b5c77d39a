// A pseudo-terminal: both its ends.  Floor 6, process.
#pragma once
#include <tulp/subprocess_transport.hpp>

#include "base/unique_fd.hpp"

namespace tulp::detail {

struct PtyEnds {
  UniqueFd master;
  UniqueFd slave;
};

/// Throws: OsError - there is no more.
PtyEnds open_pty(const Pty& pty);

}  // namespace tulp::detail
