// The load generator for TLS handshakes: so many at a time, each on a connection of its own that then has one byte echoed.
// Whatever certificate the server has is taken.
//
//   load_handshakes --port P --connections N --seconds S [--warm-up S] [--pid SERVER_PID] [--resume]
//
// With --resume all but the first of each of the N resume the session of the one before.  Prints one line of JSON.  Exits
// with 1 if a handshake failed, was late or was not resumed, with 2 if the run could not be made.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { wrong = 1, unable = 2 };

struct slot {
  SSL* ssl;
  SSL_SESSION* session;  // to resume, or NULL
  enum { handshake, echo, end } state;
};

static size_t port, slot_count = 1, pid;
static double seconds = 1, warm_up_seconds = 0.25;
static int resumes;
static int epoll_fd;
static SSL_CTX* context;
static uint64_t done_count;

static _Noreturn void fail(int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load_handshakes: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  ERR_print_errors_fp(stderr);
  exit(status);
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) < 0) fail(unable, "process %zu: %s", pid, strerror(errno));
  return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static int keep_session(SSL* ssl, SSL_SESSION* session) {
  struct slot* slot = SSL_get_app_data(ssl);
  SSL_SESSION_free(slot->session);
  slot->session = session;
  return 1;
}

// Whether the connection has ended.
static int advance(struct slot* slot) {
  char byte;
  ERR_clear_error();
  if (slot->state == handshake) {
    int result = SSL_do_handshake(slot->ssl);
    if (result != 1) {
      if (SSL_get_error(slot->ssl, result) != SSL_ERROR_WANT_READ) fail(wrong, "a handshake failed");
      return 0;
    }
    if (resumes && slot->session && !SSL_session_reused(slot->ssl)) fail(wrong, "a session was not resumed");
    if (SSL_write(slot->ssl, "x", 1) != 1) fail(wrong, "a byte could not be sent");
    slot->state = echo;
  }
  if (slot->state == echo) {
    int result = SSL_read(slot->ssl, &byte, 1);
    if (result != 1) {
      if (SSL_get_error(slot->ssl, result) != SSL_ERROR_WANT_READ) fail(wrong, "the byte did not come back");
      return 0;
    }
    SSL_shutdown(slot->ssl);
    slot->state = end;
  }
  int result = SSL_read(slot->ssl, &byte, 1);
  return result <= 0 && SSL_get_error(slot->ssl, result) != SSL_ERROR_WANT_READ;
}

static void begin(struct slot* slot) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof address) < 0)
    fail(unable, "connect to port %zu: %s", port, strerror(errno));
  fcntl(fd, F_SETFL, O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  slot->ssl = SSL_new(context);
  if (!slot->ssl || !SSL_set_fd(slot->ssl, fd)) fail(unable, "SSL_new failed");
  SSL_set_app_data(slot->ssl, slot);
  if (resumes && slot->session) SSL_set_session(slot->ssl, slot->session);
  SSL_set_connect_state(slot->ssl);
  slot->state = handshake;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) fail(unable, "epoll_ctl: %s", strerror(errno));
  advance(slot);  // says hello
}

static void finish(struct slot* slot) {
  close(SSL_get_fd(slot->ssl));
  SSL_free(slot->ssl);
  ++done_count;
}

static void run_until(uint64_t deadline) {
  for (uint64_t now; (now = nanoseconds(CLOCK_MONOTONIC)) < deadline;) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll_fd, events, 256, (deadline - now) / 1000000 + 1);
    if (count < 0 && errno != EINTR) fail(unable, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; ++i) {
      struct slot* slot = events[i].data.ptr;
      if (!advance(slot)) continue;
      finish(slot);
      begin(slot);
    }
  }
}

static void too_late(int signal) {
  (void)signal;
  static const char message[] = "load_handshakes: the server does not answer in time\n";
  if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(wrong);
  _exit(wrong);
}

static void usage(void) {
  fail(unable,
       "usage: load_handshakes --port P --connections N --seconds S [--warm-up S] [--pid SERVER_PID] [--resume]");
}

static void parse(int argc, char** argv) {
  static const struct option options[] = {{"port", 1, 0, 0},    {"connections", 1, 0, 1}, {"pid", 1, 0, 2},
                                          {"seconds", 1, 0, 3}, {"resume", 0, 0, 4},      {"warm-up", 1, 0, 5},
                                          {0, 0, 0, 0}};
  static size_t* const numbers[] = {&port, &slot_count, &pid};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    char* rest = "";
    if (option >= 0 && option < 3)
      *numbers[option] = strtoul(optarg, &rest, 10);
    else if (option == 3 || option == 5)
      *(option == 3 ? &seconds : &warm_up_seconds) = strtod(optarg, &rest);
    else if (option == 4)
      resumes = 1;
    else
      usage();
    if (*rest) usage();
  }
  if (optind < argc || !port || port > 65535 || !slot_count || !(seconds > 0 && seconds < 1e6) ||
      !(warm_up_seconds >= 0 && warm_up_seconds < 1e6))
    usage();
}

int main(int argc, char** argv) {
  parse(argc, argv);
  signal(SIGALRM, too_late);
  signal(SIGPIPE, SIG_IGN);
  alarm((unsigned)(warm_up_seconds + seconds) + 30);
  clockid_t server_clock = CLOCK_PROCESS_CPUTIME_ID;
  if (pid && clock_getcpuclockid(pid, &server_clock) != 0) fail(unable, "process %zu: no such process", pid);

  context = SSL_CTX_new(TLS_client_method());
  if (!context) fail(unable, "SSL_CTX_new failed");
  if (resumes) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
  }
  struct slot* slots = calloc(slot_count, sizeof *slots);
  if (!slots) fail(unable, "no memory for %zu connections", slot_count);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < slot_count; ++i) begin(&slots[i]);
  run_until(nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(warm_up_seconds * 1e9));

  uint64_t start = nanoseconds(CLOCK_MONOTONIC), server_start = nanoseconds(server_clock),
           own_start = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), before = done_count;
  run_until(start + (uint64_t)(seconds * 1e9));
  double wall_ns = nanoseconds(CLOCK_MONOTONIC) - start, server_ns = nanoseconds(server_clock) - server_start,
         own_ns = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own_start;
  uint64_t handshakes = done_count - before;
  if (handshakes == 0) fail(wrong, "not one handshake was done in %g s", seconds);
  printf(
      "{\"connections\": %zu, \"seconds\": %.3f, \"messages\": %ju, \"messages_per_s\": %.0f, \"load_cpu_share\": %.3f",
      slot_count, wall_ns / 1e9, (uintmax_t)handshakes, handshakes / wall_ns * 1e9, own_ns / wall_ns);
  if (pid)
    printf(", \"server_cpu_share\": %.3f, \"server_cpu_ns_per_message\": %.1f", server_ns / wall_ns,
           server_ns / handshakes);
  puts("}");
  return 0;
}
