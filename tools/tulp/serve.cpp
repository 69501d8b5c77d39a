// tulp serve: the files of a folder, over HTTP and HTTPS.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <tulp/event_loop.hpp>
#include <tulp/fd.hpp>
#include <tulp/serve.hpp>
#include <tulp/task.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "command.hpp"
#include "descriptor_limit.hpp"
#include "http/service.hpp"
#include "line_log.hpp"
#include "output.hpp"
#include "seconds.hpp"
#include "serve/access_log.hpp"
#include "serve/files.hpp"
#include "terminal.hpp"
#include "tls.hpp"

namespace tool {
namespace {

using namespace serve;

constexpr int backlog = 4096;

struct ServeOptions {
  std::string folder = ".";
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;
  ServerTls tls;
  std::size_t workers = 1;
  double grace_s = 10;
  double head_s = 10;
  double idle_s = 30;
  double send_s = 30;
  http::Limits limits;
  FilesOptions files;
  std::string access_log = "-";
  bool is_quiet = false;
};

/// Something that happens once, and that every thread's loop can wait for.
class Signal {
 public:
  Signal() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!descriptor_) throw Failure(ExitCode::failed, std::string("eventfd: ") + std::strerror(errno));
  }
  void happen() { ::eventfd_write(descriptor_.get(), 1); }
  /// Parks.
  void wait() const { tulp::wait_readable(descriptor_.get()); }

 private:
  Descriptor descriptor_;
};

/// All that the threads of a server share, and what each of them has.
class FileServer : public std::enable_shared_from_this<FileServer> {
 public:
  explicit FileServer(ServeOptions options);

  /// Parks: until it is stopped.
  ExitCode run();

 private:
  struct Worker {
    Files files;
    http::Service service;
  };
  void open_logs();
  void start_worker();
  void watch_loop();
  http::Observer observer();
  tulp::Workers start_workers();
  void stop();
  static thread_local std::unique_ptr<Worker> worker_;

  ServeOptions options_;
  std::shared_ptr<const Folder> folder_;
  std::shared_ptr<std::atomic<std::size_t>> open_count_ = std::make_shared<std::atomic<std::size_t>>();
  std::optional<tulp::Workers> workers_;
  Signal stopping_;
  bool is_stopping_ = false;
  bool has_log_closed_ = false;
  Descriptor log_file_;
  std::optional<LineLog> access_log_;
  std::optional<LineLog> trouble_log_;
};

thread_local std::unique_ptr<FileServer::Worker> FileServer::worker_;

FileServer::FileServer(ServeOptions options)
    : options_(std::move(options)), folder_(std::make_shared<const Folder>(options_.folder)) {
  options_.limits.connection_count = std::min(options_.limits.connection_count, possible_connection_count());
  options_.limits.head_time = seconds(options_.head_s);
  options_.limits.idle_time = seconds(options_.idle_s);
  options_.limits.send_time = seconds(options_.send_s);
}

/// Whoever reads the log from us has had enough when the pipe is closed; a full disk is no reason not to serve.
void FileServer::open_logs() {
  if (options_.is_quiet) return;
  const bool is_stdout = options_.access_log == "-";
  if (!is_stdout) {
    log_file_ = Descriptor(::open(options_.access_log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
    if (!log_file_) throw WriteError(errno, options_.access_log);
  }
  const std::string name = is_stdout ? "stdout" : options_.access_log;
  const auto on_failure = [self = weak_from_this(), &loop = tulp::get_event_loop(), name](int error) {
    if (error != EPIPE)
      complain("tulp serve", name + ": " + std::strerror(error) + ": lines of the access log are lost");
    if (error == EPIPE) {
      loop.call_soon_threadsafe([self] {
        if (const auto server = self.lock()) server->has_log_closed_ = true, server->stop();
      });
    }
  };
  access_log_.emplace(is_stdout ? STDOUT_FILENO : log_file_.get(), on_failure);
  trouble_log_.emplace(STDERR_FILENO, [](int) {});
}

http::Observer FileServer::observer() {
  http::Observer observer;
  if (access_log_) {
    observer.on_reply = [this, line = std::string()](std::string_view peer, const http::RequestHead& request,
                                                     const http::Reply& reply) mutable {
      format_access(line, peer, request, reply);
      access_log_->add(line);
    };
  }
  if (trouble_log_) {
    observer.on_trouble = [this](std::string_view peer, std::string_view what) {
      trouble_log_->add("tulp serve: " + std::string(peer) + ": " + printable(what));
    };
  }
  return observer;
}

/// Clients whose TLS handshake fails, of which there may be many, are told of with the others that misbehave.
void FileServer::watch_loop() {
  complain_for_loop("tulp serve", [this](std::string_view what) {
    if (trouble_log_) trouble_log_->add("tulp serve: " + printable(what));
  });
}

/// Runs in each worker.
void FileServer::start_worker() {
  watch_loop();
  const auto answer = [](const http::RequestHead& request, http::Reply& reply) {
    worker_->files.answer(request, reply);
  };
  worker_.reset(new Worker{{folder_, options_.files}, http::Service(answer, options_.limits, observer(), open_count_)});
  tulp::create_task([this] {
    stopping_.wait();
    worker_->service.stop();
  });
}

tulp::Workers FileServer::start_workers() {
  const auto serve = [](tulp::StreamReader reader, tulp::StreamWriter writer) {
    worker_->service.serve(std::move(reader), std::move(writer));
  };
  return tulp::start_workers(serve, options_.host, options_.port,
                             {.workers = options_.workers,
                              .grace = seconds(options_.grace_s),
                              .server = {.backlog = backlog,
                                         .ssl = options_.tls.context(),
                                         .ssl_handshake_timeout = options_.limits.head_time,
                                         .ssl_shutdown_timeout = options_.limits.send_time},
                              .on_start = [this] { start_worker(); }});
}

/// Those on whose connections nothing is asked for do not keep the others waiting.
void FileServer::stop() {
  is_stopping_ = true;
  stopping_.happen();
  if (workers_) workers_->stop();
}

ExitCode FileServer::run() {
  open_logs();
  tulp::EventLoop& loop = tulp::get_event_loop();
  loop.add_signal_handler(SIGTERM, [&loop, self = shared_from_this()] {
    loop.remove_signal_handler(SIGTERM);  // the second one ends the process
    self->stop();
  });
  workers_ = start_workers();
  if (is_stopping_) stop();
  try {
    for (const tulp::Address& address : workers_->addresses())
      write_all(STDOUT_FILENO, "listening on " + address.to_string() + "\n", "stdout");
    workers_->wait_closed();
  } catch (...) {
    const tulp::CancelShield shield;
    stop();
    workers_->wait_closed();
    throw;
  }
  if (const auto count = workers_->statistics().cut_off; count > 0)
    complain("tulp serve",
             std::to_string(count) + " connections were cut off after " + in_time(seconds(options_.grace_s)));
  return has_log_closed_ ? ExitCode::write_error : ExitCode::ok;
}

constexpr const char* serve_help =
    R"(Examples: tulp serve                              the files of this folder, on http://127.0.0.1:8000/
          tulp serve site --host '' --port 80     for everybody
          tulp serve site --port 8443 --tls-cert chain.pem --tls-key key.pem

A directory's index.html stands for it; others are listed.  Files whose names begin with a dot are neither served
nor listed, but for .well-known; nor is what a symbolic link outside of the folder, devices and FIFOs would give.  Ranges,
also several at once, ETag, If-None-Match, If-Modified-Since and If-Range are understood.  Files up to 32 KiB are kept
in memory for a tenth of a second, 16 MiB of them at most, and 16 larger ones open.

A client may send a header of 16 KiB in 100 fields, with a target of 8 KiB, and a body of 64 KiB, which is thrown
away.  Who comes to a limit is told which one, as is stderr.  The access log is in the combined format.

SIGTERM and Ctrl-C end it when what runs is done, or after --grace; a second one at once.

Exit codes:
   0  terminated, in an orderly way
   1  the folder or the port cannot be had
   2  bad arguments
  23  the access log could not be written, or its reader has gone
  58  the certificate or its key cannot be used
 130  interrupted (Ctrl-C))";

/// A limit of time.
void add_seconds(CLI::App& command, const char* name, double& value, const char* help) {
  command.add_option(name, value, help)
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 86400.0).description(""))
      ->capture_default_str();
}

void add_limits(CLI::App& command, ServeOptions& options) {
  constexpr auto most = 1'000'000'000;
  command.add_option("--max-connections", options.limits.connection_count, "How many at a time; the rest is told 503")
      ->check(CLI::Range(1, most).description(""))
      ->capture_default_str();
  command.add_option("--max-requests", options.limits.request_count, "How many on one connection")
      ->check(CLI::Range(1, most).description(""))
      ->capture_default_str();
  add_seconds(command, "--head-timeout", options.head_s, "How long a request may take to come, and a TLS handshake");
  add_seconds(command, "--idle-timeout", options.idle_s, "How long a client may take before it asks again");
  add_seconds(command, "--send-timeout", options.send_s, "How long a client may take for each 16 KiB of a reply");
}

}  // namespace

void add_serve(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<ServeOptions>();
  CLI::App* serve = app.add_subcommand("serve", "Serve the files of a folder over HTTP or HTTPS");
  serve->add_option("DIR", options->folder, "The folder")->type_name("DIR")->capture_default_str();
  serve->add_option("-p,--port", options->port, "Where to listen; 0 takes a free port and prints it")
      ->type_name("PORT")
      ->capture_default_str();
  serve->add_option("--host", options->host, "The address to listen on; '' is all there are")
      ->type_name("HOST")
      ->capture_default_str();
  options->tls.add_options(*serve);
  serve->add_option("--workers", options->workers, "How many threads; 0 is one for each processor")
      ->check(CLI::Range(0, 1000).description(""))
      ->capture_default_str();
  serve->add_option("--grace", options->grace_s, "How long what runs has to end after SIGTERM or Ctrl-C")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 86400.0).description(""))
      ->capture_default_str();
  add_limits(*serve, *options);
  serve->add_flag(
      "--hidden", [options](std::int64_t) { options->files.hidden = Hidden::served; },
      "Serve and list names that begin with a dot too");
  serve->add_flag(
      "--no-listing", [options](std::int64_t) { options->files.lists = false; },
      "Answer 403 for a directory without an index.html");
  serve->add_flag(
      "--no-cache", [options](std::int64_t) { options->files.caches = false; }, "Look at the file for every request");
  CLI::Option* log = serve->add_option("--access-log", options->access_log, "Where to write it; - is stdout")
                         ->type_name("FILE")
                         ->capture_default_str();
  serve->add_flag("-q,--quiet", options->is_quiet, "No access log, and no word of clients that misbehave")
      ->excludes(log);
  serve->footer(serve_help);
  serve->callback([&chosen, options] { chosen = [options] { return std::make_shared<FileServer>(*options)->run(); }; });
}

}  // namespace tool
