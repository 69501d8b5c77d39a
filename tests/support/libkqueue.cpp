// On a system without kqueue: libkqueue's calls stand in the table of system calls, for the selector of the BSDs.
#include <sys/event.h>

#include "base/sys.hpp"

// Before the static objects of the tests copy the table.
[[gnu::constructor(200)]] static void use_libkqueue() {
  tulp::sys.kqueue = ::kqueue;
  tulp::sys.kevent = ::kevent;
}
