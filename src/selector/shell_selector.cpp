// A selector that does nothing: what a new back end owes, member by member.  The tests alone compile it.
//
// To bring in another one: copy this file; fill it in; declare its maker in selector.hpp and name it in
// selector_choices(); give it a SelectorKind, in event_loop.hpp and in the loop that makes it; list it in meson.build.
// Its system calls get entries in base/sys.hpp, so that tests can fail them.  Then tests/support/loops.hpp and
// tests/unit/selector/selector_test.cpp take it into their lists: it is there when both suites pass.
#include "selector/selector.hpp"

namespace tulp {
namespace {

class ShellSelector final : public Selector {
 public:
  // Opens what the system waits with.  Close-on-exec; in a UniqueFd; OsError if there is none.
  ShellSelector() = default;

  // Whether a descriptor that was added with Trigger::edge reports each change by itself, in both directions, so that
  // arming it costs no system call.  If in doubt no: then the loop says through modify() what it waits for.
  bool has_edges() const noexcept override { return false; }

  // Begins to watch.
  // - check_watchable() first: what is not open gives EBADF, files and folders EPERM.
  // - What cannot be held, or is held already (EEXIST), is an OsError that names the descriptor, and changes nothing.
  // - A descriptor without interest is not reported at all: systems that report hang-up unasked must be kept from it.
  // - A number may belong to another open file than it did at the last add().  Nothing of the former one may be reported
  //   with the new token.
  void add(int, Interest, Trigger, std::uint64_t) override {}

  // Replaces interest and token, both, always.  It cannot fail: a descriptor that was closed behind our back is either
  // quiet from now on or reported as readable, writable and exceptional; if its number is another file's by now, that one
  // is watched, and of what was added with Trigger::once it says so, by false, if it knows.
  bool modify(int, Interest, std::uint64_t) noexcept override { return true; }

  // Ends it, before the descriptor is closed; afterwards, twice, or for one that was never added it is harmless.
  void remove(int) noexcept override {}

  // Waits.
  // - Never shorter than `timeout`: what the system counts in coarser units is rounded up.  Duration::max() is for ever,
  //   zero and less do not wait; bounded() keeps the rest within what systems take.
  // - EINTR is no error: it returns 0, and the loop looks at its clock.  Any other error is an OsError.  A descriptor that
  //   was closed behind our back is not one: the others go on.
  // - Error and hang-up make a descriptor readable and writable: whoever waits, for whichever, tries and is told.  The
  //   peer's half-close makes it readable.
  // - A descriptor appears once, with the token that it has now, however many events the system has for it.
  // - If more are ready than fit, none waits for ever: the next call goes on where this one ended.
  std::size_t wait(Duration, std::span<SelectorEvent>) override { return 0; }
};

}  // namespace

std::unique_ptr<Selector> make_shell_selector() { return std::make_unique<ShellSelector>(); }

}  // namespace tulp
