// An echo server on io_uring, as one writes it by hand: a connection is a chain of recv and send, one submission for all that
// one wait has brought, and buffers that the kernel takes from a ring when there is something to put into them.
//
//   peer_uring_echo PORT      prints "port N"; ends on SIGTERM
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { buffer_bytes = 65536, buffer_count = 1024, group = 0, entry_count = 4096 };

struct connection {
  int fd;
  int buffer;  // the one that is being sent, or -1 while it receives
  size_t sent_bytes, received_bytes;
};

static struct io_uring ring;
static struct io_uring_buf_ring* buffers;
static char* memory;
static int listen_fd;

static void die(const char* what, int error) {
  fprintf(stderr, "peer_uring_echo: %s: %s\n", what, strerror(error));
  exit(1);
}

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static struct io_uring_sqe* next_entry(void* data) {
  struct io_uring_sqe* entry = io_uring_get_sqe(&ring);
  if (!entry) {
    io_uring_submit(&ring);
    entry = io_uring_get_sqe(&ring);
    if (!entry) die("submission", EAGAIN);
  }
  io_uring_sqe_set_data(entry, data);
  return entry;
}

static char* buffer_at(int index) { return memory + (size_t)index * buffer_bytes; }

static void give_back(int index) {
  io_uring_buf_ring_add(buffers, buffer_at(index), buffer_bytes, index, io_uring_buf_ring_mask(buffer_count), 0);
  io_uring_buf_ring_advance(buffers, 1);
}

static void accept_more(void) {
  struct io_uring_sqe* entry = next_entry(NULL);
  io_uring_prep_multishot_accept(entry, listen_fd, NULL, NULL, SOCK_CLOEXEC);
  io_uring_sqe_set_data(entry, NULL);
}

static void receive(struct connection* connection) {
  struct io_uring_sqe* entry = next_entry(connection);
  io_uring_prep_recv(entry, connection->fd, NULL, buffer_bytes, 0);
  io_uring_sqe_set_data(entry, connection);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = group;
}

static void send_rest(struct connection* connection) {
  struct io_uring_sqe* entry = next_entry(connection);
  io_uring_prep_send(entry, connection->fd, buffer_at(connection->buffer) + connection->sent_bytes,
                     connection->received_bytes - connection->sent_bytes, MSG_NOSIGNAL);
  io_uring_sqe_set_data(entry, connection);
}

static void drop(struct connection* connection) {
  if (connection->buffer >= 0) give_back(connection->buffer);
  close(connection->fd);
  free(connection);
}

static void on_accept(int fd, unsigned flags) {
  if (fd >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection* connection = calloc(1, sizeof *connection);
    if (!connection) die("calloc", ENOMEM);
    connection->fd = fd;
    connection->buffer = -1;
    receive(connection);
  }
  if (!(flags & IORING_CQE_F_MORE)) accept_more();
}

static void on_received(struct connection* connection, int result, unsigned flags) {
  if (flags & IORING_CQE_F_BUFFER) connection->buffer = flags >> IORING_CQE_BUFFER_SHIFT;
  if (result == -ENOBUFS) return receive(connection);  // all are being sent
  if (result <= 0) return drop(connection);
  connection->received_bytes = result;
  connection->sent_bytes = 0;
  send_rest(connection);
}

static void on_sent(struct connection* connection, int result) {
  if (result < 0) return drop(connection);
  connection->sent_bytes += result;
  if (connection->sent_bytes < connection->received_bytes) return send_rest(connection);
  give_back(connection->buffer);
  connection->buffer = -1;
  receive(connection);
}

static void set_up_ring(void) {
  struct io_uring_params parameters = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 32768};
  int error = io_uring_queue_init_params(entry_count, &ring, &parameters);
  if (error < 0) die("io_uring_queue_init", -error);
  size_t bytes = buffer_count * sizeof(struct io_uring_buf);
  if (posix_memalign((void**)&buffers, 4096, bytes) != 0 ||
      posix_memalign((void**)&memory, 4096, (size_t)buffer_bytes * buffer_count) != 0)
    die("buffers", ENOMEM);
  struct io_uring_buf_reg registration = {
      .ring_addr = (unsigned long)buffers, .ring_entries = buffer_count, .bgid = group};
  error = io_uring_register_buf_ring(&ring, &registration, 0);
  if (error < 0) die("io_uring_register_buf_ring", -error);
  io_uring_buf_ring_init(buffers);
  for (int i = 0; i < buffer_count; ++i) give_back(i);
}

static void listen_on(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listen_fd < 0 || bind(listen_fd, (struct sockaddr*)&address, length) < 0 || listen(listen_fd, SOMAXCONN) < 0)
    die("listen", errno);
  getsockname(listen_fd, (struct sockaddr*)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
}

int main(int argc, char** argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, end);
  set_up_ring();
  listen_on(argc > 1 ? atoi(argv[1]) : 0);
  accept_more();
  for (;;) {
    int submitted = io_uring_submit_and_wait(&ring, 1);
    if (submitted < 0 && submitted != -EINTR && submitted != -EBUSY) die("io_uring_submit_and_wait", -submitted);
    struct io_uring_cqe* completion;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring, head, completion) {
      ++seen;
      struct connection* connection = io_uring_cqe_get_data(completion);
      if (!connection)
        on_accept(completion->res, completion->flags);
      else if (connection->buffer < 0)
        on_received(connection, completion->res, completion->flags);
      else
        on_sent(connection, completion->res);
    }
    io_uring_cq_advance(&ring, seen);
  }
}
