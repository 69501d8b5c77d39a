#include "port/advice.hpp"

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "base/blocking_library.hpp"

namespace tool::port {
namespace {

#define TULP_NAME(result, name, parameters, arguments) #name,
#define TULP_ALIAS(name) #name,
constexpr std::string_view names_taken_over[] = {TULP_BLOCKING_CALLS(TULP_NAME) TULP_BLOCKING_ALIASES(TULP_ALIAS)};
#undef TULP_NAME
#undef TULP_ALIAS

struct Rule {
  std::vector<std::string_view> names;  // "abc*": all that begin so
  Verdict verdict;
};

const std::vector<Rule>& rules() {
  using enum Fate;
  static const std::vector<Rule> list = {
      // Threads and what they wait for.
      {{"pthread_create", "_ZNSt6thread15_M_start_thread*", "thrd_create"},
       {look_at, "makes threads: tulp::thread makes a task instead"}},
      {{"pthread_mutex_lock", "pthread_mutex_timedlock", "pthread_mutex_clocklock", "mtx_lock", "mtx_timedlock"},
       {look_at, "holds up all tasks if it is held over a park: tulp::mutex; TULP_MUTEX_REPORT=1 finds where"}},
      {{"pthread_rwlock_rdlock", "pthread_rwlock_wrlock", "pthread_rwlock_timed*", "pthread_rwlock_clock*"},
       {look_at, "as a mutex; tulp has none that readers share: tulp::mutex"}},
      {{"pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait", "_ZNSt18condition_variable4wait*",
        "_ZNSt18condition_variable6__wait*", "cnd_wait", "cnd_timedwait"},
       {blocks, "tulp::condition_variable, with tulp::mutex"}},
      {{"pthread_join", "pthread_timedjoin_np", "pthread_clockjoin_np", "_ZNSt6thread4join*", "thrd_join"},
       {blocks, "tulp::thread and its join(), or to_thread() for one that has to be a thread"}},
      {{"pthread_barrier_wait"}, {blocks, "tulp::Barrier"}},
      {{"sem_wait", "sem_timedwait", "sem_clockwait"}, {blocks, "tulp::Semaphore; between processes to_thread()"}},
      {{"pthread_exit", "pthread_cancel", "thrd_exit"},
       {look_at, "ends a thread, which a task does not have to itself: return, or Task::cancel()"}},
      {{"pthread_getspecific", "pthread_setspecific", "tss_get", "tss_set", "__tls_get_addr"},
       {look_at, "what belongs to a thread is shared by all its tasks: tulp::ContextVar"}},
      // Waiting.
      {{"pause", "sigsuspend", "sigwait", "sigwaitinfo", "sigtimedwait"},
       {blocks, "EventLoop::add_signal_handler(), and an Event to wait for"}},
      {{"system", "pclose"}, {blocks, "tulp::create_subprocess_shell(), and Process::wait()"}},
      {{"popen"}, {look_at, "its pipe is read by stdio, which blocks: tulp::create_subprocess_shell()"}},
      // Names.
      {{"getaddrinfo_a", "gai_suspend"}, {blocks, "getaddrinfo(), which is taken over"}},
      {{"res_query", "res_search", "res_nquery", "res_nsearch", "__res_query", "__res_search", "__res_nquery",
        "__res_nsearch"},
       {blocks, "asks a name server and waits: to_thread()"}},
      {{"getpwnam*", "getpwuid*", "getgrnam*", "getgrgid*", "getservbyname*", "getlogin*", "initgroups",
        "getgrouplist"},
       {look_at, "may ask a server (LDAP, NIS), and waits then: to_thread()"}},
      // Bytes.
      {{"splice", "tee", "vmsplice", "copy_file_range"},
       {blocks, "sendfile(), or read() and write(), which are taken over"}},
      {{"pread", "pread64", "pwrite", "pwrite64", "preadv*", "pwritev*", "__pread_chk", "__pread64_chk"},
       {look_at, "waits for a disk that is slow: to_thread() where that matters"}},
      {{"fsync", "fdatasync", "sync", "syncfs", "msync", "sync_file_range", "posix_fallocate*"},
       {blocks, "waits for the disk: to_thread()"}},
      {{"fcntl", "fcntl64"},
       {look_at, "with F_SETLKW it blocks: lockf(), which is taken over; with F_OFD_SETLKW to_thread()"}},
      {{"open", "open64", "openat", "openat64", "fopen", "fopen64", "__open_2", "__open64_2"},
       {look_at, "of a FIFO waits for the other side: O_NONBLOCK, or to_thread()"}},
      {{"tcdrain", "tcsendbreak"}, {blocks, "waits for a terminal: to_thread()"}},
      {{"mq_receive", "mq_send", "mq_timedreceive", "mq_timedsend", "__mq_*"},
       {blocks, "on Linux a queue is a descriptor: O_NONBLOCK, and tulp::wait_readable()"}},
      {{"msgrcv", "msgsnd", "semop", "semtimedop"}, {blocks, "IPC_NOWAIT and a tulp::sleep() between, or to_thread()"}},
      {{"aio_suspend", "lio_listio", "io_getevents", "io_uring_enter"}, {blocks, "to_thread()"}},
      {{"getrandom", "getentropy"}, {look_at, "blocks, if ever, at the start of the machine"}},
      // stdio, which calls the system without libc's names.
      {{"fread",    "fread_unlocked",  "fgets",          "fgets_unlocked",  "fgetc",          "getc",
        "_IO_getc", "getchar",         "getline",        "getdelim",        "__getdelim",     "fscanf",
        "scanf",    "__isoc99_fscanf", "__isoc99_scanf", "__isoc23_fscanf", "__isoc23_scanf", "ungetc",
        "gets",     "__fgets_chk",     "__fread_chk",    "_ZSt3cin"},
       {look_at, "of a socket, pipe or terminal it blocks, unseen: tulp::open_stdin(), a StreamReader, or read()"}},
      {{"fwrite", "fputs", "fputc", "putc", "puts", "putchar", "printf", "fprintf", "vfprintf", "vprintf", "dprintf",
        "fflush", "__printf_chk", "__fprintf_chk", "__vfprintf_chk", "__vprintf_chk", "__dprintf_chk", "_ZSt4cout"},
       {look_at, "blocks if who reads it is slow; files and logs are well enough"}},
      {{"fdopen", "getpass"}, {look_at, "stdio blocks, unseen: tulp::StreamReader, or read() and write()"}},
      // What tasks are not.
      {{"syscall"}, {look_at, "goes past libc's names: what blocks there holds up all tasks"}},
      {{"fork", "vfork", "_Fork", "clone"},
       {look_at, "a child has no other tasks, and no loop: exec at once, or tulp::create_subprocess_exec()"}},
      {{"setjmp", "_setjmp", "__sigsetjmp", "longjmp", "_longjmp", "siglongjmp", "__longjmp_chk"},
       {look_at, "inside one task it works; it must not jump over a park's end into another"}},
      {{"getcontext", "makecontext", "swapcontext"}, {look_at, "other fibers: tulp must not be called on them"}},
      {{"signal", "sigaction", "__sysv_signal", "bsd_signal"},
       {look_at, "a handler does not end a wait with EINTR: EventLoop::add_signal_handler()"}},
      {{"alarm", "setitimer", "timer_create"}, {look_at, "its signal does not end a wait: tulp::with_timeout()"}},
      {{"sigaltstack"}, {look_at, "is a thread's: a handler for overflows of its own comes before tulp's"}},
      {{"dlopen", "dlmopen"},
       {look_at, "check what it loads too; with RTLD_DEEPBIND or in dlmopen() nothing is taken over"}},
  };
  return list;
}

bool fits(std::string_view pattern, std::string_view name) {
  if (pattern.back() != '*') return pattern == name;
  return name.substr(0, pattern.size() - 1) == pattern.substr(0, pattern.size() - 1);
}

}  // namespace

bool is_taken_over(std::string_view name) {
  return std::find(std::begin(names_taken_over), std::end(names_taken_over), name) != std::end(names_taken_over);
}

Verdict judge(std::string_view name) {
  if (is_taken_over(name)) return {Fate::taken_over, ""};
  for (const Rule& rule : rules())
    for (const std::string_view pattern : rule.names)
      if (fits(pattern, name)) return rule.verdict;
  return {};
}

}  // namespace tool::port
