// An echo server for datagrams as one writes it by hand: a wait, and then all that have come, one recvfrom and one sendto each.
//
//   peer_epoll_datagrams PORT      prints "port N"; ends on SIGTERM
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[65536];

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void echo_all(int fd) {
  for (;;) {
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    ssize_t received = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&from, &length);
    if (received < 0 && errno == EAGAIN) return;
    if (received >= 0) sendto(fd, buffer, received, 0, (struct sockaddr*)&from, length);  // what is refused is lost
  }
}

int main(int argc, char** argv) {
  signal(SIGTERM, end);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC), fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll_fd < 0 || fd < 0 || bind(fd, (struct sockaddr*)&address, length) < 0) die("socket");
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
  getsockname(fd, (struct sockaddr*)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    if (epoll_wait(epoll_fd, &event, 1, -1) < 0 && errno != EINTR) die("epoll_wait");
    echo_all(fd);
  }
}
