// libevent's echo server, as its users write it: a bufferevent whose input is moved to its output, and that does not read on
// while much of that is unsent.
//
//   peer_libevent_echo PORT      prints "port N"; ends on SIGTERM
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { chunk_bytes = 65536 };

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void on_read(struct bufferevent* connection, void* unused) {
  (void)unused;
  bufferevent_write_buffer(connection, bufferevent_get_input(connection));
  if (evbuffer_get_length(bufferevent_get_output(connection)) > chunk_bytes) bufferevent_disable(connection, EV_READ);
}

static void on_written(struct bufferevent* connection, void* unused) {
  (void)unused;
  if (!(bufferevent_get_enabled(connection) & EV_READ)) bufferevent_enable(connection, EV_READ);
}

static void on_event(struct bufferevent* connection, short events, void* unused) {
  (void)unused;
  if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(connection);
}

static void on_accept(struct evconnlistener* listener, evutil_socket_t fd, struct sockaddr* address, int length,
                      void* unused) {
  (void)address, (void)length, (void)unused;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  struct bufferevent* connection = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
  if (!connection) {
    evutil_closesocket(fd);
    return;
  }
  bufferevent_set_max_single_read(connection, chunk_bytes);
  bufferevent_set_max_single_write(connection, chunk_bytes);
  bufferevent_setcb(connection, on_read, on_written, on_event, NULL);
  bufferevent_enable(connection, EV_READ | EV_WRITE);
}

int main(int argc, char** argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, end);
  signal(SIGPIPE, SIG_IGN);
  struct event_config* config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);  // else writing costs two epoll_ctl each time
  struct event_base* base = event_base_new_with_config(config);
  if (!base) return fputs("no event base\n", stderr), 1;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  struct evconnlistener* listener =
      evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN,
                              (struct sockaddr*)&address, sizeof address);
  if (!listener) return perror("listen"), 1;
  getsockname(evconnlistener_get_fd(listener), (struct sockaddr*)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  return event_base_dispatch(base);
}
