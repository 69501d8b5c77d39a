#include "base/thread.hpp"

#include <pthread.h>
#include <signal.h>

#include <memory>

#include "base/sys.hpp"

namespace tulp {
namespace {

struct Start {
  const char* name;
  void (*run)(void*);
  void* argument;
};

void* enter(void* argument) {
  const std::unique_ptr<const Start> start(static_cast<const Start*>(argument));
#ifdef __linux__
  ::pthread_setname_np(::pthread_self(), start->name);
#endif
  start->run(start->argument);
  return nullptr;
}

int create(int detach_state, const char* name, void (*run)(void*), void* argument) {
  auto start = std::make_unique<Start>(Start{name, run, argument});
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, detach_state);
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the new thread inherits it
  pthread_t thread;
  const int error = sys.pthread_create(&thread, &attributes, enter, start.get());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (error == 0) static_cast<void>(start.release());
  return error;
}

}  // namespace

int start_thread(const char* name, void (*run)(void*), void* argument) {
  return create(PTHREAD_CREATE_DETACHED, name, run, argument);
}

int start_joinable_thread(const char* name, void (*run)(void*), void* argument) {
  return create(PTHREAD_CREATE_JOINABLE, name, run, argument);
}

}  // namespace tulp
