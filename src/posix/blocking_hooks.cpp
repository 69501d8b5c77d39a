// What tulp does for tulp-blocking, which has taken over libc's names.
#include <tulp/posix.hpp>

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

#include <tulp/error.hpp>

#include "base/blocking_library.hpp"
#include "base/log.hpp"
#include "base/sys.hpp"
#include "posix/blocking_watch.hpp"
#include "tasks/scheduler.hpp"

namespace tulp {
namespace detail {
namespace {

BlockingWay way() noexcept {
  const TaskControl* const me = running_task();
  if (me != nullptr && me->blocking_calls() == BlockingCalls::park && me->is_park_allowed() && me->is_on_its_stack())
    return BlockingWay::parks;
  return are_blocking_calls_watched() ? BlockingWay::timed : BlockingWay::plain;
}

/// What C code is told of what cannot be thrown through it.
template <class Result>
Result failure(std::string_view call, int error) noexcept {
  errno = error;
  if constexpr (std::is_pointer_v<Result>) {
    h_errno = TRY_AGAIN;
    return nullptr;
  } else if constexpr (std::is_unsigned_v<Result>) {
    return 0;  // not what is left of a sleep: for that many would sleep again, at once
  } else {
    if (call == "clock_nanosleep" || call.ends_with("_r")) return error;
    return call == "getaddrinfo" || call == "getnameinfo" ? EAI_SYSTEM : -1;
  }
}

/// A cancellation becomes an error: ECANCELED and not EINTR, upon which everybody tries again.  It stays pending, so that
/// each call that would have to wait fails until the library gives up.
template <class Call>
auto without_exceptions(std::string_view name, Call call) noexcept -> decltype(call()) {
  using Result = decltype(call());
  try {
    return call();
  } catch (const CancelledError&) {
    running_task()->cancel_at_next_park();
    return failure<Result>(name, ECANCELED);
  } catch (const std::exception&) {
    return failure<Result>(name, EDEADLK);
  }
}

/// A child of vfork() borrows this memory; what it closes is its own.
constinit std::atomic<pid_t> this_process = 0;
bool is_this_process() noexcept { return this_process.load(std::memory_order_relaxed) == ::getpid(); }

int close_unless_borrowed(int fd) {
  return get_running_loop() == nullptr || is_this_process() ? posix::close(fd) : sys.close(fd);
}

#define TULP_HOOK(result, name, parameters, arguments)                       \
  result name##_hook parameters {                                            \
    return without_exceptions(#name, [&] { return posix::name arguments; }); \
  }
TULP_WAITING_CALLS(TULP_HOOK)
#undef TULP_HOOK
int close_hook(int fd) {
  return without_exceptions("close", [&] { return close_unless_borrowed(fd); });
}

constexpr BlockingHooks hooks = {
    .way = way,
    .calls =
        {
#define TULP_ENTRY(result, name, parameters, arguments) .name = name##_hook,
            TULP_BLOCKING_CALLS(TULP_ENTRY)
#undef TULP_ENTRY
        },
    .on_timed_call = report_blocking_call,
    .on_lock = note_mutex_locked,
    .on_unlock = note_mutex_unlocked,
};

std::string_view what_is_missing() noexcept {
  if (find_blocking_library() != nullptr) return "";
  if (::dlsym(RTLD_DEFAULT, "tulp_blocking_library") != nullptr) return "tulp-blocking is of another version than tulp";
  if (::dlsym(RTLD_DEFAULT, "read") == nullptr)
    return "the program is linked statically, so nobody can take over its calls";
  return "tulp-blocking is not loaded: link the program with -ltulp-blocking before libc, or set LD_PRELOAD";
}

}  // namespace

const BlockingLibrary* find_blocking_library() noexcept {
  static const auto* const library =
      static_cast<const BlockingLibrary*>(::dlsym(RTLD_DEFAULT, "tulp_blocking_library"));
  return library != nullptr && library->version == blocking_library_version ? library : nullptr;
}

bool use_blocking_library() noexcept {
  const BlockingLibrary* const library = find_blocking_library();
  if (library == nullptr) return false;
  [[maybe_unused]] static const int once = [] {
    const auto note_process = [] { this_process = ::getpid(); };
    note_process();
    return ::pthread_atfork(nullptr, nullptr, note_process);
  }();
  library->set_hooks(&hooks);
  return true;
}

void prepare_blocking_calls() {
  [[maybe_unused]] static const bool once = [] {
    use_blocking_library();
    std::ostringstream findings;
    if (!posix::check_blocking_library(findings))
      log("tulp: a task wants the blocking calls of libraries to park, and some will not:\n" + findings.str());
    return true;
  }();
}

}  // namespace detail

bool posix::check_blocking_library(std::ostream& stream) {
  if (const auto missing = detail::what_is_missing(); !missing.empty()) {
    stream << "  " << missing << '\n';
    return false;
  }
  bool are_all_ours = true;
  for (const auto* name = detail::find_blocking_library()->names; name->name != nullptr; ++name) {
    void* const found = ::dlsym(RTLD_DEFAULT, name->name);
    const bool is_ours = found == name->address;
    are_all_ours &= is_ours;
    Dl_info owner{};
    const bool is_known = !is_ours && ::dladdr(found, &owner) != 0 && owner.dli_fname != nullptr;
    stream << "  " << name->name << ": " << (is_ours ? "parks" : is_known ? owner.dli_fname : "blocks") << '\n';
  }
  return are_all_ours;
}

}  // namespace tulp
