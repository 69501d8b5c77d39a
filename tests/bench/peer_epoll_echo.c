// The yardstick: an echo server as one writes it by hand, on one level-triggered epoll.
// A message costs one recv and one send; EPOLLOUT is asked for only after a short send, and until that is
// flushed the connection is not read, so a slow reader is held back by the kernel's buffers.
//
//   peer_epoll_echo [--buffer BYTES] PORT|PATH      prints "port N"; ends on SIGTERM or when standard input ends
//
// A path means a Unix socket.  --buffer is how much it reads at most at a time, 256 KiB if it is not told.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct connection {
  int fd;
  char* unsent;  // what the kernel refused, from `unsent_start` to `unsent_end`; NULL while nothing waits
  size_t unsent_start, unsent_end;
};

static int epoll_fd;
static struct connection listener, standard_input;
static int is_unix;
static char buffer[256 * 1024];  // shared: nothing stays in it from one event to the next
static size_t buffer_bytes = sizeof buffer;

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static int watch(int operation, struct connection* connection, unsigned events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  return epoll_ctl(epoll_fd, operation, connection->fd, &event);
}

static void drop(struct connection* connection) {
  close(connection->fd);  // leaves the epoll set by itself
  free(connection->unsent);
  free(connection);
}

static void accept_all(void) {
  for (;;) {
    int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      die("accept");
    }
    if (!is_unix) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection* connection = calloc(1, sizeof *connection);
    if (!connection) die("calloc");
    connection->fd = fd;
    if (watch(EPOLL_CTL_ADD, connection, EPOLLIN) < 0) die("epoll_ctl");
  }
}

// Both return 0, or -1 when the connection is over.

static int echo(struct connection* connection) {
  ssize_t received = recv(connection->fd, buffer, buffer_bytes, 0);
  if (received < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (received == 0) return -1;
  ssize_t sent = send(connection->fd, buffer, received, MSG_NOSIGNAL);
  if (sent == received) return 0;
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (sent < 0) sent = 0;
  connection->unsent_start = 0;
  connection->unsent_end = received - sent;
  connection->unsent = malloc(connection->unsent_end);
  if (!connection->unsent) die("malloc");
  memcpy(connection->unsent, buffer + sent, connection->unsent_end);
  return watch(EPOLL_CTL_MOD, connection, EPOLLOUT);
}

static int flush(struct connection* connection) {
  ssize_t sent = send(connection->fd, connection->unsent + connection->unsent_start,
                      connection->unsent_end - connection->unsent_start, MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  connection->unsent_start += sent;
  if (connection->unsent_start < connection->unsent_end) return 0;
  free(connection->unsent);
  connection->unsent = NULL;
  return watch(EPOLL_CTL_MOD, connection, EPOLLIN);
}

static void listen_on_path(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  is_unix = 1;
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener.fd < 0) die("socket");
  if (bind(listener.fd, (struct sockaddr*)&address, sizeof address) < 0) die("bind");
  if (listen(listener.fd, SOMAXCONN) < 0) die("listen");
  puts("port 0");
  fflush(stdout);
}

static void listen_on(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener.fd < 0) die("socket");
  setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (bind(listener.fd, (struct sockaddr*)&address, length) < 0) die("bind");
  if (listen(listener.fd, SOMAXCONN) < 0) die("listen");
  getsockname(listener.fd, (struct sockaddr*)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
}

int main(int argc, char** argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, end);

  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) die("epoll_create1");
  if (argc > 3 && strcmp(argv[1], "--buffer") == 0) buffer_bytes = strtoul(argv[2], NULL, 10);
  if (!buffer_bytes || buffer_bytes > sizeof buffer) buffer_bytes = sizeof buffer;
  const char* where = argc > 1 ? argv[argc - 1] : "0";
  if (strchr(where, '/'))
    listen_on_path(where);
  else
    listen_on(atoi(where));
  if (watch(EPOLL_CTL_ADD, &listener, EPOLLIN) < 0) die("epoll_ctl");
  watch(EPOLL_CTL_ADD, &standard_input, EPOLLIN);  // fails for a file or /dev/null, which then ends nothing

  for (;;) {
    struct epoll_event events[1024];
    int count = epoll_wait(epoll_fd, events, 1024, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; ++i) {
      struct connection* connection = events[i].data.ptr;
      if (connection == &listener) {
        accept_all();
      } else if (connection == &standard_input) {
        if (read(STDIN_FILENO, buffer, sizeof buffer) <= 0) return 0;
      } else if ((connection->unsent ? flush(connection) : echo(connection)) < 0) {
        drop(connection);
      }
    }
  }
}
