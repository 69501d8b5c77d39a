// libuv's own echo server, as its users write it: a read callback, uv_try_write() at once, and a queued write for what the
// kernel refuses, during which the connection is not read.
//
//   peer_libuv_echo PORT      prints "port N"; ends on SIGTERM or when standard input ends
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct queued_write {
  uv_write_t request;
  char data[];
};

static char buffer[256 * 1024];  // shared: nothing stays in it from one callback to the next
static uv_pipe_t standard_input;

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void die(const char* what, int error) {
  fprintf(stderr, "peer_libuv_echo: %s: %s\n", what, uv_strerror(error));
  exit(1);
}

static void drop(uv_handle_t* handle) {
  if (!uv_is_closing(handle)) uv_close(handle, (uv_close_cb)free);
}

static void give_buffer(uv_handle_t* handle, size_t suggested, uv_buf_t* into) {
  (void)handle, (void)suggested;
  *into = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* data);

static void on_written(uv_write_t* request, int error) {
  uv_stream_t* stream = request->handle;
  free(request);
  if (error == 0)
    uv_read_start(stream, give_buffer, on_read);
  else
    drop((uv_handle_t*)stream);
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* data) {
  if (size < 0) {
    drop((uv_handle_t*)stream);
    return;
  }
  if (size == 0) return;
  uv_buf_t rest = uv_buf_init(data->base, (unsigned)size);
  int sent = uv_try_write(stream, &rest, 1);
  if (sent < 0 && sent != UV_EAGAIN) {
    drop((uv_handle_t*)stream);
    return;
  }
  if (sent == size) return;
  if (sent < 0) sent = 0;
  struct queued_write* queued = malloc(sizeof *queued + (size_t)(size - sent));
  if (!queued) {
    drop((uv_handle_t*)stream);
    return;
  }
  memcpy(queued->data, data->base + sent, (size_t)(size - sent));
  rest = uv_buf_init(queued->data, (unsigned)(size - sent));
  uv_read_stop(stream);
  if (uv_write(&queued->request, stream, &rest, 1, on_written) != 0) {
    free(queued);
    drop((uv_handle_t*)stream);
  }
}

static void on_connection(uv_stream_t* listener, int error) {
  if (error != 0) return;
  uv_tcp_t* client = malloc(sizeof *client);
  if (!client || uv_tcp_init(listener->loop, client) != 0) {
    free(client);
    return;
  }
  if (uv_accept(listener, (uv_stream_t*)client) != 0) {
    drop((uv_handle_t*)client);
    return;
  }
  uv_tcp_nodelay(client, 1);
  uv_read_start((uv_stream_t*)client, give_buffer, on_read);
}

static void on_standard_input(uv_stream_t* stream, ssize_t size, const uv_buf_t* data) {
  (void)stream, (void)data;
  if (size < 0) exit(0);
}

int main(int argc, char** argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, end);
  signal(SIGPIPE, SIG_IGN);

  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  struct sockaddr_in address;
  int length = sizeof address;
  uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &address);
  uv_tcp_init(loop, &listener);
  int error = uv_tcp_bind(&listener, (struct sockaddr*)&address, 0);
  if (error == 0) error = uv_listen((uv_stream_t*)&listener, SOMAXCONN, on_connection);
  if (error == 0) error = uv_tcp_getsockname(&listener, (struct sockaddr*)&address, &length);
  if (error != 0) die("listen", error);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  uv_pipe_init(loop, &standard_input, 0);
  if (uv_guess_handle(0) == UV_NAMED_PIPE && uv_pipe_open(&standard_input, 0) == 0)
    uv_read_start((uv_stream_t*)&standard_input, give_buffer, on_standard_input);
  return uv_run(loop, UV_RUN_DEFAULT);
}
