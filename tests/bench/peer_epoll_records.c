// Records by hand, on one level-triggered epoll: what has come is cut into records of 64 bytes, each is put into the answer
// by itself, and the answer to a batch is sent at once.  What is left of a record waits in the connection.
//
//   peer_epoll_records PORT      prints "port N"; ends on SIGTERM
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { record_bytes = 64, buffer_bytes = 65536 };

struct connection {
  int fd;
  size_t part_bytes;  // of a record that has not come whole
  char part[record_bytes];
  char* unsent;
  size_t unsent_start, unsent_end;
};

static int epoll_fd, listen_fd;
static char buffer[buffer_bytes], answer[buffer_bytes];

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

static void accept_all(void) {
  for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection* connection = calloc(1, sizeof *connection);
    if (!connection) die("calloc");
    connection->fd = fd;
    if (watch(EPOLL_CTL_ADD, connection, EPOLLIN) < 0) die("epoll_ctl");
  }
}

// Both return 0, or -1 when the connection is over.

static int serve(struct connection* connection) {
  memcpy(buffer, connection->part, connection->part_bytes);
  ssize_t received = recv(connection->fd, buffer + connection->part_bytes, sizeof buffer - connection->part_bytes, 0);
  if (received < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (received == 0) return -1;
  size_t have = connection->part_bytes + received, done = 0;
  for (; have - done >= record_bytes; done += record_bytes) memcpy(answer + done, buffer + done, record_bytes);
  connection->part_bytes = have - done;
  memcpy(connection->part, buffer + done, connection->part_bytes);
  if (done == 0) return 0;
  ssize_t sent = send(connection->fd, answer, done, MSG_NOSIGNAL);
  if (sent == (ssize_t)done) return 0;
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (sent < 0) sent = 0;
  connection->unsent_start = 0;
  connection->unsent_end = done - sent;
  connection->unsent = malloc(connection->unsent_end);
  if (!connection->unsent) die("malloc");
  memcpy(connection->unsent, answer + sent, connection->unsent_end);
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

int main(int argc, char** argv) {
  signal(SIGTERM, end);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (epoll_fd < 0 || listen_fd < 0) die("socket");
  if (bind(listen_fd, (struct sockaddr*)&address, length) < 0 || listen(listen_fd, SOMAXCONN) < 0) die("listen");
  getsockname(listen_fd, (struct sockaddr*)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  struct connection listener = {.fd = listen_fd};
  if (watch(EPOLL_CTL_ADD, &listener, EPOLLIN) < 0) die("epoll_ctl");

  for (;;) {
    struct epoll_event events[1024];
    int count = epoll_wait(epoll_fd, events, 1024, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; ++i) {
      struct connection* connection = events[i].data.ptr;
      if (connection == &listener) {
        accept_all();
      } else if ((connection->unsent ? flush(connection) : serve(connection)) < 0) {
        close(connection->fd);
        free(connection->unsent);
        free(connection);
      }
    }
  }
}
