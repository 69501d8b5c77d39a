// The load generator for connections that are short: so many at a time, each opened, given one message that has to come
// back unchanged, and closed.
//
//   load_connections --port P --connections N --seconds S [--size BYTES] [--warm-up S] [--pid SERVER_PID]
//
// Prints one line of JSON.  Exits with 1 if an answer was wrong, missing or late, with 2 if the run could not be made.
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

enum { wrong = 1, unable = 2, source_count = 200, size_max = 65536 };

struct slot {
  int fd;
  size_t received_bytes;
};

static size_t port, slot_count = 1, size_bytes = 64, pid;
static double seconds = 1, warm_up_seconds = 0.25;
static int epoll_fd;
static uint64_t begun_count, done_count;
static unsigned char message[size_max], buffer[size_max + 1];

static _Noreturn void fail(int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load_connections: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(status);
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) < 0) fail(unable, "process %zu: %s", pid, strerror(errno));
  return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

// The side that closes first keeps the port for a minute: with one source address the ports would not last.
static void begin(struct slot* slot) {
  struct sockaddr_in source = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + begun_count++ % source_count)};
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  slot->received_bytes = 0;
  slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (slot->fd < 0) fail(unable, "socket: %s", strerror(errno));
  setsockopt(slot->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
  setsockopt(slot->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  if (bind(slot->fd, (struct sockaddr*)&source, sizeof source) < 0 ||
      connect(slot->fd, (struct sockaddr*)&address, sizeof address) < 0)
    fail(unable, "connect to port %zu: %s", port, strerror(errno));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, slot->fd, &event) < 0) fail(unable, "epoll_ctl: %s", strerror(errno));
  if (send(slot->fd, message, size_bytes, MSG_NOSIGNAL) != (ssize_t)size_bytes)
    fail(wrong, "send: %s", strerror(errno));
}

static int answer_is_complete(struct slot* slot) {
  ssize_t received = recv(slot->fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (received < 0 && errno == EAGAIN) return 0;
  if (received < 0) fail(wrong, "recv: %s", strerror(errno));
  if (received == 0) fail(wrong, "closed by the server before it answered");
  if (slot->received_bytes + received > size_bytes) fail(wrong, "more came back than was sent");
  if (memcmp(buffer, message + slot->received_bytes, received) != 0) fail(wrong, "a message came back changed");
  slot->received_bytes += received;
  return slot->received_bytes == size_bytes;
}

static void run_until(uint64_t deadline) {
  for (uint64_t now; (now = nanoseconds(CLOCK_MONOTONIC)) < deadline;) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll_fd, events, 256, (deadline - now) / 1000000 + 1);
    if (count < 0 && errno != EINTR) fail(unable, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; ++i) {
      struct slot* slot = events[i].data.ptr;
      if (!answer_is_complete(slot)) continue;
      close(slot->fd);
      ++done_count;
      begin(slot);
    }
  }
}

static void too_late(int signal) {
  (void)signal;
  static const char text[] = "load_connections: the server does not answer in time\n";
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(wrong);
  _exit(wrong);
}

static void usage(void) {
  fail(unable,
       "usage: load_connections --port P --connections N --seconds S [--size BYTES] [--warm-up S] [--pid SERVER_PID]");
}

static void parse(int argc, char** argv) {
  static const struct option options[] = {{"port", 1, 0, 0}, {"connections", 1, 0, 1}, {"size", 1, 0, 2},
                                          {"pid", 1, 0, 3},  {"seconds", 1, 0, 4},     {"warm-up", 1, 0, 5},
                                          {0, 0, 0, 0}};
  static size_t* const numbers[] = {&port, &slot_count, &size_bytes, &pid};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    char* rest = "";
    if (option >= 0 && option < 4)
      *numbers[option] = strtoul(optarg, &rest, 10);
    else if (option >= 4)
      *(option == 4 ? &seconds : &warm_up_seconds) = strtod(optarg, &rest);
    else
      usage();
    if (*rest) usage();
  }
  if (optind < argc || !port || port > 65535 || !slot_count || !size_bytes || size_bytes > size_max ||
      !(seconds > 0 && seconds < 1e6) || !(warm_up_seconds >= 0 && warm_up_seconds < 1e6))
    usage();
}

int main(int argc, char** argv) {
  parse(argc, argv);
  signal(SIGALRM, too_late);
  alarm((unsigned)(warm_up_seconds + seconds) + 30);
  clockid_t server_clock = CLOCK_PROCESS_CPUTIME_ID;
  if (pid && clock_getcpuclockid(pid, &server_clock) != 0) fail(unable, "process %zu: no such process", pid);

  for (size_t i = 0; i < size_bytes; ++i) message[i] = (unsigned char)(i * 151 + i / 256);
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
  uint64_t connections = done_count - before;
  if (connections == 0) fail(wrong, "not one connection was served in %g s", seconds);
  printf(
      "{\"connections\": %zu, \"size\": %zu, \"seconds\": %.3f, \"messages\": %ju, \"messages_per_s\": %.0f, "
      "\"load_cpu_share\": %.3f",
      slot_count, size_bytes, wall_ns / 1e9, (uintmax_t)connections, connections / wall_ns * 1e9, own_ns / wall_ns);
  if (pid)
    printf(", \"server_cpu_share\": %.3f, \"server_cpu_ns_per_message\": %.1f", server_ns / wall_ns,
           server_ns / connections);
  puts("}");
  return 0;
}
