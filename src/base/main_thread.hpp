// The thread that the process began with.  Floor 1, base.
#pragma once
#include <sys/syscall.h>
#include <unistd.h>

namespace tulp {

inline bool is_main_thread() noexcept { return ::getpid() == static_cast<pid_t>(::syscall(SYS_gettid)); }

}  // namespace tulp
