// An echo server on io_uring, as fast as one writes it by hand: one system call in each turn, which sends everything, waits,
// and receives everything.
//
// Each connection receives for as long as it lasts.  The kernel puts what comes into buffers that all share, one message
// behind the other where it can (Linux 6.12), so that they stay in the cache.  A send takes what is there straight from such a
// buffer and does not wait; it completes without a word while it is submitted, so the buffer is free right after that.  Only
// one that the kernel did not take whole is heard of: the rest is copied, and waits.
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

enum { group = 0, entry_count = 4096, rest_bytes_max = 256 * 1024 };
enum {
  buffer_count_max = 1024,
  incremental = 2,
  buffer_has_more = 1 << 4
};                                                     // the kernel's, newer than Debian's header
enum what { received, sent, flushed, what_mask = 3 };  // in the low bits of a connection's address

struct piece {
  char* data;
  size_t bytes;
  unsigned buffer;
};

struct bytes {
  char* data;
  size_t count, room;
};

struct connection {
  int fd;
  int receives, ended;  // the peer has ended, or the connection has broken
  unsigned sent_turn;   // in which `sending` is submitted
  struct piece sending;
  struct bytes rest;        // what the kernel refused, and what came behind that
  struct bytes flushing;    // what was the rest, and is being sent, by a send that waits
  struct connection* late;  // the next of those to look at after the submission
  int is_late;
};

static struct io_uring ring;
static struct io_uring_buf_ring* buffers;
static char* memory;
static unsigned buffer_bytes, buffer_count;
static struct {
  unsigned used_bytes, piece_count;
  int is_full;
} uses[buffer_count_max];
static struct piece* lent;  // to sends that have not been submitted
static size_t lent_count, lent_room;
static struct connection* late;
static unsigned turn = 1;
static int listen_fd;

static void die(const char* what, int error) {
  fprintf(stderr, "peer_uring_echo: %s: %s\n", what, strerror(error));
  exit(1);
}

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static struct io_uring_sqe* next_entry(void) {
  struct io_uring_sqe* entry = io_uring_get_sqe(&ring);
  if (!entry) {
    io_uring_submit(&ring);
    entry = io_uring_get_sqe(&ring);
    if (!entry) die("submission", EAGAIN);
  }
  return entry;
}

static void tag(struct io_uring_sqe* entry, struct connection* connection, enum what what) {
  io_uring_sqe_set_data64(entry, (unsigned long)connection | what);
}

// Buffers.

static void add_buffer(unsigned index) {
  memset(&uses[index], 0, sizeof uses[index]);
  io_uring_buf_ring_add(buffers, memory + (size_t)index * buffer_bytes, buffer_bytes, index,
                        io_uring_buf_ring_mask(buffer_count), 0);
  io_uring_buf_ring_advance(buffers, 1);
}

static struct piece take(int bytes, unsigned flags) {
  unsigned index = flags >> IORING_CQE_BUFFER_SHIFT;
  struct piece piece = {memory + (size_t)index * buffer_bytes + uses[index].used_bytes, bytes, index};
  uses[index].used_bytes += bytes;
  ++uses[index].piece_count;
  uses[index].is_full = !(flags & buffer_has_more);
  return piece;
}

static void give_back(unsigned index) {
  if (--uses[index].piece_count == 0 && uses[index].is_full) add_buffer(index);
}

static void lend(struct piece piece) {
  if (lent_count == lent_room) {
    lent_room = lent_room ? 2 * lent_room : 1024;
    lent = realloc(lent, lent_room * sizeof *lent);
    if (!lent) die("realloc", ENOMEM);
  }
  lent[lent_count++] = piece;
}

static void set_up_buffers(void) {
  int error = 0;
  for (int is_incremental = 1; is_incremental >= 0; --is_incremental) {
    buffer_bytes = is_incremental ? 65536 : 4096;
    buffer_count = is_incremental ? 16 : buffer_count_max;
    if (posix_memalign((void**)&buffers, 4096, buffer_count * sizeof(struct io_uring_buf)) != 0) die("buffers", ENOMEM);
    struct io_uring_buf_reg registration = {.ring_addr = (unsigned long)buffers,
                                            .ring_entries = buffer_count,
                                            .bgid = group,
                                            .pad = is_incremental ? incremental : 0};
    error = io_uring_register_buf_ring(&ring, &registration, 0);
    if (error == 0) break;
  }
  if (error < 0) die("io_uring_register_buf_ring", -error);
  if (posix_memalign((void**)&memory, 4096, (size_t)buffer_bytes * buffer_count) != 0) die("buffers", ENOMEM);
  io_uring_buf_ring_init(buffers);
  for (unsigned i = 0; i < buffer_count; ++i) add_buffer(i);
}

// What is asked for.

static void accept_more(void) {
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_multishot_accept(entry, listen_fd, NULL, NULL, SOCK_CLOEXEC);
  tag(entry, NULL, received);
}

static void receive(struct connection* connection) {
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_recv_multishot(entry, connection->fd, NULL, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = group;
  tag(entry, connection, received);
  connection->receives = 1;
}

/// With a rest that is long nothing more is received until it is gone.
static void stop_receiving(struct connection* connection) {
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_cancel64(entry, (unsigned long)connection | received, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, flushed);
}

static void send_now(struct connection* connection, struct piece piece) {
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_send(entry, connection->fd, piece.data, piece.bytes, MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  tag(entry, connection, sent);
  connection->sending = piece;
  connection->sent_turn = turn;
  lend(piece);
}

static void flush(struct connection* connection) {
  struct bytes empty = connection->flushing;
  connection->flushing = connection->rest;
  connection->rest = empty;
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_send(entry, connection->fd, connection->flushing.data, connection->flushing.count,
                     MSG_NOSIGNAL | MSG_WAITALL);
  tag(entry, connection, flushed);
}

// A connection.

static void look_later(struct connection* connection) {
  if (connection->is_late) return;
  connection->is_late = 1;
  connection->late = late;
  late = connection;
}

/// At the end of what is kept, or before it.
static void keep(struct bytes* kept, const char* data, size_t count, int is_before) {
  if (kept->count + count > kept->room) {
    kept->room = 2 * (kept->count + count);
    kept->data = realloc(kept->data, kept->room);
    if (!kept->data) die("realloc", ENOMEM);
  }
  if (is_before) memmove(kept->data + count, kept->data, kept->count);
  memcpy(kept->data + (is_before ? 0 : kept->count), data, count);
  kept->count += count;
}

/// What was sent before the submission has gone, or has been heard of.
static void go_on(struct connection* connection) {
  connection->is_late = 0;
  if (connection->sent_turn == turn) return look_later(connection);
  if (connection->flushing.count > 0) return;
  if (connection->rest.count > 0) return flush(connection);
  if (connection->receives) return;
  if (!connection->ended) return receive(connection);
  close(connection->fd);
  free(connection->rest.data);
  free(connection->flushing.data);
  free(connection);
}

static void break_off(struct connection* connection) {
  connection->ended = 1;
  connection->rest.count = 0;
  shutdown(connection->fd, SHUT_RDWR);  // which ends the receiving
  look_later(connection);
}

static void on_accept(int fd, unsigned flags) {
  if (fd >= 0) {
    struct connection* connection = calloc(1, sizeof *connection);
    if (!connection) die("calloc", ENOMEM);
    connection->fd = fd;
    receive(connection);
  }
  if (!(flags & IORING_CQE_F_MORE)) accept_more();
}

static void on_received(struct connection* connection, int result, unsigned flags) {
  connection->receives = (flags & IORING_CQE_F_MORE) != 0;
  if (result > 0) {
    struct piece piece = take(result, flags);
    if (connection->sent_turn != turn && connection->rest.count == 0 && connection->flushing.count == 0 &&
        !connection->ended) {
      send_now(connection, piece);
      if (connection->receives) return;
    } else {
      if (!connection->ended) keep(&connection->rest, piece.data, piece.bytes, 0);
      give_back(piece.buffer);
      if (connection->receives && connection->rest.count > rest_bytes_max) stop_receiving(connection);
    }
  } else if (result != -ENOBUFS && result != -ECANCELED) {
    connection->ended = 1;
  }
  look_later(connection);
}

static void on_sent(struct connection* connection, int result) {
  if (result < 0 && result != -EAGAIN) return break_off(connection);
  size_t count = result < 0 ? 0 : result;
  keep(&connection->rest, connection->sending.data + count, connection->sending.bytes - count, 1);
  look_later(connection);
}

static void on_flushed(struct connection* connection, int result) {
  struct bytes* kept = &connection->flushing;
  size_t count = kept->count;
  kept->count = 0;
  if (result < 0) return break_off(connection);
  if ((size_t)result < count) keep(&connection->rest, kept->data + result, count - result, 1);
  look_later(connection);
}

static void set_up_ring(void) {
  struct io_uring_params parameters = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 32768};
  int error = io_uring_queue_init_params(entry_count, &ring, &parameters);
  if (error < 0) die("io_uring_queue_init", -error);
  io_uring_register_ring_fd(&ring);  // saves a look-up; not needed
  set_up_buffers();
}

static void listen_on(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listen_fd < 0) die("socket", errno);
  setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));  // each connection has it from here
  if (bind(listen_fd, (struct sockaddr*)&address, length) < 0 || listen(listen_fd, SOMAXCONN) < 0) die("listen", errno);
  getsockname(listen_fd, (struct sockaddr*)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
}

static void on_completion(const struct io_uring_cqe* completion) {
  struct connection* connection = (struct connection*)(completion->user_data & ~(unsigned long)what_mask);
  switch (completion->user_data & what_mask) {
    case received:
      if (connection)
        on_received(connection, completion->res, completion->flags);
      else
        on_accept(completion->res, completion->flags);
      break;
    case sent: on_sent(connection, completion->res); break;
    case flushed:
      if (connection) on_flushed(connection, completion->res);
  }
}

/// Sends, waits and receives.
static void take_turn(void) {
  ++turn;
  size_t sent_count = lent_count;
  struct connection* waiting = late;
  late = NULL;
  int submitted = waiting ? io_uring_submit_and_get_events(&ring) : io_uring_submit_and_wait(&ring, 1);
  if (submitted < 0 && submitted != -EINTR && submitted != -EBUSY) die("io_uring_submit_and_wait", -submitted);
  if (io_uring_sq_ready(&ring) > 0) sent_count = 0;
  struct io_uring_cqe* completion;
  unsigned head, seen = 0;
  io_uring_for_each_cqe(&ring, head, completion) {
    ++seen;
    on_completion(completion);
  }
  io_uring_cq_advance(&ring, seen);
  for (size_t i = 0; i < sent_count; ++i) give_back(lent[i].buffer);
  lent_count -= sent_count;
  memmove(lent, lent + sent_count, lent_count * sizeof *lent);
  while (waiting) {
    struct connection* connection = waiting;
    waiting = connection->late;
    go_on(connection);
  }
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
  for (;;) take_turn();
}
