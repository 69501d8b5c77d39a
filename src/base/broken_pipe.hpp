// SIGPIPE.  Floor 1, base.
#pragma once

namespace tulp {

/// For writes that have no flag to prevent it, as MSG_NOSIGNAL does for sockets: to a pipe, or by sendfile(2).  What the
/// program has decided about SIGPIPE stays.
void ignore_broken_pipes() noexcept;

}  // namespace tulp
