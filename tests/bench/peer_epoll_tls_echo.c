// The yardstick for TLS: an echo server as one writes it by hand, with OpenSSL on one level-triggered epoll.
// OpenSSL reads ahead, so that a record costs one recv; it is asked again only while it has something, so that no recv is
// wasted on EAGAIN; its buffers go while a connection is idle.
//
//   peer_epoll_tls_echo CHAIN_FILE KEY_FILE PORT      prints "port N"; ends on SIGTERM or when standard input ends
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
  int fd;
  SSL* ssl;
  char* unsent;  // what OpenSSL did not take, from `unsent_start` to `unsent_end`; NULL while nothing waits
  size_t unsent_start, unsent_end;
  int is_ready;  // the handshake is done
};

static int epoll_fd;
static SSL_CTX* context;
static struct connection listener, standard_input;
static char buffer[256 * 1024];  // shared: nothing stays in it from one event to the next

static void die(const char* what) {
  if (ERR_peek_error() != 0)
    ERR_print_errors_fp(stderr);
  else
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
  SSL_free(connection->ssl);
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
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection* connection = calloc(1, sizeof *connection);
    if (!connection) die("calloc");
    connection->fd = fd;
    connection->ssl = SSL_new(context);
    if (!connection->ssl || !SSL_set_fd(connection->ssl, fd)) die("SSL_new");
    SSL_set_accept_state(connection->ssl);
    if (watch(EPOLL_CTL_ADD, connection, EPOLLIN) < 0) die("epoll_ctl");
  }
}

// These return 0, or -1 when the connection is over.

static int keep_unsent(struct connection* connection, const char* data, size_t length) {
  connection->unsent_start = 0;
  connection->unsent_end = length;
  connection->unsent = malloc(length);
  if (!connection->unsent) die("malloc");
  memcpy(connection->unsent, data, length);
  return watch(EPOLL_CTL_MOD, connection, EPOLLOUT);
}

static int echo(struct connection* connection) {
  do {
    size_t received = 0;
    int result, error;
    do {  // several records that came together are answered together
      result = SSL_read(connection->ssl, buffer + received, sizeof buffer - received);
      error = SSL_get_error(connection->ssl, result);
      if (result > 0) received += result;
    } while (result > 0 && received < sizeof buffer && SSL_has_pending(connection->ssl));
    if (received > 0) {
      int sent = SSL_write(connection->ssl, buffer, received);
      if (sent <= 0 && SSL_get_error(connection->ssl, sent) != SSL_ERROR_WANT_WRITE) return -1;
      if (sent < 0) sent = 0;
      if ((size_t)sent < received) return keep_unsent(connection, buffer + sent, received - sent);
    }
    if (error == SSL_ERROR_WANT_READ) return 0;
    if (result <= 0) {
      if (error == SSL_ERROR_ZERO_RETURN) SSL_shutdown(connection->ssl);
      return -1;
    }
  } while (SSL_has_pending(connection->ssl));
  return 0;
}

static int flush(struct connection* connection) {
  while (connection->unsent_start < connection->unsent_end) {
    int sent = SSL_write(connection->ssl, connection->unsent + connection->unsent_start,
                         connection->unsent_end - connection->unsent_start);
    if (sent <= 0) return SSL_get_error(connection->ssl, sent) == SSL_ERROR_WANT_WRITE ? 0 : -1;
    connection->unsent_start += sent;
  }
  free(connection->unsent);
  connection->unsent = NULL;
  if (watch(EPOLL_CTL_MOD, connection, EPOLLIN) < 0) return -1;
  return SSL_has_pending(connection->ssl) ? echo(connection) : 0;
}

static int shake_hands(struct connection* connection) {
  int result = SSL_do_handshake(connection->ssl);
  if (result != 1) return SSL_get_error(connection->ssl, result) == SSL_ERROR_WANT_READ ? 0 : -1;
  connection->is_ready = 1;
  return SSL_has_pending(connection->ssl) ? echo(connection) : 0;
}

static int serve(struct connection* connection) {
  ERR_clear_error();
  if (!connection->is_ready) return shake_hands(connection);
  return connection->unsent ? flush(connection) : echo(connection);
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

static void make_context(const char* chain_file, const char* key_file) {
  context = SSL_CTX_new(TLS_server_method());
  if (!context) die("SSL_CTX_new");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);
  if (SSL_CTX_use_certificate_chain_file(context, chain_file) != 1) die(chain_file);
  if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1) die(key_file);
}

int main(int argc, char** argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, end);
  signal(SIGPIPE, SIG_IGN);
  if (argc != 4) {
    fputs("usage: peer_epoll_tls_echo CHAIN_FILE KEY_FILE PORT\n", stderr);
    return 2;
  }

  make_context(argv[1], argv[2]);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) die("epoll_create1");
  listen_on(atoi(argv[3]));
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
      } else if (serve(connection) < 0) {
        drop(connection);
      }
    }
  }
}
