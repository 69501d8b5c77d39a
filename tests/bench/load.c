// The load generator: connections that each keep a number of messages in flight to an echo server, on one epoll.
// Every byte that comes back is compared with what was sent, so a loss, a swap or a repetition ends the run.
// The figure to trust is the server's CPU time per message: the rate flattens where this program is the bottleneck.
//
//   load --port P | --unix PATH --connections N --size BYTES --seconds S [--pipeline D] [--warm-up S] [--pid SERVER_PID]
//        [--tls] [--udp]
//
// With --tls whatever certificate the server has is taken.  With --udp a message is a datagram, and one that is lost is missed.
// Prints one line of JSON.  Exits with 1 if an answer was wrong, missing or late, with 2 if the run could not be made.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { pattern_start_count = 1 << 16, iovec_count_max = 64, wrong = 1, unable = 2 };

struct connection {
  int fd, index;
  SSL* ssl;             // NULL without --tls
  int waits_to_send;    // EPOLLOUT is asked for
  uint64_t sent_bytes;  // positions in the connection's endless stream of messages
  uint64_t received_bytes;
  uint64_t allowed_bytes;  // `pipeline` messages ahead of what came back; frozen at the end
  uint64_t* send_times;    // of the messages in flight, a ring
};

static size_t port, connection_count = 1, size_bytes = 64, pipeline = 1, pid;
static double seconds = 1, warm_up_seconds = 0.25;
static const char* path;  // of a Unix socket, instead of a port
static int is_udp;
static SSL_CTX* tls;  // NULL without --tls

static int epoll_fd;
static unsigned char* pattern;  // each message is a slice of it, so nothing is copied
static char buffer[256 * 1024];
static size_t answered_count;  // connections with nothing in flight, once draining
static int draining;

static _Noreturn void fail(int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(status);
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) < 0) fail(unable, "process %zu: %s", pid, strerror(errno));
  return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static uint64_t mix(uint64_t value) {  // splitmix64
  value += UINT64_C(0x9e3779b97f4a7c15);
  value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
  return value ^ value >> 31;
}

static void make_pattern(void) {
  size_t length = pattern_start_count + size_bytes;
  pattern = malloc(length);
  if (!pattern) fail(unable, "no memory for messages of %zu bytes", size_bytes);
  for (size_t i = 0; i < length; ++i) pattern[i] = mix(i);
}

// What stands at `position` of the stream: returns it, and in `length` how much of that message is left.
static const unsigned char* message_at(const struct connection* connection, uint64_t position, size_t* length) {
  uint64_t message = position / size_bytes, offset = position % size_bytes;
  *length = size_bytes - offset;
  return pattern + mix((uint64_t)connection->index << 40 ^ message) % pattern_start_count + offset;
}

// Latencies, in buckets that are 1/64 of a power of two wide.

static uint64_t buckets[64 * 64], message_count;

static void record(uint64_t latency_ns) {
  int shift = latency_ns < 128 ? 0 : 57 - __builtin_clzll(latency_ns);
  ++buckets[shift * 64 + (latency_ns >> shift)];
  ++message_count;
}

static double percentile_us(double fraction) {
  uint64_t rank = fraction * message_count, seen = 0;
  size_t bucket = 0;
  while ((seen += buckets[bucket]) <= rank && bucket < 64 * 64 - 1) ++bucket;
  size_t shift = bucket < 128 ? 0 : bucket / 64 - 1;
  return ((uint64_t)(bucket - shift * 64) << shift) / 1e3;
}

static void want_to_send(struct connection* connection, int operation, int wanted) {
  struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = connection};
  if (epoll_ctl(epoll_fd, operation, connection->fd, &event) < 0) fail(unable, "epoll_ctl: %s", strerror(errno));
  connection->waits_to_send = wanted;
}

// As send() and recv(), with TLS.

static ssize_t tls_result(struct connection* connection, int result) {
  if (result > 0) return result;
  int error = SSL_get_error(connection->ssl, result);
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN
          : error == SSL_ERROR_SYSCALL                                  ? errno
                                                                        : EPROTO;
  return -1;
}

static ssize_t send_all(struct connection* connection, struct msghdr* all) {
  if (connection->ssl) {
    ERR_clear_error();
    return tls_result(connection, SSL_write(connection->ssl, all->msg_iov->iov_base, all->msg_iov->iov_len));
  }
  if (all->msg_iovlen == 1) return send(connection->fd, all->msg_iov->iov_base, all->msg_iov->iov_len, MSG_NOSIGNAL);
  return sendmsg(connection->fd, all, MSG_NOSIGNAL);
}

static ssize_t receive_some(struct connection* connection) {
  if (!connection->ssl) return recv(connection->fd, buffer, sizeof buffer, 0);
  ERR_clear_error();
  return tls_result(connection, SSL_read(connection->ssl, buffer, sizeof buffer));
}

static void send_allowed(struct connection* connection) {
  const size_t most_pieces = connection->ssl ? 1 : iovec_count_max;
  int refused = 0;
  while (!refused && connection->sent_bytes < connection->allowed_bytes) {
    struct iovec pieces[iovec_count_max];
    size_t count = 0;
    uint64_t position = connection->sent_bytes;
    for (; count < most_pieces && position < connection->allowed_bytes; position += pieces[count++].iov_len)
      pieces[count].iov_base = (void*)message_at(connection, position, &pieces[count].iov_len);
    struct msghdr all = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent = send_all(connection, &all);
    if (sent < 0 && errno != EAGAIN) fail(wrong, "connection %d: send: %s", connection->index, strerror(errno));
    if (sent > 0) connection->sent_bytes += sent;
    refused = sent <= 0 || (!connection->ssl && connection->sent_bytes < position);
  }
  if (refused != connection->waits_to_send) want_to_send(connection, EPOLL_CTL_MOD, refused);
}

static int receive_once(struct connection* connection) {
  ssize_t received = receive_some(connection);
  if (received < 0 && errno == EAGAIN) return 0;
  if (received < 0) fail(wrong, "connection %d: recv: %s", connection->index, strerror(errno));
  if (received == 0) fail(wrong, "connection %d: closed by the server", connection->index);
  if (connection->received_bytes + received > connection->sent_bytes)
    fail(wrong, "connection %d: more came back than was sent", connection->index);

  uint64_t now = nanoseconds(CLOCK_MONOTONIC);
  for (size_t checked = 0, length; checked < (size_t)received; checked += length) {
    const unsigned char* expected = message_at(connection, connection->received_bytes, &length);
    int complete = length <= received - checked;
    if (!complete) length = received - checked;
    uint64_t message = connection->received_bytes / size_bytes;
    if (memcmp(expected, buffer + checked, length) != 0)
      fail(wrong, "connection %d: message %ju came back changed", connection->index, (uintmax_t)message);
    connection->received_bytes += length;
    if (!complete) break;
    record(now - connection->send_times[message % pipeline]);
    if (draining) continue;
    connection->send_times[message % pipeline] = now;
    connection->allowed_bytes += size_bytes;
  }
  send_allowed(connection);
  if (draining && connection->received_bytes == connection->allowed_bytes) ++answered_count;
  return 1;
}

static void receive(struct connection* connection) {
  while (receive_once(connection) && connection->ssl && SSL_has_pending(connection->ssl)) {
  }
}

// Until `deadline`, or until everything in flight has come back once draining.
static void exchange(uint64_t deadline) {
  for (uint64_t now;
       (now = nanoseconds(CLOCK_MONOTONIC)) < deadline && !(draining && answered_count == connection_count);) {
    struct epoll_event events[1024];
    int count = epoll_wait(epoll_fd, events, 1024, (deadline - now) / 1000000 + 1);
    if (count < 0 && errno != EINTR) fail(unable, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; ++i) {
      struct connection* connection = events[i].data.ptr;
      if (events[i].events & EPOLLOUT) send_allowed(connection);
      if (events[i].events & ~EPOLLOUT) receive(connection);
    }
  }
}

static void use_tls(void) {
  tls = SSL_CTX_new(TLS_client_method());
  if (!tls) fail(unable, "SSL_CTX_new failed");
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(tls, 1);
}

static SSL* shake_hands(int fd) {
  SSL* ssl = SSL_new(tls);
  if (!ssl || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1) {
    ERR_print_errors_fp(stderr);
    fail(unable, "the TLS handshake failed");
  }
  return ssl;
}

static int connect_to_port(void) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  return fd >= 0 && connect(fd, (struct sockaddr*)&address, sizeof address) == 0 ? fd : -1;
}

static int connect_to_path(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return fd >= 0 && connect(fd, (struct sockaddr*)&address, sizeof address) == 0 ? fd : -1;
}

static struct connection* open_connections(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  struct connection* connections = calloc(connection_count, sizeof *connections);
  uint64_t* send_times = calloc(connection_count * pipeline, sizeof *send_times);
  if (!connections || !send_times) fail(unable, "no memory for %zu connections", connection_count);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < connection_count; ++i) {
    struct connection* connection = &connections[i];
    connection->index = i;
    connection->send_times = send_times + i * pipeline;
    connection->fd = path ? connect_to_path() : connect_to_port();
    if (connection->fd < 0)
      fail(unable, "connection %zu to %s %zu: %s", i, path ? path : "port", port, strerror(errno));
    if (tls) connection->ssl = shake_hands(connection->fd);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    want_to_send(connection, EPOLL_CTL_ADD, 0);
  }
  return connections;
}

static void too_late(int signal) {
  (void)signal;
  static const char message[] = "load: the server does not answer in time\n";
  if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(wrong);
  _exit(wrong);
}

static void usage(void) {
  fail(unable,
       "usage: load --port P | --unix PATH --connections N --size BYTES --seconds S [--pipeline D] [--warm-up S] "
       "[--pid SERVER_PID] [--tls] [--udp]");
}

static void parse(int argc, char** argv) {
  static const struct option options[] = {
      {"port", 1, 0, 0}, {"connections", 1, 0, 1}, {"size", 1, 0, 2}, {"pipeline", 1, 0, 3},
      {"pid", 1, 0, 4},  {"seconds", 1, 0, 5},     {"tls", 0, 0, 6},  {"warm-up", 1, 0, 7},
      {"unix", 1, 0, 8}, {"udp", 0, 0, 9},         {0, 0, 0, 0}};
  static size_t* const numbers[] = {&port, &connection_count, &size_bytes, &pipeline, &pid};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    char* rest = "";
    if (option == 5 || option == 7)
      *(option == 5 ? &seconds : &warm_up_seconds) = strtod(optarg, &rest);
    else if (option == 8)
      path = optarg;
    else if (option == 9)
      is_udp = 1;
    else if (option == 6)
      use_tls();
    else if (option >= 0 && option < 5)
      *numbers[option] = strtoul(optarg, &rest, 10);
    else
      usage();
    if (*rest) usage();
  }
  if (optind < argc || !port == !path || port > 65535 || !connection_count || !size_bytes || !pipeline ||
      !(seconds > 0 && seconds < 1e6) || !(warm_up_seconds >= 0 && warm_up_seconds < 1e6) ||
      (is_udp && (path || tls || pipeline > 1 || size_bytes > 65507)))
    usage();
}

int main(int argc, char** argv) {
  parse(argc, argv);
  signal(SIGALRM, too_late);
  alarm((unsigned)(warm_up_seconds + seconds) + 30);
  clockid_t server_clock = CLOCK_PROCESS_CPUTIME_ID;
  if (pid && clock_getcpuclockid(pid, &server_clock) != 0) fail(unable, "process %zu: no such process", pid);

  make_pattern();
  struct connection* connections = open_connections();
  for (size_t i = 0; i < connection_count; ++i) {
    for (size_t k = 0; k < pipeline; ++k) connections[i].send_times[k] = nanoseconds(CLOCK_MONOTONIC);
    connections[i].allowed_bytes = pipeline * size_bytes;
    send_allowed(&connections[i]);
  }
  exchange(nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(warm_up_seconds * 1e9));

  memset(buckets, 0, sizeof buckets);
  message_count = 0;
  uint64_t start = nanoseconds(CLOCK_MONOTONIC), server_start = nanoseconds(server_clock),
           own_start = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  exchange(start + (uint64_t)(seconds * 1e9));
  double wall_ns = nanoseconds(CLOCK_MONOTONIC) - start, server_ns = nanoseconds(server_clock) - server_start,
         own_ns = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own_start;
  uint64_t messages = message_count;
  if (messages == 0) fail(wrong, "not one message came back in %g s", seconds);
  double p50 = percentile_us(0.50), p99 = percentile_us(0.99);

  draining = 1;
  for (size_t i = 0; i < connection_count; ++i)
    answered_count += connections[i].received_bytes == connections[i].allowed_bytes;
  exchange(nanoseconds(CLOCK_MONOTONIC) + 10000000000);
  if (answered_count < connection_count)
    fail(wrong, "%zu connections still wait for an answer", connection_count - answered_count);

  printf(
      "{\"connections\": %zu, \"size\": %zu, \"pipeline\": %zu, \"seconds\": %.3f, \"messages\": %ju, "
      "\"messages_per_s\": %.0f, \"latency_p50_us\": %.1f, \"latency_p99_us\": %.1f, \"load_cpu_share\": %.3f",
      connection_count, size_bytes, pipeline, wall_ns / 1e9, (uintmax_t)messages, messages / wall_ns * 1e9, p50, p99,
      own_ns / wall_ns);
  if (pid)
    printf(", \"server_cpu_share\": %.3f, \"server_cpu_ns_per_message\": %.1f", server_ns / wall_ns,
           server_ns / messages);
  puts("}");
  return 0;
}
